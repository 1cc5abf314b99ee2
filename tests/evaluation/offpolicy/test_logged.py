"""Which decisions of a journal can judge another policy, and what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.evaluation.offpolicy.logged import Row, read


def decision(name: str = "d", **over: Any) -> dict[str, Any]:
    """A decision for small that might have been one for large."""
    return {
        "kind": "decision",
        "at": 10.0,
        "decision_id": name,
        "task": "code",
        "fingerprint": "f",
        "target": "small",
        "propensity": 0.9,
        "eligible": ["small", "large"],
        "estimate_usd": 0.5,
        **over,
    }


def feedback(score: float, name: str = "d") -> dict[str, Any]:
    """A rating."""
    return {"kind": "feedback", "decision_id": name, "score": score, "target": "small"}


def outcome(cost: float = 0.1, **attempt: Any) -> dict[str, Any]:
    """An execution with one attempt at small."""
    one = {"target": "small", "outcome": "ok", "cost_usd": cost, **attempt}
    return {"kind": "outcome", "decision_id": "d", "cost_usd": cost, "attempts": [one]}


def test_a_decision_is_read_with_what_came_of_it() -> None:
    """Ratings are averaged onto 0..1, costs are what executions came to."""
    told = [decision(), outcome(0.2), feedback(1.0), outcome(0.4), feedback(0.0)]
    (row,) = read(told).rows
    assert row == Row("d", "code", "f", "small", 0.9, ("small", "large"), 0.75, pytest.approx(0.3))


def test_without_an_execution_the_cost_is_the_estimate() -> None:
    """A service that only decides has no outcomes."""
    (row,) = read([decision()]).rows
    assert (row.reward, row.cost_usd) == (None, 0.5)


@pytest.mark.parametrize(
    ("attempt", "reward"),
    [
        ({"outcome": "rejected"}, 0.0),
        ({"outcome": "ok", "signals": ["judge"]}, 1.0),
        ({"outcome": "ok", "signals": ["confidence"]}, None),
        ({"outcome": "ok"}, None),
        ({"outcome": "failed"}, None),
        ({"outcome": "rejected", "target": "large"}, None),
    ],
)
def test_verification_grades_where_nobody_spoke(
    attempt: dict[str, Any], reward: float | None
) -> None:
    """A rejected answer of the target was bad, one that a judge accepted was good."""
    assert read([decision(), outcome(**attempt)]).rows[0].reward == reward


def test_feedback_goes_before_verification() -> None:
    """Who received the answer knows best."""
    told = [decision(), outcome(outcome="rejected"), feedback(1.0)]
    assert read(told).rows[0].reward == 1.0


@pytest.mark.parametrize(
    ("over", "counts"),
    [
        ({"propensity": 1.0}, (0, 1, 0)),
        ({"eligible": ["small"]}, (0, 1, 0)),
        ({"propensity": 0.0}, (0, 0, 1)),
        ({"propensity": 1.5}, (0, 0, 1)),
        ({"propensity": float("nan")}, (0, 0, 1)),
        ({"propensity": None}, (0, 0, 1)),
        ({"propensity": "0.5"}, (0, 0, 1)),
        ({"eligible": None}, (0, 0, 1)),
        ({"at": 3.0}, (0, 0, 0)),
        ({}, (1, 0, 0)),
    ],
)
def test_what_cannot_judge_is_counted(over: dict[str, Any], counts: tuple[int, ...]) -> None:
    """Settled decisions and unusable propensities are left out, older ones never looked at."""
    record = read([decision(**over)], since=5.0)
    assert (len(record.rows), record.settled, record.unusable) == counts
    assert record.decisions == sum(counts)


def test_entries_of_decisions_that_are_gone_are_passed_over() -> None:
    """A journal is bounded."""
    assert read([feedback(1.0, "older"), decision(), feedback(-1.0)]).rows[0].reward == 0.0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5))
def test_rewards_stay_in_their_range(scores: list[float]) -> None:
    """Whatever was written."""
    (row,) = read([decision(), *(feedback(score) for score in scores)]).rows
    assert row.reward is not None
    assert 0.0 <= row.reward <= 1.0
