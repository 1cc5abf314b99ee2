"""The learned stage: answers where its record lets it, abstains elsewhere, and is audited.

It stands before the router LLM. What it may answer alone, it does; a random share of that is also
sent to the router LLM behind the request. What it may not, the router LLM answers, and the answer
teaches it. A share of those answers is asked for again, in another way, to learn how often the
router LLM agrees with itself; only choices are held against that, so not before there is a model.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmrouter.domain.decision import Audit, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import LearnedPrediction, Preferences, Stage
from llmrouter.errors import RouterLLMFailed
from llmrouter.util.tasks import Background


def _unheard(_: Audit) -> None:
    """Nobody keeps audits."""


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What happens behind requests: where it runs, who is asked again, who hears of it.

    `second` asks the router LLM the same question in another way; without it nobody is asked twice.
    """

    background: Background
    second: Stage | None = None
    heard: Callable[[Audit], None] = _unheard
    chance: Callable[[], float] = random.random


class LearnedStage:
    """A stage around the router LLM's stage."""

    name = "learned"

    def __init__(self, preferences: Preferences, teacher: Stage, behind: AuditOptions) -> None:
        self._preferences = preferences
        self._teacher = teacher
        self._behind = behind

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The learned verdict where it is trusted, else the teacher's, which is learned from."""
        settings, behind = context.catalog.learned, self._behind
        proposal = self._preferences.propose(context) if settings.enabled else None
        if proposal is not None and proposal.trusted:
            if behind.chance() < max(settings.audit_rate, proposal.audit):
                behind.background.start(self._audit(context, proposal), "audit")
            return learned(proposal)
        verdict = await self._teacher.decide(context)
        if verdict is not None and verdict.source is Source.LLM:
            self._preferences.observe_label(context, proposal, verdict)
            if (
                proposal is not None
                and behind.second is not None
                and behind.chance() < max(settings.audit_rate, proposal.again)
            ):
                behind.background.start(self._again(behind.second, context, verdict), "again")
        return verdict

    async def _audit(self, context: RoutingContext, proposal: LearnedPrediction) -> None:
        verdict = await _said(self._teacher, context)
        if verdict is not None:
            agreed = self._preferences.observe_label(context, proposal, verdict)
            self._behind.heard(_audit(context, proposal.target, verdict, bool(agreed)))

    async def _again(self, second: Stage, context: RoutingContext, first: StageResult) -> None:
        verdict = await _said(second, context)
        if verdict is not None:
            agreed = self._preferences.repeated(context, first, verdict)
            self._behind.heard(_audit(context, first.target, verdict, agreed, again=True))


async def _said(stage: Stage, context: RoutingContext) -> StageResult | None:
    """The router LLM's own verdict; a failure is counted where it happens, and says nothing."""
    try:
        verdict = await stage.decide(context)
    except RouterLLMFailed:
        return None
    return verdict if verdict is not None and verdict.source is Source.LLM else None


def _audit(
    context: RoutingContext, target: str, verdict: StageResult, agreed: bool, *, again: bool = False
) -> Audit:
    return Audit(
        tenant=context.caller.tenant,
        task=context.features.traits.task,
        fingerprint=context.features.fingerprint,
        target=target,
        named=verdict.target,
        agreed=agreed,
        cost_usd=verdict.cost_usd,
        again=again,
    )


class WithEmbedding:
    """A stage around one that proposes: first the text's numbers are made ready, where an encoder
    has to be asked for them. `prepare` bounds its own wait; where it fails, the stage abstains.
    """

    def __init__(self, inner: Stage, prepare: Callable[[RoutingContext], Awaitable[None]]) -> None:
        self.name = inner.name
        self._inner = inner
        self._prepare = prepare

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The inner stage's verdict."""
        await self._prepare(context)
        return await self._inner.decide(context)


class LearnedOnly:
    """The stage behind `strategy: learned`: the trusted proposal, or nothing."""

    name = "learned"

    def __init__(self, preferences: Preferences) -> None:
        self._preferences = preferences

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The learned verdict, or None while it is not trusted for this task."""
        proposal = self._preferences.propose(context)
        return learned(proposal) if proposal is not None and proposal.trusted else None


def learned(proposal: LearnedPrediction) -> StageResult:
    """A trusted proposal as a verdict."""
    return StageResult(
        target=proposal.target,
        source=Source.LEARNED,
        reason=f"learned from earlier {proposal.task} requests",
        confidence=proposal.confidence,
        task=proposal.task,
        alternatives=proposal.alternatives,
    )
