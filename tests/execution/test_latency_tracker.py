"""What is usual for a target, for hedging."""

from __future__ import annotations

from llmrouter.domain.target import Latency
from llmrouter.execution.latency_tracker import Pace
from tests.fakes import a_target


def test_the_catalog_is_believed_until_enough_is_seen() -> None:
    """Twice the catalog's figure first, then the recent 95th percentile."""
    pace, target = Pace(), a_target(latency=Latency(100, 100))
    assert pace.p95_s(target, True, 50) == 0.2
    assert pace.p95_s(target, False, 50) == 1.2
    for ms in range(1, 101):
        pace.note("small", True, float(ms))
    assert pace.p95_s(target, True, 50) == 0.097
    assert pace.p95_s(target, False, 50) == 1.2
