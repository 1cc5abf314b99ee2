"""Plain counters and histograms, and their Prometheus text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from llmrouter.telemetry.metrics import CAP, Histogram, Metrics, prometheus_name


def samples(metrics: Metrics) -> list[tuple[str, dict[str, str], float]]:
    """The text as Prometheus' own parser reads it."""
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(metrics.prometheus().decode())
        for sample in family.samples
    ]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_buckets_are_cumulative_and_inclusive(recorded: list[float]) -> None:
    """Each bucket counts what is at most its bound, +Inf counts all, the sum is the sum."""
    metrics = Metrics()
    metrics.declare("a.b", Histogram("s", (0.5, 1.0, 50.0), "A test."))
    for value in recorded:
        metrics.record("a.b", value)
    found = samples(metrics)
    buckets = {labels["le"]: value for name, labels, value in found if name.endswith("_bucket")}
    for bound in (0.5, 1.0, 50.0):
        assert buckets[repr(bound)] == sum(value <= bound for value in recorded)
    assert buckets["+Inf"] == len(recorded)
    (total,) = [value for name, _, value in found if name == "a_b_seconds_sum"]
    assert abs(total - sum(recorded)) < 1e-6


@given(st.text(max_size=40))
def test_label_values_survive_the_text(value: str) -> None:
    """Quotes, backslashes and line breaks in a label come back as they were."""
    if "\r" in value or any(character in value for character in "\x0b\x0c\x1c\x1d\x1e\x85  "):
        return  # the parser of this test splits lines there, Prometheus does not
    metrics = Metrics()
    metrics.add("things", 1, (("task", value),))
    assert samples(metrics) == [("llmrouter_things_total", {"task": value}, 1.0)]


def test_bounds_and_values_are_exact() -> None:
    """A large bound and a large count are printed in full, not rounded to six digits."""
    metrics = Metrics()
    metrics.declare("t.u", Histogram("{token}", (1048576,), "Tokens."))
    metrics.record("t.u", 5)
    metrics.add("spend", 123456789012345.25)
    found = samples(metrics)
    assert ("llmrouter_spend_total", {}, 123456789012345.25) in found
    assert ("t_u_bucket", {"le": "1048576.0"}, 1.0) in found


def test_invented_label_values_are_folded() -> None:
    """Beyond the cap new values become `other`; known ones stay, and kinds are capped apart."""
    metrics = Metrics()
    kept = {metrics.capped("task", f"task {n}") for n in range(10_000)}
    assert len(kept) == CAP + 1
    assert metrics.capped("task", "task 3") == "task 3"
    assert metrics.capped("error", "fresh") == "fresh"


def test_every_series_has_help_and_type_once() -> None:
    """HELP and TYPE stand once before all series of a name."""
    metrics = Metrics()
    metrics.describe("things", "Things.")
    metrics.add("things", 1, (("a", "1"),))
    metrics.add("things", 1, (("a", "2"),))
    assert metrics.prometheus().decode().splitlines()[:2] == [
        "# HELP llmrouter_things_total Things.",
        "# TYPE llmrouter_things_total counter",
    ]
    assert metrics.value("things") == 2


def test_names_are_those_that_a_collector_would_make() -> None:
    """Seconds are a suffix, units in braces are not, and the service's own get its prefix."""
    assert prometheus_name("gen_ai.client.token.usage", "{token}") == "gen_ai_client_token_usage"
    assert prometheus_name("http.server.request.duration", "s").endswith("_duration_seconds")
    assert prometheus_name("in_flight", "") == "llmrouter_in_flight"
