"""The figures of /stats."""

from __future__ import annotations

import orjson
import pytest

from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Feedback, ShadowComparison, Source
from llmrouter.telemetry.stats import Stats
from tests.fakes import a_decision


def test_nothing_yet_is_still_a_page() -> None:
    """Before the first request there are zeros and None, no division by zero."""
    shown = Stats().snapshot()
    assert shown["decisions"] == 0
    assert shown["savings_rate"] == 0.0
    assert shown["decision_p50_ms"] is None
    orjson.dumps(shown)


def test_counts_rates_and_percentiles() -> None:
    """Sources with their shares, hit rate without `off`, percentiles of decision time."""
    stats = Stats()
    for number in range(100):
        source = Source.CACHE if number < 75 else Source.LLM
        stats.decided(a_decision(source=source, timing_ms=float(number)))
    stats.cache.update({"hit": 70, "stale": 5, "miss": 25, "off": 50})
    shown = stats.snapshot()
    assert shown["by_source"] == {"cache": 75, "llm": 25}
    assert shown["source_rates"] == {"cache": 0.75, "llm": 0.25}
    assert shown["cache_hit_rate"] == 0.75
    assert shown["decision_p50_ms"] == pytest.approx(50.0, rel=0.1)
    assert shown["decision_p99_ms"] == pytest.approx(99.0, rel=0.1)


def test_savings_are_net_of_the_router() -> None:
    """What the best target would have cost, less executions and router calls."""
    stats = Stats()
    stats.router_called("ok", 0.01)
    attempts = (Attempt("small", "ok", "", 1.0, 0.04),)
    stats.completed("code", Completion("small", attempts, 0.04, 1.0), 0.25)
    shown = stats.snapshot()
    assert shown["spend_usd"] == pytest.approx(0.05)
    assert shown["savings_usd"] == pytest.approx(0.20)
    assert shown["savings_rate"] == pytest.approx(0.8)


def test_quality_to_cost_by_task_and_target() -> None:
    """Acceptance comes from attempts, quality from ratings, which win once somebody rates."""
    stats = Stats()
    attempts = (Attempt("tiny", "rejected", "", 1.0, 0.01), Attempt("big", "ok", "", 1.0, 0.09))
    stats.completed("code", Completion("big", attempts, 0.10, 2.0), 0.2)
    stats.completed("code", Completion("tiny", (Attempt("tiny", "ok", "", 1.0, 0.01),), 0.01, 1), 1)
    tiny, big = (stats.snapshot()["tasks"]["code"][name] for name in ("tiny", "big"))
    assert tiny["acceptance"] == 0.5
    assert tiny["quality_per_usd"] == pytest.approx(0.5 / 0.01)
    assert (big["acceptance"], big["quality"]) == (1.0, None)
    assert big["cost_per_task_usd"] == pytest.approx(0.10)
    stats.observe_feedback("code", a_decision("big"), Feedback("d", 0.5))
    big = stats.snapshot()["tasks"]["code"]["big"]
    assert big["quality"] == 0.75
    assert big["quality_per_usd"] == pytest.approx(7.5)


def test_what_the_router_llm_took_is_in_quality_to_cost() -> None:
    """Per task and target: a dear decision makes a cheap answer dear."""
    stats = Stats()
    stats.completed("code", Completion("tiny", (Attempt("tiny", "ok", "", 1.0, 0.01),), 0.01, 1), 1)
    stats.routed("code", a_decision("tiny", router_cost_usd=0.03))
    tiny = stats.snapshot()["tasks"]["code"]["tiny"]
    assert (tiny["cost_usd"], tiny["router_usd"]) == (0.01, 0.03)
    assert tiny["cost_per_task_usd"] == pytest.approx(0.04)
    assert tiny["quality_per_usd"] == pytest.approx(1 / 0.04)


def test_a_shadow_has_agreement_cost_and_estimated_quality() -> None:
    """Means over its choices; of quality over those that were estimated on both sides."""
    stats = Stats()
    assert stats.snapshot()["shadow"] == {}
    shadows = stats.shadows["llm"]
    shadows.add(ShadowComparison("llm", "agreed", "", "code", "a", 0.2, 0.5, "a", 0.2, 0.5, 0.25))
    shadows.add(
        ShadowComparison("llm", "disagreed", "", "code", "a", 0.2, 0.5, "b", 0.6, 0.75, 0.25)
    )
    shadows.add(ShadowComparison("llm", "disagreed", "", "code", "a", 0.2, None, "b", 1.0, 0.9))
    shadows.add(ShadowComparison("llm", "abstained", "", "code", "a", 9.0, 0.5))
    shown = stats.snapshot()["shadow"]["llm"]
    assert shown == {
        "requests": 4,
        "outcomes": {"agreed": 1, "disagreed": 2, "abstained": 1},
        "agreement": pytest.approx(1 / 3),
        "usd_per_request": pytest.approx(0.6),
        "live_usd_per_request": pytest.approx(0.2),
        "estimated_quality": 0.625,
        "live_estimated_quality": 0.5,
        "own_usd": 0.5,
    }


def test_sums_of_two_workers_are_the_figures_of_both() -> None:
    """Whatever is counted survives the way through flat sums and adds up."""

    def worker(target: str) -> Stats:
        stats = Stats()
        stats.decided(a_decision(target, source=Source.LLM, timing_ms=8.0))
        stats.router_called("ok", 0.01)
        stats.encoder_usd += 0.02
        stats.cache["hit"] += 1
        stats.by_key["alice"] += 0.5
        attempts = (Attempt("tiny", "failed", "", 9.0, 0.0), Attempt(target, "ok", "", 32.0, 0.1))
        stats.completed("code", Completion(target, attempts, 0.1, 2.0), 0.3)
        stats.observe_feedback("code", a_decision(target), Feedback("d", 0.5))
        one = ShadowComparison("llm", "agreed", "", "code", "a", 0.2, 0.5, "a", 0.2, 0.5, 0.25)
        stats.shadows["llm"].add(one)
        return stats

    alone = worker("big")
    again = Stats.of(alone.flat()).snapshot()
    own = alone.snapshot()
    assert {**again, "uptime_s": 0} == {**own, "uptime_s": 0}
    both: dict[tuple[str, ...], float] = {}
    for stats in (worker("big"), worker("big")):
        for key, value in stats.flat().items():
            both[key] = both.get(key, 0.0) + value
    shown = Stats.of(both).snapshot()
    assert shown["decisions"] == 2
    assert shown["spend_by_key_usd"] == {"alice": 1.0}
    assert shown["targets"]["tiny"]["errors"] == 2
    assert shown["targets"]["big"]["latency_p50_ms"] == pytest.approx(32.0, rel=0.1)
    assert shown["tasks"]["code"]["big"]["ratings"] == 2
    assert shown["shadow"]["llm"]["requests"] == 2
