"""The live loop: learns from decisions and feedback, proposes, and is held to its record.

The router LLM's choices are labels: the target it picked satisfies the request, as far as it can
tell. Feedback grades one target and weighs more. Between fits the neighbour memory learns at once;
when enough is new, a model is fitted again in another process and swapped in whole.

Trust is measured, never assumed: before the router LLM's answer is learned, the model says what it
would have chosen, and whether that agreed goes into its task's window. Only above the confidence
at which agreement has been high enough does a proposal count; a random share of those that count
is audited the same way, so a model that drifts loses its trust by itself.

Texts wait in memory for the next fit and are never stored. One caller's feedback counts for at
most a tenth of a task's examples.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import orjson

from llmrouter.domain.decision import Alternative, Decision, Feedback, Question, Verdict
from llmrouter.domain.ports import Observer, Proposal, Store
from llmrouter.errors import StoreFailed
from llmrouter.learning.calibration import Windows
from llmrouter.learning.choice import burden, choose
from llmrouter.learning.model import Example, PreferenceModel
from llmrouter.learning.refit import FitFailed, refit
from llmrouter.learning.storage import ModelUnreadable

log = logging.getLogger(__name__)

CURRENT = "model:current"
TEXT_LIMIT = 4_000  # characters of a request that are learned from
FEEDBACK_WEIGHT = 3.0
KEY_SHARE = 0.1
KEY_LEAST = 3


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """`first_fit` examples start a model; it is fitted again when `growth` more have come."""

    first_fit: int = 200
    growth: float = 1.0
    remembered: int = 5_000
    check_s: float = 5.0


@dataclass(slots=True)
class _Lesson:
    """A request and what is known of it so far."""

    text: str
    task: str
    grades: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def example(self) -> Example:
        return Example(self.text, dict(self.grades), dict(self.weights), self.task)


class Learner:
    """Implements the Preferences port. Confined to one event loop."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        agreement: Callable[[], float],
        options: LearnerOptions | None = None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._agreement = agreement
        self._options = options or LearnerOptions()
        self._model: PreferenceModel | None = None
        self._windows = Windows(agreement())
        self._lessons: deque[_Lesson] = deque(maxlen=self._options.remembered)
        self._by_decision: dict[str, tuple[str, str]] = {}
        self._influence: dict[str, Counter[str]] = {}
        self._trusted: set[str] = set()
        self._learned = 0
        self._fitted_at = 0

    def propose(self, question: Question) -> Proposal | None:
        """What the model would choose, and whether its record lets that count. None: no model."""
        model = self._model
        if model is None:
            return None
        targets = question.targets()
        features = question.features
        estimates = model.estimate(features.text[:TEXT_LIMIT], question.eligible)
        size = features.input_tokens, features.output_tokens
        costs = np.array([t.price.cost(*size) for t in targets])
        waits = np.array([t.latency.total_ms(size[1]) for t in targets])
        quality = np.asarray(estimates.quality, dtype=np.float64)
        # The labels were given at the catalog's own trade-off; only a request's own wish moves it.
        wish = 1.0 if question.quality == question.catalog.quality else question.quality
        choice = choose(quality, burden(costs, waits), wish)
        best = float(quality[choice.index])
        task = features.traits.task
        scored = tuple(
            Alternative(question.eligible[i], round(float(quality[i]), 4)) for i in choice.order
        )
        confidence = max(0.0, min(1.0, best))
        return Proposal(
            target=question.eligible[choice.index],
            confidence=confidence,
            task=task,
            alternatives=scored[1:],
            trusted=self._windows.trusts(task, confidence),
        )

    def taught(self, question: Question, proposal: Proposal | None, verdict: Verdict) -> None:
        """The router LLM's verdict: first the exam, then the lesson."""
        task = question.features.traits.task
        if proposal is not None:
            agreed = proposal.target == verdict.target
            self._windows.observe(task, proposal.confidence, agreed)
            self._observer.count(
                "audits", 1, {"task": task, "outcome": "agreed" if agreed else "disagreed"}
            )
            self._watch_trust(task)
        lesson = _Lesson(question.features.text[:TEXT_LIMIT], task)
        for name in question.eligible:
            lesson.grades[name] = 1.0 if name == verdict.target else 0.0
            lesson.weights[name] = 1.0
        self._lessons.append(lesson)
        self._learned += 1
        if self._model is not None:
            self._model.remember(self._model.encode(lesson.text), lesson.grades)

    def decided(self, decision: Decision, question: Question) -> None:
        """Keep a decided request's text for the feedback that may come."""
        text = question.features.text[:TEXT_LIMIT]
        self._by_decision[decision.decision_id] = (text, decision.task)
        if len(self._by_decision) > self._options.remembered // 4:
            self._by_decision.pop(next(iter(self._by_decision)))

    def rated(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback grades the target that answered, and the one the caller would have preferred."""
        known = self._by_decision.get(decision.decision_id)
        if known is None or not self._may_influence(decision.task, feedback.caller):
            return
        grade = (feedback.score + 1.0) / 2.0
        fresh = _Lesson(*known)
        fresh.grades[decision.target], fresh.weights[decision.target] = grade, FEEDBACK_WEIGHT
        if feedback.preferred is not None:
            fresh.grades[feedback.preferred] = 1.0
            fresh.weights[feedback.preferred] = FEEDBACK_WEIGHT
        self._lessons.append(fresh)
        self._learned += 1
        if self._model is not None:
            self._model.remember(self._model.encode(fresh.text), fresh.grades)

    async def run(self) -> None:
        """Take over newer snapshots and fit again when enough is new, until cancelled."""
        await self._load()
        while True:
            await asyncio.sleep(self._options.check_s)
            self._windows.target_agreement = self._agreement()
            due = max(self._options.first_fit, self._fitted_at * (1 + self._options.growth))
            if self._learned >= due:
                await self._refit()

    async def _refit(self) -> None:
        learned, examples = self._learned, [lesson.example() for lesson in self._lessons]
        try:
            model = await refit(examples)
        except (FitFailed, TimeoutError) as failure:
            self._fitted_at = learned  # wait for news before trying again
            log.warning("no new preference model: %s", failure)
            return
        self._model, self._fitted_at = model, learned
        log.info("preference model fitted on %d examples", len(examples))
        self._observer.count("model_fits", 1, {})
        await self._save(model)

    async def _save(self, model: PreferenceModel) -> None:
        packed = await asyncio.to_thread(model.to_bytes)
        head = orjson.dumps({"learned": self._learned, "windows": self._record()})
        try:
            previous = await self._store.get(CURRENT)
            if previous is not None:
                await self._store.put("model:previous", previous, None)
            await self._store.put(CURRENT, len(head).to_bytes(4, "big") + head + packed, None)
        except StoreFailed as failure:
            log.warning("preference model not kept: %s", failure)

    async def _load(self) -> None:
        try:
            snapshot = await self._store.get(CURRENT)
            if snapshot is None:
                return
            size = int.from_bytes(snapshot[:4], "big")
            head = orjson.loads(snapshot[4 : 4 + size])
            self._model = await asyncio.to_thread(PreferenceModel.from_bytes, snapshot[4 + size :])
        except (StoreFailed, ModelUnreadable, ValueError) as error:
            log.warning("no preference model from an earlier run: %s", error)
            return
        for task, seen in head["windows"].items():
            for confidence, agreed in seen:
                self._windows.observe(task, confidence, bool(agreed))

    def _record(self) -> dict[str, list[list[float]]]:
        return {
            name: [[o.confidence, float(o.agreed)] for o in self._windows.observations(name)]
            for name in self._windows.known()
        }

    def _watch_trust(self, task: str) -> None:
        trusted = self._windows.cut(task) is not None
        if trusted and task not in self._trusted:
            self._trusted.add(task)
            log.info("learned preferences answer %s requests from now on", task)
        elif not trusted and task in self._trusted:
            self._trusted.discard(task)
            log.warning("learned preferences withdrew from %s: agreement is below target", task)
            self._observer.count("withdrawals", 1, {"task": task})

    def _may_influence(self, task: str, key: str) -> bool:
        voices = self._influence.setdefault(task, Counter())
        most = max(KEY_LEAST, int(KEY_SHARE * (self._learned + sum(voices.values()))))
        if voices[key] >= most:
            self._observer.count("feedback_ignored", 1, {"task": task})
            return False
        voices[key] += 1
        return True
