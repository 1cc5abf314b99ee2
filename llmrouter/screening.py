"""From a request to a RoutingContext: its features, and the targets that may serve it.

The service, the catalog preview and the evaluation screen requests here, in the same way. Nothing
is decided: of the targets that may serve, the stages choose one later.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import LONG_BODY, NO_OPTIONS, Caller, ChatRequest
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.decision import Decision, RoutingContext
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import Canary, CatalogSource, FeatureExtractor, Health
from llmrouter.domain.target import Target
from llmrouter.errors import NoEligibleTarget, NotFound
from llmrouter.routing.eligibility import (
    Eligibility,
    EligibilityResult,
    RequestConstraints,
    check_budget,
    check_options,
    for_prompt,
    permitted,
    pinned_target,
)
from llmrouter.routing.last_resort import target_to_probe
from llmrouter.util.lru import Recent

DECISION_VALID_S: Final = 3600.0
"""How long a decision may be executed by its id."""


class Screener:
    """Screens requests against the catalog that serves. Confined to one event loop."""

    def __init__(
        self,
        catalog: CatalogSource,
        measure: FeatureExtractor,
        health: Health,
        canary: Canary | None = None,
    ) -> None:
        self._catalog = catalog
        self._measure = measure
        self._health = health
        self._canary = canary
        self._eligibility = Eligibility()
        self._screened: Recent[tuple[int, int], RoutingContext] = Recent()

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The request's features."""
        return self._measure.features(request, caller)

    async def context(
        self, request: ChatRequest, caller: Caller, deadline: Deadline
    ) -> RoutingContext:
        """As `screen`; a long request is measured in a thread, so that others need not wait."""
        features = await self._features_if_long(request, caller)
        return self.screen(request, caller, deadline, features)

    async def _features_if_long(self, request: ChatRequest, caller: Caller) -> Features | None:
        if len(request.body) < LONG_BODY:
            return None
        return await asyncio.to_thread(self._measure.features, request, caller)

    def screen(
        self,
        request: ChatRequest,
        caller: Caller,
        deadline: Deadline = NEVER,
        features: Features | None = None,
    ) -> RoutingContext:
        """The request, measured and screened. Raises NoEligibleTarget, NotFound, Forbidden.

        `features` are the request's own where it was measured already.

        A request that is `kept` is screened once, while nothing has changed: the catalog is the
        same, every target is healthy, and no deadline runs.
        """
        catalog, health, canary = self._catalog.current, self._health, self._canary
        if not request.kept or (canary is not None and canary.active):
            return self._screen(request, caller, deadline, features)[1]
        key = (id(request), id(caller))  # a kept context keeps both alive, so the ids are theirs
        known = self._screened.get(key)
        if (
            known is not None
            and known.catalog is catalog
            and deadline is NEVER
            and (health.all_healthy or not any(map(health.unavailable, known.eligible)))
        ):
            return known
        screening, context = self._screen(request, caller, deadline, features)
        if deadline is NEVER and screening.standing:
            self._screened.keep(key, context, len(request.body))
        return context

    def _screen(
        self,
        request: ChatRequest,
        caller: Caller,
        deadline: Deadline,
        features: Features | None,
    ) -> tuple[EligibilityResult, RoutingContext]:
        catalog, options, arm = self._catalog.current, request.options, ""
        features = features or self._measure.features(request, caller)
        if self._canary is not None and self._canary.active:
            catalog, arm = self._canary.choose(catalog, _session(request, features, caller))
        if options is not NO_OPTIONS:
            check_options(options, catalog, caller)
        constraints = RequestConstraints.of(request, features, caller)
        pinned = pinned_target(request, catalog, constraints)
        health = self._health
        unavailable = None if health.all_healthy else health.unavailable
        screening = self._eligibility.screen(catalog, constraints, unavailable)
        if request.budget is not None and (pinned is not None or not screening.eligible):
            check_budget(caller, request.budget, screening, pinned)
        eligible, excluded = screening.eligible, screening.excluded
        if pinned is not None:
            eligible = _only_pinned(pinned, screening)
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

    def catalog_of(self, decision: Decision) -> Catalog:
        """The catalog that a decision was made with, as it is now."""
        current = self._catalog.current
        return current if self._canary is None else self._canary.catalog_of(decision, current)

    async def readmit(
        self, decision: Decision, request: ChatRequest, caller: Caller
    ) -> tuple[Decision, Features]:
        """A decision made earlier, checked against this request, and the request's features.

        Raises NotFound for one that is too old or whose target is gone, Forbidden, RateLimited,
        NoEligibleTarget.
        """
        if time.time() - decision.created_at > DECISION_VALID_S:
            raise _expired(decision, f"is over {DECISION_VALID_S:.0f} s old, ask /route again")
        catalog = self.catalog_of(decision)
        target = catalog.targets.get(decision.target)
        if target is None or not target.enabled:
            raise _expired(
                decision, f"chose {decision.target!r}, which is not in the catalog any more"
            )
        decision = permitted(decision, catalog, caller)
        features = await self._features_if_long(request, caller)
        features = features or self._measure.features(request, caller)
        constraints = RequestConstraints.of(request, features, caller)
        return for_prompt(decision, target, constraints), features


def _expired(decision: Decision, why: str) -> NotFound:
    return NotFound(
        f"decision {decision.decision_id!r} {why}",
        param="router.decision_id",
        code="decision_expired",
    )


def _session(request: ChatRequest, features: Features, caller: Caller) -> str:
    """The name of a request's session, else of its conversation, as the session stage has it."""
    name = request.options.session
    return f"{caller.tenant}:" + (f"named:{name}" if name else features.conversation)


def _only_pinned(pinned: Target, screening: EligibilityResult) -> tuple[str, ...]:
    reasons = [e.reason for e in screening.excluded if e.target == pinned.id]
    if reasons and pinned.id not in screening.resting:
        raise NoEligibleTarget(f"no eligible target: {pinned.id}: {reasons[0]}", param="model")
    return (pinned.id,)
