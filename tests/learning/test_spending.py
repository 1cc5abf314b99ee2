"""Accounts add up, and a fall is flagged only where chance does not explain it."""

import pytest

from llmrouter.learning.spending import Account, accounts, fell, total

ENTRIES = [
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
    {"kind": "feedback", "at": 12.0, "task": "code", "target": "a", "score": 0.0},
    {"kind": "feedback", "at": 99.0, "task": "code", "target": "a", "score": 1.0},
]


def test_everything_spent_is_in_the_account() -> None:
    """Served, rejected, judged and routed; what is outside of the span is not."""
    (account,) = accounts(ENTRIES, 0.0, 50.0).values()
    assert (account.served, account.rejected, account.judge) == (1.0, 0.5, 0.5)
    assert account.router == 0.25
    assert account.spent == pytest.approx(2.25)
    assert account.quality == 0.5
    assert account.worth == pytest.approx(0.5 / 2.25)


def test_sums_hold_every_account() -> None:
    """Of all tasks and targets."""
    whole = total([*accounts(ENTRIES, 0.0, 50.0).values(), *accounts(ENTRIES, 50.0, 100).values()])
    assert (whole.requests, whole.ratings) == (1, [0.5, 1.0])
    assert total([]).quality is None
    assert total([]).worth is None


def test_a_fall_needs_ratings_and_size() -> None:
    """Few ratings or a small fall are chance; a large fall over many is not, a rise never is."""
    good, bad = Account(ratings=[1.0] * 50), Account(ratings=[1.0, 0.0] * 25)
    assert fell(bad, good)
    assert not fell(good, bad)
    assert not fell(Account(ratings=[0.0] * 5), good)
    assert not fell(Account(ratings=[1.0] * 48 + [0.0] * 2), good)
