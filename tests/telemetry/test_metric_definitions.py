"""The names, against the conventions that OpenTelemetry publishes."""

from __future__ import annotations

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.semconv.metrics import http_metrics

from llmrouter.domain import semconv
from llmrouter.telemetry.metric_definitions import declare
from llmrouter.telemetry.metrics import Metrics

MODULES = (
    gen_ai_attributes,
    gen_ai_metrics,
    error_attributes,
    http_attributes,
    http_metrics,
    server_attributes,
    url_attributes,
)
PUBLISHED_LATER = {"gen_ai.prompt.version"}  # in the conventions, not yet in the Python package
OUTDATED = {"gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"}


def test_every_name_is_published_or_our_own() -> None:
    """A name is in the published conventions and not an outdated one, or starts with llmrouter."""
    published = {
        value for module in MODULES for value in vars(module).values() if isinstance(value, str)
    }
    ours = {value for value in vars(semconv).values() if isinstance(value, str) and "." in value}
    names = {name for name in ours if " " not in name and not name.startswith("llmrouter.domain")}
    names = {name for name in names if not name.endswith((".py", ".pyc"))}
    assert len(names) > 25
    foreign = {name for name in names if not name.startswith("llmrouter.")}
    assert foreign - PUBLISHED_LATER <= published
    assert not foreign & OUTDATED


def test_every_histogram_starts_where_it_should() -> None:
    """Each declared histogram has rising bounds, and the service's own ones show 10 µs."""
    metrics = Metrics()
    declare(metrics)
    assert semconv.METRIC_OPERATION_DURATION in metrics.histograms
    for name, histogram in metrics.histograms.items():
        assert list(histogram.boundaries) == sorted(set(histogram.boundaries))
        if name.startswith("llmrouter."):
            assert histogram.boundaries[0] == 1e-5
