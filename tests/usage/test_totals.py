"""Accounts add up, and a fall is flagged only where chance does not explain it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmrouter.usage.totals import UsageTotals, falls, total, usage_totals

ENTRIES: list[dict[str, Any]] = [
    {"kind": "decision", "at": 10.0, "task": "code", "target": "a", "router_usd": 0.25},
    {
        "kind": "outcome",
        "at": 11.0,
        "task": "code",
        "target": "a",
        "cost_usd": 2.0,
        "attempts": [
            {"target": "b", "outcome": "rejected", "cost_usd": 0.5},
            {"target": "a", "outcome": "ok", "cost_usd": 1.0},
        ],
    },
    {"kind": "audit", "at": 11.5, "task": "code", "target": "a", "router_usd": 0.0625},
    {"kind": "again", "at": 11.6, "task": "code", "target": "a", "router_usd": 0.0625},
    {"kind": "feedback", "at": 12.0, "task": "code", "target": "a", "score": 0.0},
    {"kind": "feedback", "at": 99.0, "task": "code", "target": "a", "score": 1.0},
    {"kind": "shadow", "at": 13.0, "task": "code", "target": "a", "router_usd": 8.0},
    {"kind": "decision", "at": 13.0},
]


def rated(*scores: float) -> UsageTotals:
    """An account of these ratings, 0..1."""
    account = UsageTotals()
    for score in scores:
        account.record_feedback(2 * score - 1)
    return account


def test_everything_spent_is_in_the_account() -> None:
    """Served, rejected, judged, routed, audited, asked again; not what is outside of the span."""
    (account,) = usage_totals(ENTRIES, 0.0, 50.0).values()
    assert (account.served, account.rejected, account.judge) == (1.0, 0.5, 0.5)
    assert (account.router, account.audits) == (0.25, 0.125)
    assert account.spent == pytest.approx(2.375)
    assert (account.requests, account.each) == (1, account.spent)
    assert account.quality == 0.5
    assert account.acceptance == 0.5
    assert account.quality_per_usd == pytest.approx(0.5 / 2.375)


def test_a_decision_without_an_execution_is_a_request_too() -> None:
    """`/route` alone costs the router LLM; dividing by executions would hide it."""
    routed = usage_totals(ENTRIES[:1] * 4, 0.0, 50.0)["code", "a"]
    assert (routed.requests, routed.each) == (4, 0.25)
    assert (routed.quality, routed.quality_per_usd, routed.acceptance) == (None, None, None)
    assert UsageTotals().each is None


def test_sums_hold_every_account() -> None:
    """Of all tasks and targets; the order does not matter."""
    parts = [*usage_totals(ENTRIES, 0.0, 50.0).values(), *usage_totals(ENTRIES, 50.0, 100).values()]
    whole = total(parts)
    assert (whole.requests, whole.rated, whole.quality) == (1, 2, 0.75)
    assert whole == total(reversed(parts))
    assert total([]) == UsageTotals()


def test_a_fall_needs_ratings_and_size() -> None:
    """Few ratings or a small fall are chance; a large fall over many is not, a rise never is."""
    good, bad = rated(*[1.0] * 50), rated(*[1.0, 0.0] * 25)
    (fall,) = falls(bad, good)
    assert (fall.what, fall.before, fall.now) == ("quality", 1.0, 0.5)
    assert not falls(good, bad)
    assert not falls(rated(*[0.0] * 5), good)
    assert not falls(rated(*[1.0] * 48, 0.0, 0.0), good)


def test_answers_that_are_no_longer_taken_are_a_fall_as_well() -> None:
    """Nobody needs to rate anything for that."""
    (fall,) = falls(UsageTotals(taken=60, refused=40), UsageTotals(taken=95, refused=5))
    assert (fall.what, fall.before, fall.now) == ("acceptance", 0.95, 0.6)


def test_chance_alone_flags_about_one_in_a_hundred() -> None:
    """Two weeks of the same quality, a thousand times."""
    dice = random.Random(5)

    def week() -> UsageTotals:
        return rated(*[float(dice.random() < 0.7) for _ in range(60)])

    flagged = sum(bool(falls(week(), week())) for _ in range(1000))
    assert flagged <= 25
