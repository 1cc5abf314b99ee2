"""One catalog that decides recorded requests as the service would, without a router LLM.

It uses the service's own screening and stages; the recorded decision stands in
for the router LLM. Nothing is executed, learned or stored. All targets are taken to be healthy. A
request without its text is not given to stages that read words.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.decision import Decision, RoutingContext, Source, StageResult
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import Preferences, Stage
from llmrouter.errors import LLMRouterError
from llmrouter.evaluation.recorded import RecordedRequest
from llmrouter.judging.estimates import Estimates
from llmrouter.routing.decision_writer import Signature, decision_of
from llmrouter.routing.eligibility import Eligibility, RequestConstraints, is_pinned
from llmrouter.routing.pipeline import RoutingPipeline, RoutingResult
from llmrouter.routing.stages.default import Default
from llmrouter.routing.stages.judged import Judging, LearnedOnly
from llmrouter.routing.stages.rules import Rules, StartCascade
from llmrouter.routing.utility import ExpectedUSD, Utility, expected_usd
from llmrouter.screening import Screener
from llmrouter.upstream.health import TargetHealth
from llmrouter.util.tasks import Background


class NullObserver:
    """Stands where an observer would: a replay is no traffic and counts nowhere."""

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Nothing."""


SILENCE: Any = NullObserver()


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """One request under one catalog: the decision, or why it is refused; who was eligible."""

    decision: Decision | None
    refused: LLMRouterError | None
    eligible: tuple[str, ...]
    excluded: Mapping[str, str]


class RecordedFeatures:
    """What the rooms are told of recorded requests: features, and the decision then."""

    name = "recorded"

    def __init__(self, pasts: Iterable[RecordedRequest]) -> None:
        self._pasts = {past.name: past for past in pasts}

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The features, measured when the journal was read."""
        return self._of(request).features

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The target of then; None where it is not eligible or where its reason is gone.

        What the default decided says nothing, and what a rule decided holds only as long as there
        is a rule: without the text, one whose pattern cannot be tried may be it.
        """
        past = self._of(context.request)
        if past.target not in context.eligible or past.source == Source.DEFAULT:
            return None
        if past.source == Source.RULES and not _may_be_a_pattern(context.catalog, past):
            return None
        reason = f"as recorded ({past.source})"
        return StageResult(past.target, Source.CACHE, reason, past.confidence, past.task)

    def _of(self, request: ChatRequest) -> RecordedRequest:
        return self._pasts[request.options.decision_id or ""]


def _may_be_a_pattern(catalog: Catalog, past: RecordedRequest) -> bool:
    return past.text is None and any(
        rule.when.matches is not None and rule.route in (None, past.target)
        for rule in catalog.rules
    )


class Blind:
    """Rules without those that need words: a pattern has nothing to try without the text."""

    name = "rules"

    def __init__(self) -> None:
        self._rules = Rules()

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """As the rules' stage."""
        catalog = context.catalog
        readable = tuple(rule for rule in catalog.rules if rule.when.matches is None)
        return await self._rules.decide(replace(context, catalog=replace(catalog, rules=readable)))


class CatalogReplay:
    """One catalog, deciding recorded requests."""

    def __init__(
        self,
        catalog: Catalog,
        told: RecordedFeatures,
        preferences: Preferences | None,
        costs: ExpectedUSD = expected_usd,
    ) -> None:
        self._catalog = catalog
        self._eligibility = Eligibility()
        utility = Utility(costs)
        self._routers = {
            True: _router(Rules(), told, preferences, utility),
            False: _router(Blind(), told, None, utility),
        }
        self._screener = Screener(self, told, TargetHealth())

    @property
    def current(self) -> Catalog:
        """The one catalog."""
        return self._catalog

    async def rule(self, past: RecordedRequest) -> ReplayedDecision:
        """What would be decided."""
        demand = RequestConstraints(past.request.options, past.features, past.caller)
        screening = self._eligibility.screen(self._catalog, demand)
        excluded = {one.target: one.reason for one in screening.excluded}
        try:
            context = self._screener.screen(past.request, past.caller)
        except LLMRouterError as refused:
            return ReplayedDecision(None, refused, screening.eligible, excluded)
        if is_pinned(past.request):
            ruling = RoutingResult(
                StageResult(context.eligible[0], Source.PINNED, "the request names it"), ()
            )
        else:
            ruling = await self._routers[past.text is not None].decide(context)
        decision = decision_of(ruling, context, Signature(past.name, time.perf_counter()))
        return ReplayedDecision(decision, None, screening.eligible, excluded)


class WhereEnabled:
    """A learned stage that abstains where the catalog switches learned preferences off."""

    def __init__(self, inner: Stage) -> None:
        self.name = inner.name
        self._inner = inner

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """As the inner stage, or None."""
        return await self._inner.decide(context) if context.catalog.learned.enabled else None


def _router(
    rules: Stage, told: RecordedFeatures, preferences: Preferences | None, utility: Utility
) -> RoutingPipeline:
    """The stages of every strategy, with the recorded decision in the router LLM's place."""
    only: tuple[Stage, ...] = ()
    if preferences is not None:
        judging = Judging(Estimates(), utility, Background(), preferences)
        only = (LearnedOnly(judging),)
    pipelines: dict[str, tuple[Stage, ...]] = {
        "auto": (rules, *(WhereEnabled(stage) for stage in only), told),
        "rules": (rules,),
        "learned": only,
        "llm": (told,),
        "cascade": (StartCascade(),),
    }
    return RoutingPipeline(pipelines, SILENCE, Default())
