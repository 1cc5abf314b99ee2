"""Counters and histograms as plain dicts, shown twice: as Prometheus text and as OTLP.

A request touches a handful of dict entries; the SDK's instruments would cost it tens of
microseconds. Label values that callers can make up (tasks) are capped, the rest is `other`.
Figures are this process's own: with several workers, scrape or export each.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from llmrouter.telemetry.spans import SCOPE

Labels = tuple[tuple[str, str], ...]
CAP = 64


class Buckets:
    """One histogram series: counts per bucket, their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, boundaries: int) -> None:
        self.counts = [0] * (boundaries + 1)
        self.total = 0.0


class Metrics:
    """Every series of this process. `gauges` are read when somebody looks."""

    def __init__(self) -> None:
        self._started = time.time_ns()
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, tuple[Sequence[float], str, dict[Labels, Buckets]]] = {}
        self._seen: dict[str, set[str]] = {}

    def add(self, name: str, value: float, labels: Labels = ()) -> None:
        """Add to a counter; `name` without prefix and suffix (`decisions`)."""
        series = self._counters.get(name)
        if series is None:
            series = self._counters[name] = {}
        series[labels] = series.get(labels, 0.0) + value

    def histogram(self, name: str, unit: str, boundaries: Sequence[float]) -> None:
        """Declare a histogram by its OpenTelemetry name."""
        self._histograms[name] = (boundaries, unit, {})

    def record(self, name: str, value: float, labels: Labels = ()) -> None:
        """Record into a declared histogram."""
        boundaries, _, series = self._histograms[name]
        buckets = series.get(labels)
        if buckets is None:
            buckets = series[labels] = Buckets(len(boundaries))
        buckets.counts[bisect_left(boundaries, value)] += 1
        buckets.total += value

    def capped(self, kind: str, value: str) -> str:
        """`value` while fewer than CAP different ones of its kind were seen, else `other`."""
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = set()
        if value in seen:
            return value
        if len(seen) >= CAP:
            return "other"
        seen.add(value)
        return value

    def value(self, name: str, labels: Labels | None = None) -> float:
        """A counter's value; the sum of its series where no labels are given."""
        series = self._counters.get(name, {})
        return sum(series.values()) if labels is None else series.get(labels, 0.0)

    def series(self, name: str) -> Mapping[Labels, float]:
        """All series of a counter."""
        return self._counters.get(name, {})

    def prometheus(self, gauges: Mapping[str, Mapping[Labels, float]]) -> bytes:
        """Everything in the Prometheus text format 0.0.4."""
        return "\n".join([*self._lines(gauges), ""]).encode()

    def _lines(self, gauges: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
        for name, series in sorted(self._counters.items()):
            full = f"llmrouter_{name}_total"
            yield f"# TYPE {full} counter"
            for labels, value in series.items():
                yield f"{full}{_text(labels)} {value:.12g}"
        for name, readings in sorted(gauges.items()):
            full = f"llmrouter_{name}"
            yield f"# TYPE {full} gauge"
            for labels, value in readings.items():
                yield f"{full}{_text(labels)} {value:.12g}"
        for name, (boundaries, unit, hists) in sorted(self._histograms.items()):
            suffix = {"s": "_seconds", "{token}": "_tokens"}.get(unit, "")
            full = name.replace(".", "_") + suffix
            yield f"# TYPE {full} histogram"
            for labels, buckets in hists.items():
                running = 0
                for boundary, count in zip(boundaries, buckets.counts, strict=False):
                    running += count
                    yield f"{full}_bucket{_text((*labels, ('le', f'{boundary:g}')))} {running}"
                every = sum(buckets.counts)
                yield f"{full}_bucket{_text((*labels, ('le', '+Inf')))} {every}"
                yield f"{full}_sum{_text(labels)} {buckets.total:.12g}"
                yield f"{full}_count{_text(labels)} {every}"

    def otlp(self, resource: Resource) -> MetricsData:
        """Everything as the SDK's export data, cumulative since this process started."""
        now, cumulative = time.time_ns(), AggregationTemporality.CUMULATIVE
        metrics: list[Metric] = []
        for name, series in self._counters.items():
            sums = [
                NumberDataPoint(dict(labels), self._started, now, value)
                for labels, value in list(series.items())
            ]
            metrics.append(Metric(f"llmrouter.{name}", "", "", Sum(sums, cumulative, True)))
        for name, (boundaries, unit, hists) in self._histograms.items():
            points = [
                HistogramDataPoint(
                    dict(labels),
                    self._started,
                    now,
                    sum(buckets.counts),
                    buckets.total,
                    list(buckets.counts),
                    list(boundaries),
                    float("nan"),
                    float("nan"),
                )
                for labels, buckets in list(hists.items())
            ]
            if points:
                metrics.append(Metric(name, "", unit, Histogram(points, cumulative)))
        scope = ScopeMetrics(SCOPE, metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])


def _text(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name.replace(".", "_")}="{_escaped(value)}"' for name, value in labels)
    return "{" + inner + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
