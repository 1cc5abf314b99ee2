"""What is known of a request at each target: judged, learned, and both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmrouter.domain.decision import Alternative, RoutingContext, StageResult
from llmrouter.domain.judgement import Judgement


@dataclass(frozen=True, slots=True)
class LearnedPrediction:
    """What learned preferences would choose; `trusted` where their record lets it count.

    `facts` is what the confidence was made of, handed back when the choice is compared. `audit` is
    the least share of such answers that should be audited: high while trust is young. `again` is
    the least share of the router LLM's answers that should be asked for a second time.
    """

    target: str
    confidence: float
    task: str
    alternatives: tuple[Alternative, ...]
    trusted: bool
    facts: tuple[float, ...] = ()
    audit: float = 0.0
    again: float = 0.0


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """What is expected of a target for one request: `quality` 0..1, and the `uncertainty` about it.

    `uncertainty` is a standard deviation: high for a target of which little was seen.
    """

    target: str
    quality: float
    uncertainty: float


@dataclass(frozen=True, slots=True)
class TargetEstimate:
    """How likely a target is to answer one request well: `probability` 0..1, all things known.

    `judged` and `learned` are what the router LLM and the learned model said, None where they said
    nothing; `uncertainty` is the standard deviation of what is expected.
    """

    target: str
    probability: float
    uncertainty: float
    judged: float | None = None
    learned: float | None = None


class Estimator(Protocol):
    """Makes one estimate a target of all that is known of a request."""

    @property
    def version(self) -> int:
        """Changes whenever earlier estimates may be out of date."""
        ...

    def estimates(
        self,
        context: RoutingContext,
        judgement: Judgement | None,
        learned: Sequence[QualityEstimate],
    ) -> tuple[TargetEstimate, ...]:
        """One for each eligible target, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a request's judgement: `outcome` is how the lookup went.

    `hit`, `stale` (it serves, and is to be renewed), `miss`, `off` or `error`; `fresh_until` is in
    seconds since the epoch.
    """

    judgement: Judgement | None
    outcome: str
    fresh_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement and what it took."""

    judgement: Judgement
    cost_usd: float


@dataclass(frozen=True, slots=True)
class CallPrice:
    """What one judgement takes lately: USD and seconds; `spent_usd` on all so far."""

    usd: float
    seconds: float
    spent_usd: float


class Judgements(Protocol):
    """Judgements of requests: those that are known, and new ones from the router LLM."""

    async def find(self, context: RoutingContext) -> Found:
        """What is known. Nothing is awaited where it is in memory."""
        ...

    async def ask(self, context: RoutingContext) -> Judged | None:
        """A new judgement of every enabled target, one call for all who wait for it.

        Raises RouterLLMFailed; None where the call was ended.
        """
        ...

    def price(self, context: RoutingContext) -> CallPrice | None:
        """What asking takes lately; None before the first call."""
        ...

    def renew(self, context: RoutingContext) -> None:
        """Ask behind the requests, unless that is under way."""
        ...

    def complete(self, context: RoutingContext, known: Judgement) -> None:
        """Ask behind the requests about the eligible targets that `known` does not cover."""
        ...


class Preferences(Protocol):
    """Learned preferences: they propose at once, and learn from what was decided instead."""

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """A proposal, or None while nothing is learned."""
        ...

    def prospects(self, context: RoutingContext) -> Sequence[QualityEstimate]:
        """What is expected of each eligible target; empty while nothing is learned."""
        ...

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """The router LLM's verdict on a question, and what had been proposed for it.

        Says whether the proposal was worth no less, None where there was none.
        """
        ...

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """The router LLM was asked again in another way; whether it agreed with itself."""
        ...


class ExpectedCosts(Protocol):
    """What one request is expected to take at each target, for the utility to charge."""

    def output_tokens(self, context: RoutingContext) -> tuple[float, ...]:
        """Tokens that each of `context.eligible` is expected to write, in that order."""
        ...

    def expected_usd(self, context: RoutingContext) -> tuple[float, ...]:
        """USD of the request at each of `context.eligible`, in that order."""
        ...
