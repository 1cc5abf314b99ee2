"""Makes training examples of events.

What an event says of a target for a request, and how much that is worth as a grade:

- the router LLM's choice: the target it named satisfies, the others were not needed (`label`);
- a cascade's verification: a rejected attempt failed, a verified one satisfied (see
  `outcome_labels`);
- what callers say: feedback counts in full, the same question again or "that's wrong" half.

Before the router LLM's answer is learned, the model's own choice is compared with it. These
comparisons are what trust rests on (see `trust_monitor`). A random share of the choices that are
answered without the router LLM is compared behind the request, so a model that drifts loses its
trust by itself.

Nothing here waits, and no caller's examples may outnumber the others' (see `example_buffer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, StageResult
from llmrouter.domain.interfaces import LearnedPrediction, Observer
from llmrouter.learning.encoders.hashed_features import Measured, measured
from llmrouter.learning.online.decided_requests import DecidedRequests
from llmrouter.learning.online.learning_state import LearningState
from llmrouter.learning.online.outcome_labels import outcomes
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from llmrouter.learning.trust.agreement_model import Comparison
from llmrouter.learning.trust.predictor import TEXT_LIMIT
from llmrouter.learning.trust.teacher_agreement import SAME, agrees

LABEL_WEIGHT = 0.7
"""What the router LLM's choice is worth as a grade; feedback counts in full."""
FEEDBACK_WEIGHT = 1.0
RETRY_WEIGHT = 0.5
"""What it is worth that a caller asked again, or said that the answer was wrong."""
GOOD = 0.5


class _About(NamedTuple):
    """What an example is about, and whose request it was."""

    task: str
    caller: str
    text: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class _Grades:
    """Grades of an event: 0..1 by target, each worth `weight`."""

    kind: ExampleKind
    by_target: Mapping[str, float]
    weight: float
    comparison: Comparison | None = field(default=None)


class LabelObserver:
    """Turns events into examples, which `state` learns. Confined to one event loop."""

    def __init__(self, state: LearningState, requests: DecidedRequests, observer: Observer) -> None:
        self._state = state
        self._requests = requests
        self._observer = observer

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """The router LLM's verdict, and what had been proposed: compared first, then learned.

        Whether the proposal was worth no less; None where there was none.
        """
        predictor = self._state.predictor
        about = _about(context.features.traits.task, context.caller.name, request_text(context))
        known = predictor.graded(self._state.encode(about.measured, about.text))
        comparison = None
        if proposal is not None:
            agreed = agrees(proposal.target, verdict.target, known) or _worth_as_much(
                proposal.target, verdict
            )
            how = proposal.trusted, about.caller, verdict.target not in known
            comparison = Comparison(about.task, proposal.facts, agreed, *how)
            outcome = "agreed" if agreed else "disagreed"
            self._observer.count("audits", 1, {"task": about.task, "outcome": outcome})
        grades: dict[str, float] = {}
        # A choice whose answer is known to have failed does not say who else was needed.
        if known.get(verdict.target, 1.0) >= GOOD and self._admits(about, ExampleKind.LABEL):
            grades = {n: p for n, p in _grades(context, verdict).items() if n not in known}
            predictor.probabilities = any(0.0 < p < 1.0 for p in grades.values())
        self._learn(about, _Grades(ExampleKind.LABEL, grades, LABEL_WEIGHT, comparison))
        return None if comparison is None else comparison.agreed

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """The router LLM was asked a second time, in another way; whether it agreed with itself."""
        agreed = agrees(second.target, first.target, {})
        task, caller = context.features.traits.task, context.caller.name
        self._state.record(TrainingExample(ExampleKind.LABEL, task, caller, again=agreed))
        return agreed

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Keeps a decided request's text for what is learned of it later."""
        self._requests.add(decision.fingerprint, request_text(context), context.caller.name)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended: learns what it cost, and the grades that a cascade's checks gave."""
        asked = self._requests.asked(decision.fingerprint)
        if asked is not None:
            self._state.costs.observe(asked.text, completion)
        if not decision.cascade:
            return
        self._requests.answer(decision, completion.target)
        for one in outcomes(completion):
            self.graded(decision, {one.target: one.grade}, one.weight)

    def graded(self, decision: Decision, grades: dict[str, float], weight: float) -> None:
        """Verified answers to a decided request: grades in 0..1 by target, worth `weight`."""
        asked = self._requests.asked(decision.fingerprint)
        if asked is None:
            return
        about = _about(decision.task, asked.caller, asked.text)
        if self._admits(about, ExampleKind.OUTCOME):
            self._learn(about, _Grades(ExampleKind.OUTCOME, grades, weight))

    def observe_retry(self, decision_id: str, caller: str) -> None:
        """A caller asked the same again, or said that the answer was wrong."""
        answered = self._requests.answered(decision_id)
        if answered is not None:
            decision, target = answered
            self._rate(decision, caller, {target: 0.0}, RETRY_WEIGHT)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback grades the target that answered, and the one the caller would have preferred."""
        _, answered = self._requests.answered(decision.decision_id) or (decision, decision.target)
        grades = {answered: (feedback.score + 1.0) / 2.0}
        if feedback.preferred is not None:
            grades[feedback.preferred] = 1.0
        self._rate(decision, feedback.caller, grades, FEEDBACK_WEIGHT)

    def _rate(
        self, decision: Decision, caller: str, grades: dict[str, float], weight: float
    ) -> None:
        """A caller's rating. Of one target and request it counts once, however often it is said."""
        asked = self._requests.asked(decision.fingerprint)
        if asked is None:
            return
        about = _about(decision.task, caller, asked.text)
        rating = caller, decision.fingerprint, next(iter(grades))
        if self._requests.rated(*rating) or not self._admits(about, ExampleKind.WORD):
            self._observer.count("feedback_ignored", 1, {"task": about.task})
            return
        self._requests.rate(*rating)
        self._learn(about, _Grades(ExampleKind.WORD, grades, weight))

    def _admits(self, about: _About, kind: ExampleKind) -> bool:
        return self._state.examples.admits(about.task, about.caller, kind)

    def _learn(self, about: _About, grades: _Grades) -> None:
        if not grades.by_target and grades.comparison is None:
            return
        example = TrainingExample(
            grades.kind,
            about.task,
            about.caller,
            about.measured if grades.by_target else None,
            grades.by_target,
            grades.weight,
            grades.comparison,
        )
        space = self._state.space
        vector = self._state.encoders.vector(about.text) if space and grades.by_target else None
        if vector is not None:
            example = replace(example, space=space, vector=vector)
        self._state.record(example)


def request_text(context: RoutingContext) -> str:
    """The part of a request's text that is learned from."""
    return context.features.text[:TEXT_LIMIT]


def _about(task: str, caller: str, text: str) -> _About:
    return _About(task, caller, text, measured(text))


def _grades(context: RoutingContext, verdict: StageResult) -> dict[str, float]:
    """What the router LLM's answer says of each eligible target: the probability that it judged,
    or where it only named one, that this one satisfies and the others were not needed.
    """
    judged = {one.target: one.judged for one in verdict.alternatives if one.judged is not None}
    if judged:
        return {name: judged[name] for name in context.eligible if name in judged}
    return {name: float(name == verdict.target) for name in context.eligible}


def _worth_as_much(target: str, verdict: StageResult) -> bool:
    """Whether a target's utility is as good as the chosen one's, as the router LLM judged both."""
    utility = {one.target: one.score for one in verdict.alternatives if one.judged is not None}
    if target not in utility or verdict.target not in utility:
        return False
    return utility[target] >= utility[verdict.target] - SAME
