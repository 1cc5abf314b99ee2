"""Chooses among the eligible targets by one utility, for every source of estimates.

`utility = probability of answering well - price of money(q) * (expected cost, and some latency)`.
Pure and monotone: a higher `quality` never picks a target with a lower probability. The router LLM,
the learned model and the prior are all weighed here, and the decision shows every target's utility.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import TargetEstimate
from llmrouter.domain.utility import UtilityChoice, choose, penalty, scale_of, scores

ExpectedUSD = Callable[[RoutingContext], Sequence[float]]
"""USD of this very request at each eligible target, in their order."""


def expected_usd(context: RoutingContext) -> tuple[float, ...]:
    """By the catalog's prices and the estimated size, where nothing better is known."""
    size = context.features.input_tokens, context.features.output_tokens
    return tuple(target.price.cost(*size) for target in context.targets())


@dataclass(frozen=True, slots=True)
class Weighed:
    """Every eligible target weighed: `choice` and its `alternatives`, best first.

    `penalties` are what utilities subtract for money and time at factor 1, in eligible order.
    """

    choice: UtilityChoice
    target: str
    alternatives: tuple[Alternative, ...]
    penalties: tuple[float, ...]


class Utility:
    """Weighs targets. Keeps the scale of costs, which is the catalog's."""

    def __init__(self, costs: ExpectedUSD = expected_usd) -> None:
        self._costs = costs
        self._catalog: Catalog | None = None
        self._scale = 0.0

    def weigh(self, context: RoutingContext, estimates: Sequence[TargetEstimate]) -> Weighed:
        """The choice among the eligible targets, given one estimate for each, in their order."""
        if context.catalog is not self._catalog:
            self._catalog, self._scale = context.catalog, scale_of(context.catalog)
        tokens = context.features.output_tokens
        costs = np.array(self._costs(context), np.float64)
        waits = np.array([target.latency.total_ms(tokens) for target in context.targets()])
        penalties = penalty(costs, waits, scale_usd=self._scale)
        quality = np.array([one.probability for one in estimates], np.float64)
        choice = choose(quality, penalties, context.quality)
        values = scores(quality, penalties, context.quality)
        alternatives = tuple(
            Alternative(
                context.eligible[i],
                round(values[i], 6),
                round(estimates[i].probability, 4),
                estimates[i].judged,
                estimates[i].learned,
            )
            for i in choice.order
        )
        return Weighed(
            choice, context.eligible[choice.index], alternatives, tuple(penalties.tolist())
        )


def result(
    weighed: Weighed, source: Source, reason: str, *, task: str | None, judge: str = ""
) -> StageResult:
    """A stage's answer made of a choice; its confidence is the chosen target's probability."""
    return StageResult(
        target=weighed.target,
        source=source,
        reason=reason,
        confidence=weighed.alternatives[0].probability,
        task=task,
        alternatives=weighed.alternatives,
        judge=judge,
    )
