"""The live loop: learns from decisions and feedback, proposes, and is held to its record.

The router LLM's choices are labels: the target it picked satisfies the request, as far as it can
tell. Feedback grades one target and weighs more. Between fits the neighbour memory learns at once;
when enough is new, a model is fitted again in another process and swapped in whole. A fit never
rests on fewer examples than the one it replaces (up to what is remembered), so neither a restart
nor a trained model loses by it.

Trust is measured, never assumed: before the router LLM's answer is learned, the model says what it
would have chosen, and whether that agreed goes into its task's window (see `trust`). Only above
the confidence at which agreement has been high enough does a proposal count; a random share of
those that count is audited the same way, so a model that drifts loses its trust by itself.

Texts wait in memory for the next fit and are never stored. One caller's feedback counts for at
most a tenth of a task's examples.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Alternative, Decision, Feedback, Question, Verdict
from llmrouter.domain.ports import Observer, Proposal, Prospect, Store
from llmrouter.errors import StoreFailed
from llmrouter.learning.calibration import Windows
from llmrouter.learning.choice import burden, choose
from llmrouter.learning.model import Example, PreferenceModel
from llmrouter.learning.prior import heirs
from llmrouter.learning.refit import FitFailed, refit
from llmrouter.learning.snapshot import CURRENT, PREVIOUS, Snapshot, trained_at
from llmrouter.learning.storage import ModelUnreadable
from llmrouter.learning.trust import Comparison, Trust, facts

log = logging.getLogger(__name__)

Floats = NDArray[np.floating]

TEXT_LIMIT = 4_000  # characters of a request that are learned from
LABEL_WEIGHT = 0.7
"""What the router LLM's choice is worth as a grade; feedback counts in full."""
FEEDBACK_WEIGHT = 1.0
TYPICAL_TOKENS = 1000, 500
"""Input and output tokens of the request whose dearest price is the scale of all burdens."""
KEY_SHARE = 0.1
KEY_LEAST = 3


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """`first_fit` examples start a model; it is fitted again when `growth` more have come.

    Trust is recomputed after `refresh` comparisons; what was learned is saved every `save_s`.
    """

    first_fit: int = 200
    growth: float = 1.0
    remembered: int = 5_000
    check_s: float = 5.0
    refresh: int = 100
    save_s: float = 300.0


@dataclass(slots=True)
class _Lesson:
    """A request and what is known of it so far."""

    text: str
    task: str
    grades: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    key: str | None = None  # whose feedback it is; None: the router LLM's verdict

    def weight(self) -> float:
        """What its grades are worth: one number, as the memory takes it."""
        return max(self.weights.values(), default=1.0)

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
        self._introduced: tuple[PreferenceModel, Catalog] | None = None
        self._trust = Trust(Windows(agreement()))
        self._lessons: deque[_Lesson] = deque(maxlen=self._options.remembered)
        self._texts: OrderedDict[str, str] = OrderedDict()  # by fingerprint
        self._trusted: set[str] = set()
        self._learned = 0
        self._fitted_at = 0
        self._compared = 0
        self._saved_at = 0
        self._trained_at = 0.0
        self._scale: tuple[str, float] = ("", 0.0)

    def propose(self, question: Question) -> Proposal | None:
        """What the model would choose, and whether its record lets that count. None: no model."""
        model = self._model_of(question.catalog)
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
        choice = choose(quality, self._burdens(question, costs, waits), wish)
        task = features.traits.task
        scored = tuple(
            Alternative(question.eligible[i], round(float(quality[i]), 4)) for i in choice.order
        )
        known = facts(estimates, choice)
        confidence = self._trust.confidence(known)
        return Proposal(
            target=question.eligible[choice.index],
            confidence=confidence,
            task=task,
            alternatives=scored[1:],
            trusted=self._trust.trusts(task, confidence),
            facts=known,
            audit=self._trust.windows.audit_share(task),
        )

    def prospects(self, question: Question) -> tuple[Prospect, ...]:
        """What is expected of each eligible target, for exploring; empty while nothing is learned.

        The doubt shrinks with the graded requests near this one.
        """
        model = self._model_of(question.catalog)
        if model is None:
            return ()
        found = model.estimate(question.features.text[:TEXT_LIMIT], question.eligible)
        doubts = found.doubt / np.sqrt(1.0 + found.support)
        each = zip(question.eligible, found.quality.tolist(), doubts.tolist(), strict=True)
        return tuple(Prospect(*one) for one in each)

    def _model_of(self, catalog: Catalog) -> PreferenceModel | None:
        """The model, told of the catalog's targets that it was not fitted on."""
        model, introduced = self._model, self._introduced
        if model is not None and (
            introduced is None or introduced[0] is not model or introduced[1] is not catalog
        ):
            model.heirs = heirs(model.targets, model.base.prior, catalog.targets)
            self._introduced = model, catalog
        return model

    def _burdens(self, question: Question, costs: Floats, waits: Floats) -> Floats:
        """On one scale for the whole catalog, so that dear requests weigh what they cost."""
        catalog = question.catalog
        if self._scale[0] != catalog.version or not catalog.version:
            self._scale = catalog.version, scale_of(catalog)
        return burden(costs, waits, scale_usd=self._scale[1])

    def taught(self, question: Question, proposal: Proposal | None, verdict: Verdict) -> None:
        """The router LLM's verdict: first the exam, then the lesson."""
        task = question.features.traits.task
        if proposal is not None:
            agreed = proposal.target == verdict.target
            self._trust.observe(Comparison(task, proposal.facts, agreed, proposal.trusted))
            self._compared += 1
            self._observer.count(
                "audits", 1, {"task": task, "outcome": "agreed" if agreed else "disagreed"}
            )
            self._watch_trust(task)
        lesson = _Lesson(question.features.text[:TEXT_LIMIT], task)
        for name in question.eligible:
            lesson.grades[name] = 1.0 if name == verdict.target else 0.0
            lesson.weights[name] = LABEL_WEIGHT
        self._lessons.append(lesson)
        self._learned += 1
        if self._model is not None:
            self._model.remember(self._model.encode(lesson.text), lesson.grades, LABEL_WEIGHT)

    def decided(self, decision: Decision, question: Question) -> None:
        """Keep a decided request's text for the feedback that may come; equal ones share it."""
        if decision.fingerprint in self._texts:
            return
        self._texts[decision.fingerprint] = question.features.text[:TEXT_LIMIT]
        if len(self._texts) > self._options.remembered // 4:
            self._texts.popitem(last=False)

    def rated(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback grades the target that answered, and the one the caller would have preferred."""
        text = self._texts.get(decision.fingerprint)
        if text is None or not self._may_influence(decision.task, feedback.caller):
            return
        grade = (feedback.score + 1.0) / 2.0
        fresh = _Lesson(text, decision.task, key=feedback.caller)
        fresh.grades[decision.target], fresh.weights[decision.target] = grade, FEEDBACK_WEIGHT
        if feedback.preferred is not None:
            fresh.grades[feedback.preferred] = 1.0
            fresh.weights[feedback.preferred] = FEEDBACK_WEIGHT
        self._lessons.append(fresh)
        self._learned += 1
        if self._model is not None:
            self._model.remember(self._model.encode(fresh.text), fresh.grades)

    async def run(self) -> None:
        """Take over the stored model, fit again when enough is new, save, until cancelled."""
        await self.load()
        loop = asyncio.get_running_loop()
        saved = loop.time()
        try:
            while True:
                await asyncio.sleep(self._options.check_s)
                try:
                    await self._work()
                    if loop.time() - saved >= self._options.save_s:
                        saved = loop.time()
                        await self._save()
                except Exception:
                    log.exception("learning failed for now")
        finally:
            await self._save()

    async def _work(self) -> None:
        self._trust.windows.target_agreement = self._agreement()
        if self._due():
            await self._refit()
        if self._compared >= self._options.refresh:
            await self._refresh()

    def _due(self) -> bool:
        most, held = self._options.remembered, len(self._lessons)
        news = min(self._fitted_at * self._options.growth, most)
        wanted = max(self._options.first_fit, self._fitted_at + news)
        return self._learned >= wanted and held >= min(self._fitted_at, most)

    async def _refit(self) -> None:
        learned, examples = self._learned, [lesson.example() for lesson in self._lessons]
        try:
            model = await refit(examples)
        except (FitFailed, TimeoutError) as failure:
            self._fitted_at = learned  # wait for news before trying again
            log.warning("no new preference model: %s", failure)
            return
        missed = min(self._learned - learned, len(self._lessons))
        for lesson in list(self._lessons)[len(self._lessons) - missed :]:
            model.remember(model.encode(lesson.text), lesson.grades, lesson.weight())
            await asyncio.sleep(0)
        self._model, self._fitted_at = model, learned
        log.info("preference model fitted on %d examples", len(examples))
        self._observer.count("model_fits", 1, {})
        await self._refresh()
        await self._save()

    async def _refresh(self) -> None:
        """Fit the confidence again on all comparisons, and hold trust to it."""
        self._compared = 0
        fresh = await asyncio.to_thread(self._trust.refresh)
        fresh.follow(self._trust)
        self._trust = fresh
        for task in (*fresh.windows.known(), *self._trusted):
            self._watch_trust(task)

    async def _save(self) -> None:
        model = self._model
        if model is None or self._learned == self._saved_at:
            return
        try:
            previous = await self._store.get(CURRENT)
            newer = previous is not None and _trained_at(previous) > self._trained_at
            if newer and await self.load():  # `llmrouter train` ran meanwhile
                return
            self._saved_at = self._learned
            snapshot = Snapshot(model, self._fitted_at, self._trust.dump(), self._trained_at)
            packed = await asyncio.to_thread(snapshot.to_bytes)
            if previous is not None:
                await self._store.put(PREVIOUS, previous, None)
            await self._store.put(CURRENT, packed, None)
        except (StoreFailed, ModelUnreadable) as failure:
            log.warning("preference model not kept: %s", failure)

    async def load(self) -> bool:
        """Take over the stored model with its record. Whether there was one that can be read."""
        trust = Trust(Windows(self._agreement()))  # earned anew: it was another model's
        try:
            packed = await self._store.get(CURRENT)
            if packed is None:
                return False
            snapshot = await asyncio.to_thread(Snapshot.from_bytes, packed)
            trust.load(snapshot.comparisons)
        except (StoreFailed, ModelUnreadable, ValueError, TypeError) as error:
            log.warning("no preference model from an earlier run: %s", error)
            return False
        self._trust = trust
        self._model, self._trained_at = snapshot.model, snapshot.trained_at
        self._learned = self._fitted_at = self._saved_at = snapshot.learned
        await self._refresh()
        return True

    def _watch_trust(self, task: str) -> None:
        trusted = self._trust.windows.cut(task) is not None
        if trusted and task not in self._trusted:
            self._trusted.add(task)
            log.info("learned preferences answer %s requests from now on", task)
        elif not trusted and task in self._trusted:
            self._trusted.discard(task)
            log.warning("learned preferences withdrew from %s: agreement is below target", task)
            self._observer.count("withdrawals", 1, {"task": task})

    def _may_influence(self, task: str, key: str) -> bool:
        """Whether one more rating of `key` stays within its share of what is held for a task."""
        held = [lesson.key for lesson in self._lessons if lesson.task == task]
        if held.count(key) >= max(KEY_LEAST, int(KEY_SHARE * len(held))):
            self._observer.count("feedback_ignored", 1, {"task": task})
            return False
        return True


def _trained_at(stored: bytes) -> float:
    """As `trained_at`; what cannot be read may be overwritten."""
    try:
        return trained_at(stored)
    except ModelUnreadable:
        return 0.0


def scale_of(catalog: Catalog) -> float:
    """USD of a typical request at the dearest enabled target: the unit of every burden."""
    return max((target.price.cost(*TYPICAL_TOKENS) for target in catalog.enabled), default=0.0)
