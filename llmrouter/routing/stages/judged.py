"""The stage that chooses by judgement: known, learned or asked for, weighed by one utility.

1. A judgement of this request is known: it decides, together with what the learned model expects,
   and no router LLM is asked (`cache`). Where it does not cover an eligible target, whose
   description is new, that one is judged behind the request while the others' judgements serve.
2. None is known and the learned model's record lets it count: it decides (`learned`), and a share
   of what it decides is judged behind the request, to see whether that was right.
3. Else the router LLM is asked (`llm`), where that can be worth its price; what it says teaches the
   learned model. Where it is not worth asking, what is expected anyway decides, and says so.

Choices made from known judgements are kept as they are served, so that a request that comes again
costs one lookup. What keeps them apart is everything a choice depends on.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Audit, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import (
    Estimator,
    Judged,
    Judgements,
    LearnedPrediction,
    Preferences,
    QualityEstimate,
    TargetEstimate,
)
from llmrouter.domain.judgement import Judgement
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.utility import Utility, Weighed, result
from llmrouter.routing.worth import Worth
from llmrouter.util.tasks import Background

Name = tuple[str, str, tuple[str, ...]]


def _unheard(_: Audit) -> None:
    """Nobody keeps audits."""


def _unobserved(_: str) -> None:
    """The outcome goes nowhere."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What a judged stage is made of, beside where judgements come from.

    `preferences` are the learned model's, None where it takes no part; `prepare` has a text's
    numbers ready for it, where an encoder has to be asked. `observe` hears how each lookup went,
    `heard` of every audit. `entries` choices are kept as served. `worth` says whether a request is
    worth asking about; without it every one is.
    """

    estimator: Estimator
    utility: Utility
    background: Background
    preferences: Preferences | None = None
    prepare: Callable[[RoutingContext], Awaitable[None]] | None = None
    observe: Callable[[str], None] = _unobserved
    heard: Callable[[Audit], None] = _unheard
    chance: Callable[[], float] = random.random
    clock: Callable[[], float] = time.time
    entries: int = 2_000
    worth: Worth | None = None


@dataclass(frozen=True, slots=True)
class _Served:
    """A choice as a repeated request gets it."""

    verdict: StageResult
    fresh_until: float
    version: int


class JudgedStage:
    """Implements Stage."""

    name = "judged"

    def __init__(self, judgements: Judgements, judging: Judging) -> None:
        self._judgements = judgements
        self._judging = judging
        self._served: OrderedDict[Name, _Served] = OrderedDict()
        self._catalog: Catalog | None = None
        self._revision = ""
        self._eligible: tuple[str, ...] = ()

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """A choice, or None where there is nothing to choose by. Raises RouterLLMFailed.

        Nothing is awaited when a choice is at hand.
        """
        if len(context.eligible) < 2:
            return None
        if context.request.options.cache != "use":
            return await self._afresh(context)
        name = self._name(context)
        served = self._served.get(name)
        if served is not None:
            estimator = self._judging.estimator
            if self._judging.clock() < served.fresh_until and served.version == estimator.version:
                self._served.move_to_end(name)
                self._judging.observe("hit")
                return served.verdict
            del self._served[name]
        found = await self._judgements.find(context)
        self._judging.observe(found.outcome)
        if found.judgement is None or not _covers(found.judgement, context):
            return await self._afresh(context)
        missing = found.judgement.missing(context.targets())
        if found.outcome == "stale":
            self._judgements.renew(context)
        elif missing:
            self._judgements.complete(context, found.judgement)
        weighed = self._weigh(context, found.judgement)
        verdict = _verdict(weighed, Source.CACHE, found.judgement)
        if found.outcome == "hit" and not missing:
            self._keep(name, verdict, found.fresh_until)
        return verdict

    async def _afresh(self, context: RoutingContext) -> StageResult | None:
        """Without a known judgement: the learned model where it is trusted, or the router LLM."""
        judging, settings = self._judging, context.catalog.learned
        proposal = None
        if judging.preferences is not None and settings.enabled:
            if judging.prepare is not None:
                await judging.prepare(context)
            proposal = judging.preferences.propose(context)
        if proposal is not None and proposal.trusted:
            verdict = learned(self._weigh(context, None), proposal)
            if judging.chance() < max(settings.audit_rate, proposal.audit):
                judging.background.start(self._audit(context, proposal, verdict), "audit")
            return verdict
        if context.catalog.router is None:
            return None
        if (skipped := self._skipped(context, proposal)) is not None:
            return skipped
        judged = await self._judgements.ask(context)
        if judged is None:
            return None
        verdict = self._said(context, judged)
        if judging.preferences is not None:
            judging.preferences.observe_label(context, proposal, verdict)
        return verdict

    def _skipped(
        self, context: RoutingContext, proposal: LearnedPrediction | None
    ) -> StageResult | None:
        """What is expected anyway, where the router LLM is not worth asking; else None."""
        judging = self._judging
        if judging.worth is None or context.request.options.cache == "refresh":
            return None
        estimates = self._estimates(context, None)
        weighed = judging.utility.weigh(context, estimates)
        price = self._judgements.price(context)
        skip = judging.worth.skip(context, weighed, estimates, price)
        if skip is None:
            return None
        known = proposal is not None
        verdict = result(
            weighed,
            Source.LEARNED if known else Source.DEFAULT,
            f"the router LLM was not asked: {skip.reason}; "
            + ("by what was learned" if known else "by prices and the targets' record"),
            task=context.features.traits.task,
        )
        if judging.chance() < context.catalog.learned.audit_rate:
            judging.background.start(self._regret(context, verdict), "audit")
        return verdict

    async def _regret(self, context: RoutingContext, decided: StageResult) -> None:
        """What asking would have gained where it was not worth it, as the router LLM sees it."""
        preferences, worth = self._judging.preferences, self._judging.worth
        try:
            judged = await self._judgements.ask(context)
        except RouterLLMFailed:
            return
        if judged is None or worth is None:
            return
        verdict = self._said(context, judged)
        utility = {one.target: one.score for one in verdict.alternatives}
        worth.audited(utility[verdict.target] - utility.get(decided.target, 0.0))
        if preferences is not None:
            preferences.observe_label(context, None, verdict)
        self._heard(context, decided, verdict, agreed=verdict.target == decided.target)

    async def _audit(
        self, context: RoutingContext, proposal: LearnedPrediction, decided: StageResult
    ) -> None:
        """What the router LLM says of a request that the learned model decided."""
        preferences = self._judging.preferences
        try:
            judged = await self._judgements.ask(context)
        except RouterLLMFailed:  # counted where it happens; it says nothing of the choice
            return
        if judged is None or preferences is None:
            return
        verdict = self._said(context, judged)
        agreed = preferences.observe_label(context, proposal, verdict)
        self._heard(context, decided, verdict, agreed=bool(agreed))

    def _heard(
        self, context: RoutingContext, decided: StageResult, verdict: StageResult, *, agreed: bool
    ) -> None:
        self._judging.heard(
            Audit(
                tenant=context.caller.tenant,
                task=context.features.traits.task,
                fingerprint=context.features.fingerprint,
                target=decided.target,
                named=verdict.target,
                agreed=agreed,
                cost_usd=verdict.cost_usd,
            )
        )

    def _said(self, context: RoutingContext, judged: Judged) -> StageResult:
        weighed = self._weigh(context, judged.judgement)
        verdict = _verdict(weighed, Source.LLM, judged.judgement)
        return replace(verdict, cost_usd=judged.cost_usd)

    def _weigh(self, context: RoutingContext, judgement: Judgement | None) -> Weighed:
        return self._judging.utility.weigh(context, self._estimates(context, judgement))

    def _estimates(
        self, context: RoutingContext, judgement: Judgement | None
    ) -> tuple[TargetEstimate, ...]:
        preferences = self._judging.preferences
        expected: tuple[QualityEstimate, ...] = ()
        if preferences is not None and context.catalog.learned.enabled:
            expected = tuple(preferences.prospects(context))
        return self._judging.estimator.estimates(context, judgement, expected)

    def _name(self, context: RoutingContext) -> Name:
        """The kept choice's name; what most have in common is one object, not one for each."""
        if context.catalog is not self._catalog:
            self._catalog, self._revision = context.catalog, context.catalog.revision
        if context.eligible != self._eligible:
            self._eligible = context.eligible
        return context.features.fingerprint, self._revision, self._eligible

    def _keep(self, name: Name, verdict: StageResult, fresh_until: float) -> None:
        self._served[name] = _Served(verdict, fresh_until, self._judging.estimator.version)
        if len(self._served) > self._judging.entries:
            self._served.popitem(last=False)


class LearnedOnly:
    """The stage behind `strategy: learned`: the trusted choice, or nothing."""

    name = "learned"

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The learned choice, or None while it is not trusted for this task."""
        judging = self._judging
        if judging.preferences is None:
            return None
        if judging.prepare is not None:
            await judging.prepare(context)
        proposal = judging.preferences.propose(context)
        if proposal is None or not proposal.trusted:
            return None
        estimates = judging.estimator.estimates(
            context, None, judging.preferences.prospects(context)
        )
        return learned(judging.utility.weigh(context, estimates), proposal)


def learned(weighed: Weighed, proposal: LearnedPrediction) -> StageResult:
    """A trusted prediction as a stage's answer. The target is the one its record vouches for."""
    verdict = result(
        weighed,
        Source.LEARNED,
        f"learned from earlier {proposal.task} requests",
        task=proposal.task,
    )
    return replace(verdict, target=proposal.target, confidence=proposal.confidence)


def _covers(judgement: Judgement, context: RoutingContext) -> bool:
    """Whether any eligible target was judged; else there is nothing that could serve meanwhile."""
    return len(judgement.missing(context.targets())) < len(context.eligible)


def _verdict(weighed: Weighed, source: Source, judgement: Judgement) -> StageResult:
    best = weighed.alternatives[0]
    about = []
    if judgement.difficulty is not None:
        about.append(f"difficulty {judgement.difficulty:.2f}")
    known = best.probability is not None
    about.append(f"{best.target} answers well with {best.probability:.0%}" if known else "")
    reason = f"judged by {judgement.model} ({judgement.protocol}): {', '.join(filter(None, about))}"
    if len(weighed.alternatives) > 1:
        second = weighed.alternatives[1]
        reason += f"; next {second.target} with {second.probability:.0%}"
    return result(weighed, source, reason, task=judgement.task or None, judge=judgement.judge)
