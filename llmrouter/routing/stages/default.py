"""The last stage: it always has an answer, and never a clever one.

What it says is never cached and never learned from, so a bad minute of the router LLM leaves no
trace in later decisions.
"""

from __future__ import annotations

import math

from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.target import Target


def blended_price(target: Target) -> float:
    """USD per million tokens at three input tokens for one output token, the usual mix."""
    return (3 * target.price.input + target.price.output) / 4


def nearest_in_price(target: Target, others: tuple[Target, ...]) -> Target:
    """The target of the same class as `target`: the one whose blended price is nearest to it."""
    return min(others, key=lambda other: (price_distance(target, other), other.id))


def price_distance(one: Target, other: Target) -> float:
    """How far apart two targets are in price, as the log of the ratio; free counts as $0.01."""
    return abs(math.log(max(blended_price(one), 0.01)) - math.log(max(blended_price(other), 0.01)))


class Default:
    """The catalog's default target or, where it is not eligible, the one nearest in price."""

    name = "default"

    async def decide(self, context: RoutingContext) -> StageResult:
        """Always a verdict."""
        catalog = context.catalog
        if catalog.default in context.eligible:
            return StageResult(catalog.default, Source.DEFAULT, "the catalog's default target")
        wanted = catalog.targets[catalog.default]
        chosen = nearest_in_price(wanted, context.targets())
        return StageResult(
            chosen.id,
            Source.DEFAULT,
            f"default {catalog.default!r} is not eligible, {chosen.id!r} is nearest in price",
        )
