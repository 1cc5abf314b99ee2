"""The pages of several workers are one page that Prometheus can read."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.telemetry.worker_pages import WorkerPages, merged
from tests.fakes import a_decision

PAGE = """\
# HELP llmrouter_decisions_total Decisions
# TYPE llmrouter_decisions_total counter
llmrouter_decisions_total{source="llm"} 3.0
# TYPE llmrouter_requests_in_flight gauge
llmrouter_requests_in_flight 2.0
# TYPE llmrouter_breaker_state gauge
llmrouter_breaker_state{state="open"} 1.0
# HELP took_seconds Time
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 1
took_seconds_bucket{le="+Inf"} 2
took_seconds_sum 0.5
took_seconds_count 2
"""


def samples(text: str) -> dict[tuple[str, str], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_histograms_add_up() -> None:
    """Those of a worker that has ended too; its gauges do not count any more."""
    found = samples(merged([(True, PAGE), (True, PAGE), (False, PAGE)]))
    assert found["llmrouter_decisions_total", "[('source', 'llm')]"] == 9
    assert found["llmrouter_requests_in_flight", "[]"] == 4
    assert found["llmrouter_breaker_state", "[('state', 'open')]"] == 1
    assert found["took_seconds_bucket", "[('le', '+Inf')]"] == 6
    assert found["took_seconds_sum", "[]"] == 1.5


def test_one_page_is_the_same_page() -> None:
    """A single worker's page loses and gains nothing."""
    telemetry = Telemetry()
    telemetry.decided(a_decision("small"))
    own = telemetry.metrics_text().decode()
    assert samples(merged([(True, own)])) == samples(own)


async def test_a_worker_adds_what_its_neighbours_left(tmp_path: Path) -> None:
    """Its own page is fresh, and is not counted twice once it was left in the folder."""
    telemetry = Telemetry()
    pages = WorkerPages(tmp_path, telemetry.metrics_text)
    await pages.write()
    telemetry.decided(a_decision("small"))
    (tmp_path / f"{os.getppid()}.prom").write_text(PAGE)
    found = samples(pages.page().decode())
    assert sum(v for (name, _), v in found.items() if name == "llmrouter_decisions_total") == 4
