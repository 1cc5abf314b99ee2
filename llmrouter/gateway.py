"""The page to read first: how a request becomes a decision, and a decision a reply.

    bytes -> ChatRequest -> Features -> Question -> Decision -> Plan -> ReplyEvents -> bytes

`api` makes the ChatRequest and writes the bytes. Here the request is measured, the targets that
cannot serve are taken out, the stages are asked, and the decision is written down. `execution`
turns it into a reply. Telemetry and journal observe; nothing here reads them back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from llmrouter.domain import semconv
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import NO_OPTIONS, Caller, ChatRequest
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.decision import (
    Decision,
    Estimate,
    Feedback,
    RoutingContext,
    Source,
    StageResult,
)
from llmrouter.domain.decision_story import about, explained
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import CatalogSource, Health, Journal, Observer
from llmrouter.domain.target import Target
from llmrouter.errors import (
    Forbidden,
    ModelNotFound,
    NoEligibleTarget,
    NotFound,
    Overloaded,
    StoreFailed,
)
from llmrouter.execution.executor import Execution, Executor
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.routing.eligibility import (
    Eligibility,
    EligibilityResult,
    RequestConstraints,
    check_budget,
    check_options,
    for_prompt,
    permitted,
    refusal,
    unknown_target,
)
from llmrouter.routing.fallbacks import fallback_order
from llmrouter.routing.last_resort import probing, target_to_probe
from llmrouter.routing.pipeline import RoutingPipeline, RoutingResult
from llmrouter.routing.stages.session_affinity import SessionMemory, is_followed, session_key
from llmrouter.routing.vector_space import check_space, within_space
from llmrouter.util.lru import Recent

LONG_BODY = 128 * 1024  # bytes from which on a request is measured in a thread
STORE_RETRY_S = 5.0
DECISION_VALID_S = 3600.0  # how long a decision may be executed by its id


class FeatureExtractor(Protocol):
    """Reads a request once (`signals.extract.Extractor`)."""

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The request's features."""
        ...


class Ledger(Protocol):
    """Remembers decisions (`store.ledger.DecisionLog`)."""

    def new_id(self) -> str:
        """An id for a decision about to be made."""
        ...

    def remember(self, decision: Decision) -> None:
        """Keep a decision."""
        ...

    async def find(self, decision_id: str, tenant: str | None) -> Decision | None:
        """The tenant's decision, or None; a tenant of None is everyone."""
        ...

    def recent(self, limit: int, tenant: str | None) -> list[Decision]:
        """The tenant's newest decisions; a tenant of None is everyone."""
        ...


class Canary(Protocol):
    """An edited catalog that takes a share (`catalog.canary.live_canary.LiveCanary`)."""

    @property
    def active(self) -> bool:
        """Whether some sessions get another catalog."""
        ...

    def choose(self, current: Catalog, session: str) -> tuple[Catalog, str]:
        """A session's catalog, and the name of its arm."""
        ...

    def catalog_of(self, decision: Decision, current: Catalog) -> Catalog:
        """The catalog of a decision's arm."""
        ...


Escalate = Callable[[ChatRequest, Features, Caller, str], Awaitable[int]]
"""The step at which the cascade of a decision (its id) starts (`routing.escalate.Escalation`)."""


KeepFeedback = Callable[[Decision, Feedback], Awaitable[None]]
"""Returns once feedback is kept for good; raises StoreFailed (`journal.Journal.keep_feedback`)."""


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


@dataclass(frozen=True, slots=True)
class _Decided:
    """A cached verdict as it was written down, and what it was written from."""

    verdict: StageResult
    decision: Decision
    catalog: Catalog
    caller: Caller
    eligible: tuple[str, ...]

    def serves(self, ruling: RoutingResult, context: RoutingContext) -> bool:
        """Whether a decision of this fingerprint could differ in id, times and notes alone."""
        decision = self.decision
        return (
            ruling.verdict is self.verdict
            and ruling.reason == decision.reason
            and context.catalog is self.catalog
            and context.caller is self.caller
            and context.eligible == self.eligible
            and context.excluded == decision.excluded
            and context.features.input_tokens == decision.estimate.input_tokens
        )


class Gateway:
    """Decides and executes."""

    def __init__(self, rooms: GatewayDependencies) -> None:
        self._rooms = rooms
        self._eligibility = Eligibility()
        self._asked: Recent[tuple[int, int], RoutingContext] = Recent()
        self._decided: Recent[str, _Decided] = Recent(2 * 1024 * 1024)

    @property
    def catalog(self) -> CatalogSource:
        """Where the current catalog is."""
        return self._rooms.catalog

    async def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """One decision; nothing is executed. Raises LLMRouterError subclasses."""
        deadline = Deadline.after_ms(request.options.latency_budget_ms)
        features = await self._features_if_long(request, caller)
        return await self._decide(self.screen(request, caller, deadline, features))

    def input_tokens(self, request: ChatRequest, caller: Caller) -> int:
        """About how many tokens a request has."""
        return self._rooms.measure.features(request, caller).input_tokens

    async def _features_if_long(self, request: ChatRequest, caller: Caller) -> Features | None:
        """The features of a long request, measured off the loop; None for any other."""
        if len(request.body) < LONG_BODY:
            return None
        return await asyncio.to_thread(self._rooms.measure.features, request, caller)

    async def complete(self, request: ChatRequest, caller: Caller) -> Execution:
        """Decide (or take the decision named by id). The execution starts when it is opened."""
        deadline = Deadline.after_ms(request.options.latency_budget_ms)
        decision_id = request.options.decision_id
        session: str | None = None
        signer: str | None = None
        if decision_id is None:
            measured = await self._features_if_long(request, caller)
            context = self.screen(request, caller, deadline, measured)
            session, signer = await self._session(context)
            decision, features = await self._decide(context), context.features
        else:
            check_options(request.options, self._rooms.catalog.current, caller)
            decision = await self._known(decision_id, caller)
            measured = await self._features_if_long(request, caller)
            features = measured or self._rooms.measure.features(request, caller)
            target = self._catalog_of(decision).targets[decision.target]
            decision = for_prompt(
                decision, target, RequestConstraints.of(request, features, caller)
            )
        escalate, steps = self._rooms.escalate, 0
        if escalate is not None and decision.cascade:
            steps = await escalate(request, features, caller, decision.decision_id)
        order = ExecutionRequest(
            request=request,
            decision=decision,
            catalog=self._catalog_of(decision),
            deadline=deadline,
            caller=caller,
            escalate=steps,
            signed_by=signer,
            session=session,
        )
        return self._rooms.executor.run(order)

    async def _session(self, context: RoutingContext) -> tuple[str | None, str | None]:
        """The key under which a session is followed, and who signed its history's reasoning."""
        sessions = self._rooms.sessions
        if sessions is None or not is_followed(context):
            return None, None
        key = session_key(context)
        return key, await sessions.target_of(key) if context.request.wire.signed else None

    async def record_feedback(self, feedback: Feedback, caller: Caller) -> None:
        """Keep feedback on one of the caller's decisions. Raises NotFound, Overloaded."""
        decision = await self.find(feedback.decision_id, caller)
        preferred, catalog = feedback.preferred, self._rooms.catalog.current
        if preferred is not None and preferred not in catalog.targets:
            raise unknown_target(preferred, catalog, "preferred")
        signed = replace(feedback, caller=caller.name, created_at=time.time())
        if self._rooms.keep_feedback is not None:
            try:
                await self._rooms.keep_feedback(decision, signed)
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
        decision = await self._rooms.ledger.find(decision_id, _sees(caller))
        if decision is None:
            raise NotFound(f"no decision {decision_id!r}", param=param, code="decision_not_found")
        return decision

    async def recent(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        """The newest decisions the caller may see, newest first, with what each stage said."""
        return [explained(d) for d in self._rooms.ledger.recent(limit, _sees(caller))]

    def screen(
        self,
        request: ChatRequest,
        caller: Caller,
        deadline: Deadline,
        features: Features | None = None,
    ) -> RoutingContext:
        """The request, measured and screened. Raises NoEligibleTarget, NotFound, Forbidden.

        `features` are the request's own where it was measured already.

        A request that is `kept` is asked once, while nothing has changed: the catalog is the same,
        everyone is well, and no deadline runs.
        """
        catalog, health = self._rooms.catalog.current, self._rooms.health
        canary = self._rooms.canary
        if not request.kept or (canary is not None and canary.active):
            return self._measured(request, caller, deadline, catalog, features)[1]
        key = (id(request), id(caller))  # a kept question keeps both alive, so the ids are theirs
        asked = self._asked.get(key)
        if (
            asked is not None
            and asked.catalog is catalog
            and deadline is NEVER
            and (health.all_healthy or not any(map(health.unavailable, asked.eligible)))
        ):
            return asked
        screening, context = self._measured(request, caller, deadline, catalog, features)
        if deadline is NEVER and screening.standing:
            self._asked.keep(key, context, len(request.body))
        return context

    def _measured(
        self,
        request: ChatRequest,
        caller: Caller,
        deadline: Deadline,
        catalog: Catalog,
        features: Features | None,
    ) -> tuple[EligibilityResult, RoutingContext]:
        options = request.options
        features = features or self._rooms.measure.features(request, caller)
        canary, arm = self._rooms.canary, ""
        if canary is not None and canary.active:
            catalog, arm = canary.choose(catalog, _session(request, features, caller))
        if options is not NO_OPTIONS:
            check_options(options, catalog, caller)
        demand = RequestConstraints.of(request, features, caller)
        pinned = pinned_target(request, catalog, demand)
        health = self._rooms.health
        unavailable = None if health.all_healthy else health.unavailable
        screening = self._eligibility.screen(catalog, demand, unavailable)
        if request.budget is not None and (pinned is not None or not screening.eligible):
            check_budget(caller, request.budget, screening, pinned)
        eligible, excluded = screening.eligible, screening.excluded
        if pinned is not None:
            eligible = _only(pinned, screening)
        elif not eligible:
            eligible = (target_to_probe(screening, health),)
            excluded = tuple(e for e in excluded if e.target not in eligible)
        context = RoutingContext(
            request=request,
            features=features,
            catalog=catalog,
            eligible=eligible,
            excluded=excluded,
            caller=caller,
            deadline=deadline,
            quality=catalog.quality if options.quality is None else options.quality,
            arm=arm,
        )
        return screening, context

    async def _decide(self, context: RoutingContext) -> Decision:
        started = time.perf_counter()
        observer = self._rooms.observer
        with observer.route() as span:
            if is_pinned(context.request):
                pinned = StageResult(
                    context.eligible[0], Source.PINNED, "the request names it", 1.0
                )
                ruling = RoutingResult(pinned, ())
            elif (probe := probing(context.eligible, self._rooms.health)) is not None:
                ruling = RoutingResult(probe, ())
            else:
                ruling = await self._rooms.router.decide(within_space(context))
                check_space(context, ruling.verdict)
            trace_id = span.headers().get("traceparent", "")[3:35]
            decision = self._decision(ruling, context, started, trace_id)
            span.set(semconv.SOURCE, decision.source)
            span.set(semconv.TARGET, decision.target)
            if decision.confidence is not None:
                span.set(semconv.CONFIDENCE, decision.confidence)
            span.set(semconv.CACHE_HIT, decision.source is Source.CACHE)
        self._rooms.ledger.remember(decision)
        observer.decided(decision)
        self._rooms.journal.decided(decision, context)
        return decision

    def _catalog_of(self, decision: Decision) -> Catalog:
        canary, current = self._rooms.canary, self._rooms.catalog.current
        return current if canary is None else canary.catalog_of(decision, current)

    def _decision(
        self, ruling: RoutingResult, context: RoutingContext, started: float, trace_id: str
    ) -> Decision:
        """The ruling written down: in full, or as an earlier one made again."""
        decision_id, verdict = self._rooms.ledger.new_id(), ruling.verdict
        if verdict.source is not Source.CACHE:
            return decision_of(ruling, context, decision_id, started, trace_id)
        name = context.features.fingerprint
        known = self._decided.get(name)
        if known is not None and known.serves(ruling, context):
            timing_ms = (time.perf_counter() - started) * 1000.0
            return known.decision.again(decision_id, timing_ms, ruling.notes, time.time(), trace_id)
        decision = decision_of(ruling, context, decision_id, started, trace_id)
        self._decided.keep(
            name,
            _Decided(verdict, decision, context.catalog, context.caller, context.eligible),
            0,
        )
        return decision

    async def _known(self, decision_id: str, caller: Caller) -> Decision:
        decision = await self.find(decision_id, caller, "router.decision_id")
        if time.time() - decision.created_at > DECISION_VALID_S:
            raise NotFound(
                f"decision {decision_id!r} is over {DECISION_VALID_S:.0f} s old, ask /route again",
                param="router.decision_id",
                code="decision_expired",
            )
        catalog = self._catalog_of(decision)
        target = catalog.targets.get(decision.target)
        if target is None or not target.enabled:
            raise NotFound(
                f"decision {decision_id!r} chose {decision.target!r}, which is not in the "
                "catalog any more",
                param="router.decision_id",
                code="decision_expired",
            )
        return permitted(decision, catalog, caller)


def _sees(caller: Caller) -> str | None:
    """Whose decisions a caller may see: its tenant's, or with the admin key everyone's."""
    return None if caller.admin else caller.tenant


def is_pinned(request: ChatRequest) -> bool:
    """Whether the request names its target."""
    return request.model is not None and request.model != "auto"


def pinned_target(
    request: ChatRequest, catalog: Catalog, demand: RequestConstraints
) -> Target | None:
    """The target a request pins, or None. Raises ModelNotFound, or Forbidden where policy says."""
    if request.model is None or request.model == "auto":
        return None
    target = catalog.named(request.model)
    if target is None:
        known = ", ".join(["auto", *(t.id for t in catalog.enabled)])
        raise ModelNotFound(
            f"no model {request.model[:200]!r} in the catalog; there are: {known}", param="model"
        )
    if (refused := refusal(target, demand)) is not None:
        raise Forbidden(f"{target.id}: {refused}", param="model", code="target_not_allowed")
    return target


def decision_of(
    ruling: RoutingResult,
    context: RoutingContext,
    decision_id: str,
    started: float,
    trace_id: str = "",
) -> Decision:
    """A ruling as a decision. `started` is in seconds of `time.perf_counter`."""
    verdict = ruling.verdict
    target = context.catalog.targets[verdict.target]
    features = context.features
    size = features.input_tokens, features.output_tokens
    return Decision(
        decision_id=decision_id,
        target=target.id,
        model=target.model,
        provider=target.provider,
        source=verdict.source,
        confidence=verdict.confidence,
        task=verdict.task or features.traits.task,
        reason=ruling.reason,
        alternatives=verdict.alternatives,
        excluded=context.excluded,
        fallbacks=fallback_order(verdict, context),
        estimate=Estimate(*size, target.price.cost(*size), target.latency.total_ms(size[1])),
        catalog_version=context.catalog.version,
        fingerprint=features.fingerprint,
        timing_ms=(time.perf_counter() - started) * 1000.0,
        tenant=context.caller.tenant,
        cascade=verdict.cascade,
        router_cost_usd=verdict.cost_usd,
        propensity=verdict.propensity,
        stages=ruling.notes,
        created_at=time.time(),
        about=about(context),
        trace_id=trace_id,
        judge=verdict.judge,
    )


def _session(request: ChatRequest, features: Features, caller: Caller) -> str:
    """The name of a request's session, else of its conversation, as the session stage has it."""
    name = request.options.session
    return f"{caller.tenant}:" + (f"named:{name}" if name else features.conversation)


def _only(pinned: Target, screening: EligibilityResult) -> tuple[str, ...]:
    reasons = [e.reason for e in screening.excluded if e.target == pinned.id]
    if reasons and pinned.id not in screening.resting:
        raise NoEligibleTarget(f"no eligible target: {pinned.id}: {reasons[0]}", param="model")
    return (pinned.id,)
