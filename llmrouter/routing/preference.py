"""The learned stage: answers where its record lets it, abstains elsewhere, and is audited.

It stands before the router LLM. What it may answer alone, it does; a random share of that is also
sent to the router LLM behind the request. What it may not, the router LLM answers, and the answer
teaches it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from llmrouter.domain.background import Background
from llmrouter.domain.decision import Question, Source, Verdict
from llmrouter.domain.ports import Preferences, Proposal, Stage
from llmrouter.errors import RouterLLMFailed


class Preference:
    """A stage around the router LLM's stage."""

    name = "learned"

    def __init__(
        self,
        preferences: Preferences,
        teacher: Stage,
        background: Background,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._preferences = preferences
        self._teacher = teacher
        self._background = background
        self._chance = chance

    async def decide(self, question: Question) -> Verdict | None:
        """The learned verdict where it is trusted, else the teacher's, which is learned from."""
        settings = question.catalog.learned
        proposal = self._preferences.propose(question) if settings.enabled else None
        if proposal is not None and proposal.trusted:
            if self._chance() < max(settings.audit_rate, proposal.audit):
                self._background.start(self._audit(question, proposal), "audit")
            return learned(proposal)
        verdict = await self._teacher.decide(question)
        if verdict is not None and verdict.source is Source.LLM:
            self._preferences.taught(question, proposal, verdict)
        return verdict

    async def _audit(self, question: Question, proposal: Proposal) -> None:
        try:
            verdict = await self._teacher.decide(question)
        except RouterLLMFailed:
            return  # counted where it happened; no answer is no disagreement
        if verdict is not None and verdict.source is Source.LLM:
            self._preferences.taught(question, proposal, verdict)


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
