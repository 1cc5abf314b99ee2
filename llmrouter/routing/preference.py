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

from llmrouter.domain.background import Background
from llmrouter.domain.decision import Audit, Question, Source, Verdict
from llmrouter.domain.ports import Preferences, Proposal, Stage
from llmrouter.errors import RouterLLMFailed


def _unheard(_: Audit) -> None:
    """Nobody keeps audits."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What happens behind requests: where it runs, who is asked again, who hears of it.

    `second` asks the router LLM the same question in another way; without it nobody is asked twice.
    """

    background: Background
    second: Stage | None = None
    heard: Callable[[Audit], None] = _unheard
    chance: Callable[[], float] = random.random


class Preference:
    """A stage around the router LLM's stage."""

    name = "learned"

    def __init__(self, preferences: Preferences, teacher: Stage, behind: Behind) -> None:
        self._preferences = preferences
        self._teacher = teacher
        self._behind = behind

    async def decide(self, question: Question) -> Verdict | None:
        """The learned verdict where it is trusted, else the teacher's, which is learned from."""
        settings, behind = question.catalog.learned, self._behind
        proposal = self._preferences.propose(question) if settings.enabled else None
        if proposal is not None and proposal.trusted:
            if behind.chance() < max(settings.audit_rate, proposal.audit):
                behind.background.start(self._audit(question, proposal), "audit")
            return learned(proposal)
        verdict = await self._teacher.decide(question)
        if verdict is not None and verdict.source is Source.LLM:
            self._preferences.taught(question, proposal, verdict)
            if (
                proposal is not None
                and behind.second is not None
                and behind.chance() < max(settings.audit_rate, proposal.again)
            ):
                behind.background.start(self._again(behind.second, question, verdict), "again")
        return verdict

    async def _audit(self, question: Question, proposal: Proposal) -> None:
        verdict = await _said(self._teacher, question)
        if verdict is not None:
            agreed = self._preferences.taught(question, proposal, verdict)
            self._behind.heard(_audit(question, proposal.target, verdict, bool(agreed)))

    async def _again(self, second: Stage, question: Question, first: Verdict) -> None:
        verdict = await _said(second, question)
        if verdict is not None:
            agreed = self._preferences.repeated(question, first, verdict)
            self._behind.heard(_audit(question, first.target, verdict, agreed, again=True))


async def _said(stage: Stage, question: Question) -> Verdict | None:
    """The router LLM's own verdict; a failure is counted where it happens, and says nothing."""
    try:
        verdict = await stage.decide(question)
    except RouterLLMFailed:
        return None
    return verdict if verdict is not None and verdict.source is Source.LLM else None


def _audit(
    question: Question, target: str, verdict: Verdict, agreed: bool, *, again: bool = False
) -> Audit:
    return Audit(
        tenant=question.caller.tenant,
        task=question.features.traits.task,
        fingerprint=question.features.fingerprint,
        target=target,
        named=verdict.target,
        agreed=agreed,
        cost_usd=verdict.cost_usd,
        again=again,
    )


class Prepared:
    """A stage around one that proposes: first the text's numbers are made ready, where an encoder
    has to be asked for them. `prepare` bounds its own wait; where it fails, the stage abstains.
    """

    def __init__(self, inner: Stage, prepare: Callable[[Question], Awaitable[None]]) -> None:
        self.name = inner.name
        self._inner = inner
        self._prepare = prepare

    async def decide(self, question: Question) -> Verdict | None:
        """The inner stage's verdict."""
        await self._prepare(question)
        return await self._inner.decide(question)


class LearnedOnly:
    """The stage behind `strategy: learned`: the trusted proposal, or nothing."""

    name = "learned"

    def __init__(self, preferences: Preferences) -> None:
        self._preferences = preferences

    async def decide(self, question: Question) -> Verdict | None:
        """The learned verdict, or None while it is not trusted for this task."""
        proposal = self._preferences.propose(question)
        return learned(proposal) if proposal is not None and proposal.trusted else None


def learned(proposal: Proposal) -> Verdict:
    """A trusted proposal as a verdict."""
    return Verdict(
        target=proposal.target,
        source=Source.LEARNED,
        reason=f"learned from earlier {proposal.task} requests",
        confidence=proposal.confidence,
        task=proposal.task,
        alternatives=proposal.alternatives,
    )
