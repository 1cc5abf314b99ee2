"""What an execution says about its targets: verified answers count, everything else is silence."""

import pytest

from llmrouter.domain.completion import Attempt, Completion
from llmrouter.learning.online.outcome_labels import ACCEPTED, REJECTED, Outcome, outcomes


def tried(target: str, outcome: str, *signals: str) -> Attempt:
    """One attempt."""
    return Attempt(target, outcome, "", 5.0, 0.001, signals=signals)


def graded(*attempts: Attempt) -> list[Outcome]:
    """What a completion with these attempts says."""
    return outcomes(Completion(attempts[-1].target, attempts, 0.01, 9.0))


def test_an_escalation_grades_both_targets() -> None:
    """The rejected one low, the one that was verified and accepted high."""
    assert graded(tried("small", "rejected", "check"), tried("large", "ok", "check")) == [
        Outcome("small", 0.0, REJECTED["check"]),
        Outcome("large", 1.0, ACCEPTED["check"]),
    ]


@pytest.mark.parametrize(
    "attempt",
    [
        tried("small", "ok"),
        tried("small", "ok", "confidence"),
        tried("small", "failed", "check"),
        tried("small", "cancelled"),
        tried("small", "rejected"),
    ],
)
def test_without_a_sign_nobody_is_graded(attempt: Attempt) -> None:
    """A plain answer was not verified, and a failure is health, not quality."""
    assert graded(attempt) == []


def test_the_weightiest_sign_counts() -> None:
    """A check says more than a judge, a judge more than a format, confidence the least."""
    assert graded(tried("a", "rejected", "confidence", "judge"))[0].weight == REJECTED["judge"]
    order = [REJECTED[name] for name in ("check", "judge", "schema", "confidence")]
    assert order == sorted(order, reverse=True)
    assert all(ACCEPTED[name] <= REJECTED[name] for name in ACCEPTED)
    twice = graded(tried("a", "rejected", "confidence"), tried("a", "rejected", "judge"))
    assert twice == [Outcome("a", 0.0, REJECTED["judge"])]
