"""Runs another strategy behind the live one, and records what it would have chosen and cost.

A strategy can be tried on real requests before it decides any. The answer is always the live
stage's. The shadow's result is only recorded: whether it agreed, the expected cost and quality of
both choices, and what the shadow itself cost (one of `llm` calls the router LLM). Requests decided
by a pinned model, a rule or a known judgement are not shadowed, and neither are requests beyond a
bound on concurrent shadows. Quality is estimated by the preference model; without one it is None.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from llmrouter.domain.decision import RoutingContext, ShadowComparison, Source, StageResult
from llmrouter.domain.interfaces import QualityEstimate, Stage
from llmrouter.util.tasks import Background

Prospects = Callable[[RoutingContext], Sequence[QualityEstimate]]


class Shadow:
    """A stage around the live one; `strategies` are the pipelines that `learned.shadow` names.

    `prospects` gives the preference model's estimates, `note` hears of every comparison.
    """

    def __init__(
        self,
        inner: Stage,
        strategies: Mapping[str, Sequence[Stage]],
        prospects: Prospects,
        note: Callable[[ShadowComparison], None],
        background: Background,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._strategies = strategies
        self._prospects = prospects
        self._note = note
        self._background = background

    def decide(self, context: RoutingContext) -> Coroutine[Any, Any, StageResult | None]:
        """The live stage's result, unchanged by the shadow."""
        name = context.catalog.learned.shadow
        return self._inner.decide(context) if name is None else self._decide(context, name)

    async def _decide(self, context: RoutingContext, name: str) -> StageResult | None:
        verdict = await self._inner.decide(context)
        if verdict is not None and verdict.source is not Source.CACHE:
            self._background.start(self._compare(name, context, verdict), "shadow")
        return verdict

    async def _compare(self, name: str, context: RoutingContext, live: StageResult) -> None:
        said: StageResult | None = None
        try:
            said = await self._ask(name, context)
            outcome = "abstained"
            if said is not None:
                outcome = "agreed" if said.target == live.target else "disagreed"
        except Exception:
            outcome = "failed"  # counted; no request depends on it
        expected = {one.target: one.quality for one in self._prospects(context)}
        target = None if said is None else said.target
        self._note(
            ShadowComparison(
                strategy=name,
                outcome=outcome,
                tenant=context.caller.tenant,
                task=live.task or context.features.traits.task,
                live=live.target,
                live_usd=_usd(context, live.target),
                live_quality=expected.get(live.target),
                target=target,
                usd=None if target is None else _usd(context, target),
                quality=None if target is None else expected.get(target),
                own_usd=0.0 if said is None else said.cost_usd,
            )
        )

    async def _ask(self, name: str, context: RoutingContext) -> StageResult | None:
        """The first verdict of the strategy that may be served."""
        for stage in self._strategies[name]:
            said = await stage.decide(context)
            if said is not None and said.target in context.eligible:
                return said
        return None


def _usd(context: RoutingContext, target: str) -> float:
    """What the request should cost at a target, as a decision estimates it."""
    features = context.features
    price = context.catalog.targets[target].price
    return price.cost(features.input_tokens, features.output_tokens)
