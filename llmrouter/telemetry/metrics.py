"""Counters and histograms as plain dicts, shown as Prometheus text here and as OTLP by `otlp`.

A request touches a handful of dict entries; the SDK's instruments would cost it tens of
microseconds. Label values that callers can make up (tasks, above all) are capped, the rest is
`other`. Figures are this process's own: with several workers each has its own registry, a scrape
meets whichever worker accepts it, and OTLP export (one instance a worker) sees them all.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]
Readings = Mapping[Labels, float]
Gauge = Callable[[], Readings]

CAP = 64
OTHER = "other"


class Buckets:
    """One histogram series: counts per bucket, their sum. Boundaries are inclusive upper bounds."""

    __slots__ = ("boundaries", "counts", "total")

    def __init__(self, boundaries: Sequence[float]) -> None:
        self.boundaries = boundaries
        self.counts = [0] * (len(boundaries) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.boundaries, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Histogram:
    """A declared histogram: what it measures, its upper bounds (inclusive), its series."""

    unit: str
    boundaries: Sequence[float]
    help: str
    series: dict[Labels, Buckets] = field(default_factory=dict)


class Metrics:
    """Every series of this process. Gauges are read when somebody looks."""

    def __init__(self) -> None:
        self.started_ns = time.time_ns()
        self.counters: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, Histogram] = {}
        self.gauges: dict[str, Gauge] = {}
        self.helps: dict[str, str] = {}
        self._seen: dict[str, set[str]] = {}

    def describe(self, name: str, text: str) -> None:
        """Say what a counter or gauge means; shown as its HELP and as its OTLP description."""
        self.helps[name] = text

    def add(self, name: str, value: float, labels: Labels = ()) -> None:
        """Add to a counter; `name` without prefix and suffix (`decisions`)."""
        series = self.counters.get(name)
        if series is None:
            series = self.counters[name] = {}
        series[labels] = series.get(labels, 0.0) + value

    def declare(self, name: str, histogram: Histogram) -> None:
        """Declare a histogram by its OpenTelemetry name."""
        self.histograms[name] = histogram

    def record(self, name: str, value: float, labels: Labels = ()) -> None:
        """Record into a declared histogram."""
        self.series(name, labels).add(value)

    def series(self, name: str, labels: Labels = ()) -> Buckets:
        """A series of a declared histogram, to keep where it is recorded into often."""
        histogram = self.histograms[name]
        buckets = histogram.series.get(labels)
        if buckets is None:
            buckets = histogram.series[labels] = Buckets(histogram.boundaries)
        return buckets

    def capped(self, kind: str, value: str) -> str:
        """`value` while fewer than CAP different ones of its kind were seen, else `other`."""
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = set()
        if value in seen:
            return value
        if len(seen) >= CAP:
            return OTHER
        seen.add(value)
        return value

    def value(self, name: str, labels: Labels | None = None) -> float:
        """A counter's value; the sum of its series where no labels are given."""
        series = self.counters.get(name, {})
        return sum(series.values()) if labels is None else series.get(labels, 0.0)

    def prometheus(self) -> bytes:
        """Everything in the Prometheus text format 0.0.4."""
        return "\n".join([*self._lines(), ""]).encode("utf-8", "replace")

    def _lines(self) -> Iterator[str]:
        for name, series in sorted(self.counters.items()):
            yield from _plain(f"llmrouter_{name}_total", "counter", self.helps.get(name), series)
        for name, read in sorted(self.gauges.items()):
            full = prometheus_name(name, "")
            yield from _plain(full, "gauge", self.helps.get(name), read())
        for name, histogram in sorted(self.histograms.items()):
            yield from _histogram(prometheus_name(name, histogram.unit), histogram)


def prometheus_name(name: str, unit: str) -> str:
    """An OpenTelemetry name as Prometheus writes it; units in braces are not part of it.

    Names without a dot are the service's own and get its prefix.
    """
    full = name.replace(".", "_") if "." in name else f"llmrouter_{name}"
    return f"{full}_seconds" if unit == "s" else full


def _plain(full: str, kind: str, text: str | None, series: Readings) -> Iterator[str]:
    if text:
        yield f"# HELP {full} {text}"
    yield f"# TYPE {full} {kind}"
    for labels, value in series.items():
        yield f"{full}{_text(labels)} {_number(value)}"


def _histogram(full: str, histogram: Histogram) -> Iterator[str]:
    yield f"# HELP {full} {histogram.help}"
    yield f"# TYPE {full} histogram"
    for labels, buckets in histogram.series.items():
        running = 0
        for boundary, count in zip(histogram.boundaries, buckets.counts, strict=False):
            running += count
            yield f"{full}_bucket{_text((*labels, ('le', _number(boundary))))} {running}"
        every = sum(buckets.counts)
        yield f"{full}_bucket{_text((*labels, ('le', '+Inf')))} {every}"
        yield f"{full}_sum{_text(labels)} {_number(buckets.total)}"
        yield f"{full}_count{_text(labels)} {every}"


def _number(value: float) -> str:
    return repr(float(value))


def _text(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name.replace(".", "_")}="{_escaped(value)}"' for name, value in labels)
    return "{" + inner + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
