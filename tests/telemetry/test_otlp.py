"""Aggregates as export data."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from llmrouter.telemetry.metrics import Histogram, Metrics
from llmrouter.telemetry.otlp import Collector


def found(data: MetricsData) -> Mapping[str, list[float]]:
    """The value or count of each point, by metric."""
    return {
        metric.name: [
            getattr(p, "value", getattr(p, "count", None)) for p in metric.data.data_points
        ]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=5))
def test_deltas_add_up_to_the_total(rounds: list[list[int]]) -> None:
    """What the collections of a delta reader say adds up to what a cumulative one says."""
    metrics = Metrics()
    metrics.declare("a.b", Histogram("", (5,), "A test."))
    delta = Collector(metrics, Resource({}), delta=True)
    total = Collector(metrics, Resource({}))
    sums, counts = 0.0, 0.0
    for values in rounds:
        for value in values:
            metrics.add("things", value)
            metrics.record("a.b", value)
        said = found(delta.collect())
        sums += sum(said.get("llmrouter.things", []))
        counts += sum(said.get("a.b", []))
    end = found(total.collect())
    assert sums == sum(end.get("llmrouter.things", []))
    assert counts == sum(end.get("a.b", []))


def test_a_gauge_that_fails_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The other metrics are exported and the log says which gauge it was."""
    metrics = Metrics()
    metrics.add("things", 1)
    metrics.gauges["broken"] = lambda: 1 / 0  # type: ignore[assignment,return-value]  # it fails
    metrics.gauges["fine"] = lambda: {(): 3.0}
    assert found(Collector(metrics, Resource({})).collect()) == {
        "llmrouter.things": [1.0],
        "llmrouter.fine": [3.0],
    }
    assert "broken" in caplog.text
