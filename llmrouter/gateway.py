"""The page to read first: how a request becomes a decision, and a decision a reply.

    bytes → ChatRequest → Features → RoutingContext → Decision → Plan → ResponseEvents → bytes

`api` makes the ChatRequest and writes the bytes; `screening` measures the request and takes out
targets that cannot serve; `routing` decides; `execution` turns the decision into a reply.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from llmrouter.domain import semconv
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, Source
from llmrouter.domain.decision_story import explained
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import (
    Canary,
    CatalogSource,
    FeatureExtractor,
    Health,
    Journal,
    Ledger,
    Observer,
)
from llmrouter.errors import NotFound, Overloaded, StoreFailed
from llmrouter.execution.executor import Execution, Executor
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.routing.decision_writer import DecisionWriter, Signature
from llmrouter.routing.eligibility import check_options, unknown_target
from llmrouter.routing.pipeline import RoutingPipeline
from llmrouter.routing.stages.session_affinity import SessionMemory, followed
from llmrouter.screening import Screener

STORE_RETRY_S = 5.0

Escalate = Callable[[ChatRequest, Features, Caller, str], Awaitable[int]]
"""The step at which the cascade of a decision (its id) starts (`cascade.implicit_feedback`)."""

KeepFeedback = Callable[[Decision, Feedback], Awaitable[Feedback]]
"""Returns feedback once it is kept for good, with the `earlier` one that it takes the place of.
Raises StoreFailed."""


@dataclass(frozen=True, slots=True)
class GatewayDependencies:
    """What a gateway is made of; `bootstrap` fills it in, tests put fakes here."""

    catalog: CatalogSource
    measure: FeatureExtractor
    router: RoutingPipeline
    executor: Executor
    ledger: Ledger
    health: Health
    observer: Observer
    journal: Journal
    escalate: Escalate | None = None
    keep_feedback: KeepFeedback | None = None
    sessions: SessionMemory | None = None
    canary: Canary | None = None


class Gateway:
    """Decides and executes."""

    def __init__(self, rooms: GatewayDependencies) -> None:
        self._rooms = rooms
        self.catalog = rooms.catalog
        self.screener = Screener(rooms.catalog, rooms.measure, rooms.health, rooms.canary)
        self._writer = DecisionWriter()

    async def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """One decision; nothing is executed. Raises LLMRouterError subclasses."""
        deadline = Deadline.after_ms(request.options.latency_budget_ms)
        return await self._decide(await self.screener.context(request, caller, deadline))

    def input_tokens(self, request: ChatRequest, caller: Caller) -> int:
        """About how many tokens a request has."""
        return self.screener.features(request, caller).input_tokens

    async def complete(self, request: ChatRequest, caller: Caller) -> Execution:
        """Decide (or take the decision named by id). The execution starts when it is opened."""
        rooms, options = self._rooms, request.options
        deadline = Deadline.after_ms(options.latency_budget_ms)
        session = signer = None
        if options.decision_id is None:
            context = await self.screener.context(request, caller, deadline)
            session, signer = await followed(context, rooms.sessions)
            decision, features = await self._decide(context), context.features
        else:
            check_options(options, rooms.catalog.current, caller)
            known = await self.find(options.decision_id, caller, "router.decision_id")
            decision, features = await self.screener.readmit(known, request, caller)
        steps = 0
        if rooms.escalate is not None and decision.cascade:
            steps = await rooms.escalate(request, features, caller, decision.decision_id)
        asked = request, decision, self.screener.catalog_of(decision), deadline, caller, steps
        return rooms.executor.run(ExecutionRequest(*asked, signer, session))

    async def record_feedback(self, feedback: Feedback, caller: Caller) -> None:
        """Keep feedback on one of the caller's decisions. Raises NotFound, Overloaded."""
        decision = await self.find(feedback.decision_id, caller)
        preferred, catalog = feedback.preferred, self.catalog.current
        if preferred is not None and preferred not in catalog.targets:
            raise unknown_target(preferred, catalog, "preferred")
        signed = replace(feedback, caller=caller.name, created_at=time.time())
        if self._rooms.keep_feedback is not None:
            try:
                signed = await self._rooms.keep_feedback(decision, signed)
            except StoreFailed:
                raise Overloaded(
                    "the feedback cannot be kept now, send it again later",
                    code="store_unavailable",
                    retry_after_s=STORE_RETRY_S,
                ) from None
        self._rooms.observer.observe_feedback(decision, signed)
        self._rooms.journal.observe_feedback(decision, signed)

    async def find(self, decision_id: str, caller: Caller, param: str = "decision_id") -> Decision:
        """One of the decisions the caller may see: its own, or anyone's. Raises NotFound."""
        decision = await self._rooms.ledger.find(decision_id, caller.sees)
        if decision is None:
            raise NotFound(f"no decision {decision_id!r}", param=param, code="decision_not_found")
        return decision

    async def recent(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        """The newest decisions the caller may see, with what each stage said."""
        return [explained(d) for d in self._rooms.ledger.recent(limit, caller.sees)]

    async def _decide(self, context: RoutingContext) -> Decision:
        started, rooms = time.perf_counter(), self._rooms
        with rooms.observer.route() as span:
            result = await rooms.router.route(context, rooms.health)
            trace_id = span.headers().get("traceparent", "")[3:35]
            sign = Signature(rooms.ledger.new_id(), started, trace_id)
            decision = self._writer.write(result, context, sign)
            span.set(semconv.SOURCE, decision.source)
            span.set(semconv.TARGET, decision.target)
            if decision.confidence is not None:
                span.set(semconv.CONFIDENCE, decision.confidence)
            span.set(semconv.CACHE_HIT, decision.source is Source.CACHE)
        rooms.ledger.remember(decision)
        rooms.observer.decided(decision)
        rooms.journal.decided(decision, context)
        return decision
