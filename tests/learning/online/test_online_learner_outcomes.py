"""What the learner makes of outcomes: verified answers, retries, and what nobody verified."""

from __future__ import annotations

import pytest

from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, Source, StageResult
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from tests.fakes import a_decision
from tests.learning.teaching import Bench, asked, context, trusted

SUM = "Compute 41 times 67, please."


def told(bench: Bench) -> list[tuple[str, dict[str, float], str]]:
    """Every lesson that is not a label: its kind, grades and key."""
    lessons = [TrainingExample.from_bytes(one) for one in bench.learner.lessons()]
    return [
        (one.kind.value, dict(one.grades), one.key)
        for one in lessons
        if one.kind is not ExampleKind.LABEL
    ]


def decided(bench: Bench, about: RoutingContext, cascade: bool = True) -> Decision:
    """A decision for small, noted."""
    decision = a_decision(
        "small", "large", task="math", cascade=cascade, fingerprint=about.features.fingerprint
    )
    bench.learner.decided(decision, about)
    return decision


def ended(bench: Bench, decision: Decision, *attempts: Attempt) -> None:
    """An execution with these attempts."""
    bench.learner.completed(decision, Completion(attempts[-1].target, attempts, 0.01, 9.0))


def tried(target: str, outcome: str, *signals: str) -> Attempt:
    """One attempt."""
    return Attempt(target, outcome, "", 5.0, 0.001, signals=signals)


def test_an_escalation_is_an_outcome() -> None:
    """The rejected attempt grades its target low, the verified one high, for whoever asked."""
    bench = Bench()
    decision = decided(bench, context(SUM, "math", "app"))
    ended(bench, decision, tried("small", "rejected", "schema"), tried("large", "ok", "check"))
    assert told(bench) == [
        ("outcome", {"small": 0.0}, "app"),
        ("outcome", {"large": 1.0}, "app"),
    ]


@pytest.mark.parametrize(
    ("cascade", "attempt"),
    [
        (True, tried("small", "ok")),
        (True, tried("small", "failed")),
        (False, tried("small", "ok")),
        (False, tried("small", "failed")),
    ],
)
def test_what_nobody_verified_grades_nobody(cascade: bool, attempt: Attempt) -> None:
    """A plain 200 is not quality, an upstream's failure is health."""
    bench = Bench()
    ended(bench, decided(bench, context(SUM, "math"), cascade), attempt)
    assert told(bench) == []


def test_asking_again_grades_who_answered() -> None:
    """The target that answered, not the one that was decided; said once more it is nothing new."""
    bench = Bench()
    decision = decided(bench, context(SUM, "math"))
    ended(bench, decision, tried("small", "rejected", "check"), tried("large", "ok"))
    bench.learner.observe_retry(decision.decision_id, "app")
    bench.learner.observe_retry(decision.decision_id, "app")
    assert told(bench)[1:] == [("word", {"large": 0.0}, "app")]
    bench.learner.observe_retry("of another process", "app")
    assert len(told(bench)) == 2


def test_feedback_is_about_who_answered() -> None:
    """An escalated answer's praise is not the rejected target's."""
    bench = Bench()
    decision = decided(bench, context(SUM, "math"))
    ended(bench, decision, tried("small", "rejected", "check"), tried("large", "ok"))
    bench.learner.observe_feedback(decision, Feedback(decision.decision_id, 1.0, caller="app"))
    assert told(bench)[1:] == [("word", {"large": 1.0}, "app")]


def test_a_pick_that_is_known_to_fail_teaches_nothing() -> None:
    """And a proposal of another target is then as good; the record says so."""
    bench = Bench()
    bench.teach(160)
    bench.fit()
    about = context(SUM, "math")
    decision = decided(bench, about)
    ended(bench, decision, tried("large", "rejected", "check"))
    before = len(bench.learner.lessons())
    proposal = bench.learner.propose(about)
    assert proposal is not None
    assert proposal.target == "small"
    assert (
        bench.learner.observe_label(about, proposal, StageResult("large", Source.LLM, "said so"))
        is True
    )
    assert len(bench.learner.lessons()) == before


def test_an_outcome_counts_at_once_for_the_same_question_in_other_words() -> None:
    """A verified failure of the usual choice moves the next one of its kind away from it."""
    bench = Bench()
    bench.teach(160)
    bench.fit()
    about, again = context(SUM, "math"), context(f"Hi, {SUM.lower()}", "math")
    first = bench.learner.propose(again)
    ended(bench, decided(bench, about), tried("small", "rejected", "check"))
    ended(bench, decided(bench, about), tried("large", "ok", "check"))
    second = bench.learner.propose(again)
    assert first is not None
    assert second is not None
    assert (first.target, second.target) == ("small", "large")


def serves(bench: Bench, count: int, wrong: bool = False) -> int:
    """Traffic as the stage sends it: what is trusted is audited now and then, the rest is taught.

    How many requests of the task were answered.
    """
    answered = 0
    for number in range(0, 2 * count, 2):
        about, verdict = asked(number, bench.dice)
        if wrong:
            verdict = StageResult("large", Source.LLM, "changed its mind", task=verdict.task)
        proposal = bench.learner.propose(about)
        trusts = proposal is not None and proposal.trusted
        answered += trusts
        if not trusts or bench.dice.random() < max(0.1, proposal.audit if proposal else 0.0):
            bench.learner.observe_label(about, proposal, verdict)
        if bench.learner.due():
            bench.fit()
        elif bench.learner.stale():
            bench.learner.refresh()
    return answered


def test_drift_takes_trust_away_and_learning_earns_it_back() -> None:
    """What was right turns wrong: it withdraws, says so, is fitted anew, and answers again."""
    bench = Bench()
    bench.agreement = 0.95
    bench.teach(130)
    bench.fit()
    assert serves(bench, 500) > 200
    assert trusted(bench, "Add 3 to 4.")
    serves(bench, 250, wrong=True)
    assert not trusted(bench, "Add 3 to 4.")
    assert ("withdrawals", 1, {"task": "math"}) in bench.observer.counts
    assert serves(bench, 1000, wrong=True) > 500
    proposal = bench.learner.propose(context("Add 3 to 4.", "math"))
    assert proposal is not None
    assert (proposal.target, proposal.trusted) == ("large", True)
