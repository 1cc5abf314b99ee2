"""What the stages decided, written down as the Decision that callers see.

A verdict from the cache that is the very object of an earlier request makes the earlier decision
again: only its id, its times and its notes differ, so nothing else is worked out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Decision, Estimate, RoutingContext, Source, StageResult
from llmrouter.domain.decision_story import about
from llmrouter.routing.fallbacks import fallback_order
from llmrouter.routing.pipeline import RoutingResult
from llmrouter.util.lru import Recent


@dataclass(frozen=True, slots=True)
class Signature:
    """What makes one decision this one: its id, the trace it belongs to, and when it began.

    `started` is in seconds of `time.perf_counter`.
    """

    decision_id: str
    started: float
    trace_id: str = ""

    @property
    def timing_ms(self) -> float:
        """Milliseconds since the start."""
        return (time.perf_counter() - self.started) * 1000.0


@dataclass(frozen=True, slots=True)
class _Written:
    """A cached verdict as it was written down, and what it was written from."""

    verdict: StageResult
    decision: Decision
    catalog: Catalog
    caller: Caller
    eligible: tuple[str, ...]

    def serves(self, result: RoutingResult, context: RoutingContext) -> bool:
        """Whether a decision of this fingerprint could differ in id, times and notes alone."""
        decision = self.decision
        return (
            result.verdict is self.verdict
            and result.reason == decision.reason
            and context.catalog is self.catalog
            and context.caller is self.caller
            and context.eligible == self.eligible
            and context.excluded == decision.excluded
            and context.features.input_tokens == decision.estimate.input_tokens
        )


class DecisionWriter:
    """Writes decisions. Confined to one event loop."""

    def __init__(self) -> None:
        self._written: Recent[str, _Written] = Recent(2 * 1024 * 1024)

    def write(self, result: RoutingResult, context: RoutingContext, sign: Signature) -> Decision:
        """The result written down: in full, or as an earlier decision made again."""
        verdict = result.verdict
        if verdict.source is not Source.CACHE:
            return decision_of(result, context, sign)
        name = context.features.fingerprint
        known = self._written.get(name)
        if known is not None and known.serves(result, context):
            notes, timing_ms = result.notes, sign.timing_ms
            return known.decision.again(
                sign.decision_id, timing_ms, notes, time.time(), sign.trace_id
            )
        decision = decision_of(result, context, sign)
        written = _Written(verdict, decision, context.catalog, context.caller, context.eligible)
        self._written.keep(name, written, 0)
        return decision


def decision_of(result: RoutingResult, context: RoutingContext, sign: Signature) -> Decision:
    """A routing result as a decision, worked out in full."""
    verdict, features = result.verdict, context.features
    target = context.catalog.targets[verdict.target]
    size = features.input_tokens, features.output_tokens
    return Decision(
        decision_id=sign.decision_id,
        target=target.id,
        model=target.model,
        provider=target.provider,
        source=verdict.source,
        confidence=verdict.confidence,
        task=verdict.task or features.traits.task,
        reason=result.reason,
        alternatives=verdict.alternatives,
        excluded=context.excluded,
        fallbacks=fallback_order(verdict, context),
        estimate=Estimate(*size, target.price.cost(*size), target.latency.total_ms(size[1])),
        catalog_version=context.catalog.version,
        fingerprint=features.fingerprint,
        timing_ms=sign.timing_ms,
        tenant=context.caller.tenant,
        cascade=verdict.cascade,
        router_cost_usd=result.cost_usd,
        propensity=verdict.propensity,
        stages=result.notes,
        created_at=time.time(),
        about=about(context),
        trace_id=sign.trace_id,
        judge=verdict.judge,
    )
