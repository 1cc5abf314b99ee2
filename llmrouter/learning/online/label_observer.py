"""What events teach: each lesson counts at once, in the record, the memory and the next fit.

What is learned, and what it is worth as a grade of a target for a request:

- the router LLM's choice: the target it named satisfies, the others were not needed (`label`);
- a cascade's verification: a rejected attempt failed, a verified one satisfied (see `grading`);
- what callers say: feedback in full, the same question again or "that's wrong" for half.

Trust is measured, never assumed: before the router LLM's answer is learned, the model says what it
would have chosen, and whether that agreed (see `agreement`) goes into its task's window (see
`trust`). Only above the confidence at which agreement has been high enough does a proposal count; a
random share of those that count is audited the same way, so a model that drifts loses its trust by
itself.

What it refuses: to wait, and to let one caller's lessons drown the others' (see `influence`).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, StageResult
from llmrouter.domain.interfaces import LearnedPrediction, Observer, QualityEstimate, Store
from llmrouter.learning.encoders.hashed_features import Measured, measured
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.encoders.text_encoder import Encoded
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.example_buffer import ExampleBuffer, cap_per_caller
from llmrouter.learning.online.live_costs import LiveCosts
from llmrouter.learning.online.outcome_labels import outcomes
from llmrouter.learning.online.sync import StoreSync
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import AgreementModel, Comparison
from llmrouter.learning.trust.predictor import TEXT_LIMIT, Predictor
from llmrouter.learning.trust.teacher_agreement import SAME, agrees
from llmrouter.learning.trust.trust_report import trust_report

log = logging.getLogger(__name__)

Key = TypeVar("Key")
Value = TypeVar("Value")

LABEL_WEIGHT = 0.7
"""What the router LLM's choice is worth as a grade; feedback counts in full."""
FEEDBACK_WEIGHT = 1.0
DOUBT_WEIGHT = 0.5
"""What it is worth that a caller asked again, or said that the answer was wrong."""
GOOD = 0.5
ANSWERED = 2_000
"""Cascades whose answering target is remembered, for what callers say of it later."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """`first_fit` lessons start a model; it is fitted again when `growth` more have come.

    `remembered` lessons are held; trust is recomputed after `refresh` comparisons; every `check_s`
    seconds lessons are written down and others' read. `secret` veils what is written (see
    `lessons`): every process on a store has the same. While `fits` says no, nothing is fitted:
    lessons are kept for when it says yes.
    """

    first_fit: int = 200
    growth: float = 0.5
    remembered: int = 5_000
    check_s: float = 1.0
    refresh: int = 100
    secret: bytes = b"unset"
    fits: Callable[[], bool] = _always


class LabelObserver:
    """Implements the Preferences port, without the loop behind it. Confined to one event loop."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        agreement: Callable[[], float],
        options: LearnerOptions | None = None,
        encoders: Encoders | None = None,
    ) -> None:
        self._observer = observer
        self._agreement = agreement
        self._options = options or LearnerOptions()
        self._encoders = encoders or Encoders()
        self._space = self._encoders.space
        self.costs = LiveCosts()
        self._keeper = StoreSync(store, self._options.secret, self._options.remembered, self.costs)
        self._proposer = Predictor(AgreementModel(Windows(agreement())), self.costs)
        self._held = ExampleBuffer(self._options.remembered)
        self._asked: OrderedDict[str, tuple[str, str]] = OrderedDict()  # text, key by fingerprint
        self._answered: OrderedDict[str, tuple[Decision, str]] = OrderedDict()  # by decision id
        self._said: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._trusted: set[str] = set()
        self._learned = 0
        self._fitted_at = 0
        self._compared = 0
        self._trained_at = 0.0
        self._covered: Mapping[str, int] = {}  # last lessons in the model, by author

    @property
    def trusted(self) -> frozenset[str]:
        """The tasks that it answers alone."""
        return frozenset(self._trusted)

    def public(self) -> dict[str, Any]:
        """For `/learning`: the model that serves, what it rests on, and trust task by task."""
        most = self._options.remembered
        news = min(self._fitted_at * self._options.growth, most)
        return {
            "serving": self._proposer.model is not None,
            "fitted_on": self._fitted_at,
            "learned": self._learned,
            "held": len(self._held),
            "next_fit_at": int(max(self._options.first_fit, self._fitted_at + news)),
            "teacher_consistency": self._proposer.steady.share(),
            **trust_report(self._proposer.trust.windows),
        }

    async def prepare(self, context: RoutingContext) -> None:
        """Have a question's text at hand for `propose`, where an encoder has to be asked for it."""
        if self._space:
            await self._encoders.prepare(_text(context), context.deadline.remaining_s())

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """What the model would choose, and whether its record lets that count. None: no model."""
        return self._proposer.propose(context)

    def prospects(self, context: RoutingContext) -> tuple[QualityEstimate, ...]:
        """What is expected of each eligible target; empty while nothing is learned."""
        return self._proposer.prospects(context)

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """The router LLM's verdict: first the exam, then the lesson."""
        about = _about(context.features.traits.task, context.caller.name, _text(context))
        known = self._proposer.graded(self._encoded(about))
        comparison = None
        if proposal is not None:
            agreed = agrees(proposal.target, verdict.target, known) or _worth_as_much(
                proposal.target, verdict
            )
            how = proposal.trusted, about.key, verdict.target not in known
            comparison = Comparison(about.task, proposal.facts, agreed, *how)
            outcome = "agreed" if agreed else "disagreed"
            self._observer.count("audits", 1, {"task": about.task, "outcome": outcome})
        grades: dict[str, float] = {}
        # A choice whose answer is known to have failed does not say who else was needed.
        if known.get(verdict.target, 1.0) >= GOOD and self._admits(about, ExampleKind.LABEL):
            grades = {n: p for n, p in _soft(context, verdict).items() if n not in known}
            self._proposer.probabilities = any(0.0 < p < 1.0 for p in grades.values())
        self._learn(about, ExampleKind.LABEL, grades, LABEL_WEIGHT, comparison)
        return None if comparison is None else comparison.agreed

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """The router LLM was asked a second time, in another way."""
        agreed = agrees(second.target, first.target, {})
        task, key = context.features.traits.task, context.caller.name
        self._take(self._keeper.note(TrainingExample(ExampleKind.LABEL, task, key, again=agreed)))
        return agreed

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Keep a decided request's text for what may come of it; equal ones share it."""
        if decision.fingerprint not in self._asked:
            whose = _text(context), context.caller.name
            _keep(self._asked, decision.fingerprint, whose, self._options.remembered // 4)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended: what it took is learned, and what a cascade verified grades."""
        if decision.fingerprint in self._asked:
            self.costs.observe(self._asked[decision.fingerprint][0], completion)
        if not decision.cascade:
            return
        _keep(self._answered, decision.decision_id, (decision, completion.target), ANSWERED)
        for one in outcomes(completion):
            self.graded(decision, {one.target: one.grade}, one.weight)

    def graded(self, decision: Decision, grades: dict[str, float], weight: float) -> None:
        """Verified answers to a decided request: grades in 0..1 by target, worth `weight`."""
        if decision.fingerprint in self._asked:
            text, key = self._asked[decision.fingerprint]
            about = _about(decision.task, key, text)
            if self._admits(about, ExampleKind.OUTCOME):
                self._learn(about, ExampleKind.OUTCOME, grades, weight)

    def observe_retry(self, decision_id: str, caller: str) -> None:
        """A caller asked the same again, or said that the answer was wrong."""
        if decision_id in self._answered:
            decision, target = self._answered[decision_id]
            self._say(decision, caller, {target: 0.0}, DOUBT_WEIGHT)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback grades the target that answered, and the one the caller would have preferred."""
        answered = self._answered.get(decision.decision_id, (decision, decision.target))[1]
        grades = {answered: (feedback.score + 1.0) / 2.0}
        if feedback.preferred is not None:
            grades[feedback.preferred] = 1.0
        self._say(decision, feedback.caller, grades, FEEDBACK_WEIGHT)

    def _say(self, decision: Decision, key: str, grades: dict[str, float], weight: float) -> None:
        """A caller's word. Of one target and request it counts once, however often it is said."""
        if decision.fingerprint not in self._asked:
            return
        about = _about(decision.task, key, self._asked[decision.fingerprint][0])
        said = key, decision.fingerprint, next(iter(grades))
        if said in self._said or not self._admits(about, ExampleKind.WORD):
            self._observer.count("feedback_ignored", 1, {"task": about.task})
            return
        _keep(self._said, said, None, self._options.remembered)
        self._learn(about, ExampleKind.WORD, grades, weight)

    def _admits(self, about: _About, kind: ExampleKind) -> bool:
        return self._held.admits(about.task, about.key, kind)

    def _learn(
        self,
        about: _About,
        kind: ExampleKind,
        grades: dict[str, float],
        weight: float,
        comparison: Comparison | None = None,
    ) -> None:
        """A lesson of this process: it counts at once, and is written down behind."""
        if grades or comparison is not None:
            found = about.found if grades else None
            lesson = TrainingExample(kind, about.task, about.key, found, grades, weight, comparison)
            vector = self._encoders.vector(about.text) if self._space and grades else None
            if vector is not None:
                lesson = replace(lesson, space=self._space, vector=vector)
            self._take(self._keeper.note(lesson))

    def _take(self, lesson: TrainingExample) -> None:
        """A lesson of whichever process, into record, memory and the next fit."""
        if lesson.again is not None:
            self._proposer.steady.observe(lesson.again)
        if lesson.comparison is not None and self._proposer.trust.observe(lesson.comparison):
            self._compared += 1
            self._watch_trust(lesson.task)
        if lesson.grades:
            self._held.add(lesson)
            self._learned += not self._space or lesson.space == self._space
            if self._proposer.model is not None:
                lesson.teach(self._proposer.model)

    def lessons(self) -> list[bytes]:
        """What the next fit rests on, packed, oldest first."""
        return [one.packed() for one in cap_per_caller(self._held.all())]

    def due(self) -> bool:
        """Whether enough is new for another fit, and one is wanted."""
        if not self._options.fits():
            return False
        most, held = self._options.remembered, len(self._held)
        news = min(self._fitted_at * self._options.growth, most)
        wanted = max(self._options.first_fit, self._fitted_at + news)
        return self._learned >= wanted and held >= min(self._fitted_at, most)

    def adopt(self, model: QualityModel) -> None:
        """Serve with a model that was fitted on all `lessons` there are."""
        self._proposer.model, self._fitted_at = model, self._learned
        self._covered = dict(self._keeper.seen)

    def stale(self) -> bool:
        """Whether trust should be computed anew."""
        return self._compared >= self._options.refresh

    def refresh(self) -> None:
        """Fit the confidence again on all comparisons, and hold trust to it."""
        self._aim()
        self._swap(self._proposer.trust.refresh())

    def _swap(self, fresh: AgreementModel) -> None:
        self._compared = 0
        fresh.follow(self._proposer.trust)
        self._proposer.trust = fresh
        for task in (*fresh.windows.known(), *self._trusted):
            self._watch_trust(task)

    def _aim(self) -> None:
        """The agreement to hold; where names are compared, of what the teacher's own names hold."""
        trust = self._proposer.trust
        lost = trust.named * (1.0 - self._proposer.steady.share())
        trust.windows.target_agreement = self._agreement() * (1.0 - lost)

    def _watch_trust(self, task: str) -> None:
        trusted = self._proposer.trust.windows.cut(task) is not None
        if trusted and task not in self._trusted:
            self._trusted.add(task)
            log.info("learned preferences answer %s requests from now on", task)
        elif not trusted and task in self._trusted:
            self._trusted.discard(task)
            log.warning("learned preferences withdrew from %s: agreement is below target", task)
            self._observer.count("withdrawals", 1, {"task": task})

    def _encoded(self, about: _About) -> Encoded | None:
        """A request as the model reads it; None without a model, or where nothing is at hand."""
        model = self._proposer.model
        if model is None:
            return None
        try:
            return model.encode_measured(about.found, self._encoders.vector(about.text))
        except LookupError:
            return None


def _soft(context: RoutingContext, verdict: StageResult) -> dict[str, float]:
    """What the router LLM's word says of each eligible target: the probability that it judged, or
    where it only named one, that this one satisfies and the others were not needed.
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


class _About(NamedTuple):
    """What a lesson is about, and whose request it was."""

    task: str
    key: str
    text: str
    found: Measured


def _about(task: str, key: str, text: str) -> _About:
    return _About(task, key, text, measured(text))


def _text(context: RoutingContext) -> str:
    return context.features.text[:TEXT_LIMIT]


def _keep(kept: OrderedDict[Key, Value], name: Key, value: Value, most: int) -> None:
    """Keeps a value under its name; beyond `most` the oldest leave."""
    kept[name] = value
    if len(kept) > most:
        kept.popitem(last=False)
