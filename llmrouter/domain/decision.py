"""From a question to a decision: what stages are asked, what they answer, what the caller sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.features import Features
from llmrouter.domain.quick import quick
from llmrouter.domain.target import Target


class Source(StrEnum):
    """Which stage a decision came from. It is its text, in dicts as well."""

    __hash__ = str.__hash__  # an Enum's own is a call of Python's

    PINNED = "pinned"
    SESSION = "session"
    RULES = "rules"
    CACHE = "cache"
    LEARNED = "learned"
    LLM = "llm"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Alternative:
    """One eligible target as a stage weighed it.

    `score` is its utility for this very request (higher is better), `probability` how likely it is
    to answer well (0..1, None where nothing is known). `judged` and `learned` are what the router
    LLM and the learned model said before calibration and blend; callers do not see them.
    """

    target: str
    score: float
    probability: float | None = None
    judged: float | None = None
    learned: float | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A target that may not serve this request, and why."""

    target: str
    reason: str


@quick
@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What every stage is asked. `eligible` is never empty and keeps catalog order."""

    request: ChatRequest
    features: Features
    catalog: Catalog
    eligible: tuple[str, ...]
    excluded: tuple[Exclusion, ...] = ()
    caller: Caller = ANONYMOUS
    deadline: Deadline = NEVER
    quality: float = 0.5
    arm: str = ""

    def targets(self) -> tuple[Target, ...]:
        """The eligible targets themselves."""
        return tuple(self.catalog.targets[name] for name in self.eligible)


@quick
@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage's answer. A stage that has none returns None instead.

    `confidence` is 0..1 or None where the stage has no measure of it. `cascade` asks for escalation
    from cheap to strong, with `target` first. `propensity` is the probability with which an
    exploring policy picked `target`. `judge` names whose judgement was used, as `protocol/model`,
    "" where none was.
    """

    target: str
    source: Source
    reason: str
    confidence: float | None = None
    task: str | None = None
    alternatives: tuple[Alternative, ...] = ()
    cascade: bool = False
    cost_usd: float = 0.0
    propensity: float = 1.0
    judge: str = ""


@quick
@dataclass(frozen=True, slots=True)
class StageTrace:
    """What one stage did.

    `outcome` is `decided`, `abstained`, `failed`, `timeout`, `ineligible` or `skipped`; `detail`
    says why, `ms` how long it took, `cost_usd` what it spent in vain.
    """

    stage: str
    outcome: str
    detail: str = ""
    ms: float = 0.0
    cost_usd: float = 0.0


@quick
@dataclass(frozen=True, slots=True)
class Estimate:
    """What a decision should take, before it is executed. An estimate, never a bill."""

    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_ms: float


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, ready to be shown and executed.

    `fallbacks` are the other eligible targets in the order they would be tried. `tenant`, `stages`
    and what follows them are kept for the journal and the console; callers see `public()`.
    `about` says what was asked for (`decision_story.about`), `trace_id` names its trace, if any.
    `common` holds encodings of what all decisions made by `again` from one another have in common,
    under the names of those who wrote them; it says nothing that the fields do not.
    """

    decision_id: str
    target: str
    model: str
    provider: str
    source: Source
    confidence: float | None
    task: str
    reason: str
    alternatives: tuple[Alternative, ...]
    excluded: tuple[Exclusion, ...]
    fallbacks: tuple[str, ...]
    estimate: Estimate
    catalog_version: str
    fingerprint: str
    timing_ms: float
    tenant: str = ""
    cascade: bool = False
    router_cost_usd: float = 0.0
    propensity: float = 1.0
    stages: tuple[StageTrace, ...] = ()
    created_at: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)
    trace_id: str = ""
    judge: str = ""
    common: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def share(self, name: str, encoded: bytes) -> None:
        """Keep an encoding in `common`, for decisions that are made again."""
        if self.source is Source.CACHE:
            self.common[name] = encoded

    @property
    def arm(self) -> str:
        """Which catalog decided while a canary runs: `canary` or `current`; else ""."""
        return str(self.about.get("arm", ""))

    def again(
        self,
        decision_id: str,
        timing_ms: float,
        stages: tuple[StageTrace, ...],
        created_at: float,
        trace_id: str = "",
    ) -> Decision:
        """The same decision made once more: an id, times and stage notes of its own."""
        made = Decision(
            decision_id,
            self.target,
            self.model,
            self.provider,
            self.source,
            self.confidence,
            self.task,
            self.reason,
            self.alternatives,
            self.excluded,
            self.fallbacks,
            self.estimate,
            self.catalog_version,
            self.fingerprint,
            timing_ms,
            self.tenant,
            self.cascade,
            self.router_cost_usd,
            self.propensity,
            stages,
            created_at,
            self.about,
            trace_id,
            self.judge,
        )
        object.__setattr__(made, "common", self.common)
        return made

    def public(self) -> dict[str, Any]:
        """The shape callers see, with the contract's keys and no others."""
        estimate = self.estimate
        return {
            "decision_id": self.decision_id,
            "target": self.target,
            "model": self.model,
            "provider": self.provider,
            "source": self.source.value,
            "confidence": self.confidence,
            "task": self.task,
            "reason": self.reason,
            "alternatives": [
                {"target": a.target, "score": a.score, "probability": a.probability}
                for a in self.alternatives
            ],
            "excluded": [{"target": e.target, "reason": e.reason} for e in self.excluded],
            "fallbacks": list(self.fallbacks),
            "estimate": {
                "input_tokens": estimate.input_tokens,
                "cost_usd": estimate.cost_usd,
                "latency_ms": estimate.latency_ms,
            },
            "catalog_version": self.catalog_version,
            "fingerprint": self.fingerprint,
            "timing_ms": self.timing_ms,
        }


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a caller said about a decision: `score` -1..1, perhaps a better target.

    `earlier` is the score by the same key that this one takes the place of, None for the first.
    """

    decision_id: str
    score: float
    preferred: str | None = None
    comment: str | None = None
    caller: str = ""
    created_at: float = field(default=0.0)
    earlier: float | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """The router LLM's judgement of a request, asked in the background after it was decided.

    `target` had been decided, `named` is what the router LLM names; `agreed` whether the first was
    worth no less, as far as that is known. `again`: the router LLM had decided `target` itself.
    """

    tenant: str
    task: str
    fingerprint: str
    target: str
    named: str
    agreed: bool
    cost_usd: float
    again: bool = False


@quick
@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """What a strategy that decides alongside would have chosen, beside what was decided.

    `outcome` is `agreed`, `disagreed`, `abstained` or `failed`; `target` is None in the last two.
    USD are estimates of this request at either target, qualities the preference model's (0..1,
    None where it has none); `own_usd` is what the strategy itself cost.
    """

    strategy: str
    outcome: str
    tenant: str
    task: str
    live: str
    live_usd: float
    live_quality: float | None = None
    target: str | None = None
    usd: float | None = None
    quality: float | None = None
    own_usd: float = 0.0
