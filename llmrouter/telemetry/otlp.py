"""The aggregates of `metrics` as the SDK's export data, cumulative or delta.

Read from the export thread while requests go on adding: series are copied in one step each, so a
figure may be a request older than its neighbour and is never torn.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource

from llmrouter.domain import semconv
from llmrouter.fastpath.telemetry.encoding import SCOPE
from llmrouter.telemetry.metrics import Histogram, Labels, Metrics

log = logging.getLogger(__name__)

PREFERENCE = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
INTEGERS = frozenset({semconv.SERVER_PORT, semconv.HTTP_STATUS_CODE})
Key = tuple[str, Labels]
_UNKNOWN: Any = None  # smallest and largest value: optional in OTLP, and not kept here


def delta_preferred() -> bool:
    """Whether the environment asks for differences instead of running totals."""
    return os.environ.get(PREFERENCE, "").strip().lower() in {"delta", "lowmemory"}


@dataclass(slots=True)
class Collector:
    """Turns metrics into export data. With `delta`, each collection holds what is new since the
    one before, so only one reader may collect.
    """

    metrics: Metrics
    resource: Resource
    delta: bool = False
    _sums: dict[Key, float] = field(default_factory=dict)
    _counts: dict[Key, tuple[list[int], float]] = field(default_factory=dict)
    _since: int = 0

    def collect(self) -> MetricsData:
        """Everything up to now."""
        now, started = time.time_ns(), self._since or self.metrics.started_ns
        helps, found = self.metrics.helps, []
        for name, series in list(self.metrics.counters.items()):
            points = self._totals(name, series, started, now)
            if points:
                text = helps.get(name, "")
                total = export.Sum(points, self._temporality, is_monotonic=True)
                found.append(Metric(f"llmrouter.{name}", text, _unit(name), total))
        for name, histogram in list(self.metrics.histograms.items()):
            bars = self._bars(name, histogram, started, now)
            if bars:
                shown = export.Histogram(bars, self._temporality)
                found.append(Metric(name, histogram.help, histogram.unit, shown))
        found += self._gauges(now)
        if self.delta:
            self._since = now
        scope = export.ScopeMetrics(SCOPE, found, "")
        return MetricsData([export.ResourceMetrics(self.resource, [scope], "")])

    @property
    def _temporality(self) -> AggregationTemporality:
        names = AggregationTemporality
        return names.DELTA if self.delta else names.CUMULATIVE

    def _totals(
        self, name: str, series: Mapping[Labels, float], started: int, now: int
    ) -> list[NumberDataPoint]:
        points = []
        for labels, value in list(series.items()):
            if self.delta:
                before = self._sums.get((name, labels), 0.0)
                self._sums[name, labels] = value
                if value == before:
                    continue
                value -= before
            points.append(NumberDataPoint(_attributes(labels), started, now, value))
        return points

    def _bars(
        self, name: str, histogram: Histogram, started: int, now: int
    ) -> list[HistogramDataPoint]:
        points = []
        for labels, buckets in list(histogram.series.items()):
            counts, total = list(buckets.counts), buckets.total
            if self.delta:
                nothing = [0] * len(counts), 0.0
                before, sum_before = self._counts.get((name, labels), nothing)
                self._counts[name, labels] = counts, total
                counts = [after - then for after, then in zip(counts, before, strict=True)]
                total -= sum_before
                if not any(counts):
                    continue
            points.append(
                HistogramDataPoint(
                    _attributes(labels),
                    started,
                    now,
                    sum(counts),
                    total,
                    counts,
                    list(histogram.boundaries),
                    _UNKNOWN,
                    _UNKNOWN,
                )
            )
        return points

    def _gauges(self, now: int) -> Iterable[Metric]:
        for name, read in list(self.metrics.gauges.items()):
            try:
                readings = dict(read())
            except Exception:
                log.exception("the gauge %s could not be read", name)
                continue
            points = [
                NumberDataPoint(_attributes(labels), 0, now, value)
                for labels, value in readings.items()
            ]
            if points:
                full = name if "." in name else f"llmrouter.{name}"
                text = self.metrics.helps.get(name, "")
                yield Metric(full, text, "", export.Gauge(points))


def _attributes(labels: Labels) -> dict[str, str | int]:
    """Labels as attributes, with the types that the conventions give them."""
    return {key: int(value) if key in INTEGERS else value for key, value in labels}


def _unit(name: str) -> str:
    return "{USD}" if name.endswith("_usd") else ""
