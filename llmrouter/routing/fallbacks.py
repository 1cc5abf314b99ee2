"""In which order the other eligible targets are tried where the chosen one fails.

An order without scores depends on the catalog alone, so it is worked out once and kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.target import Target
from llmrouter.routing.stages.default import price_distance
from llmrouter.routing.vector_space import EMBEDDINGS, same_space

_unscored: dict[tuple[str, str, tuple[str, ...]], tuple[str, ...]] = {}


def fallback_order(verdict: StageResult, context: RoutingContext) -> tuple[str, ...]:
    """The other eligible targets: best judged first, then another provider's, nearest in price.

    A provider that fails often fails for all its models, so its siblings come last among equals.
    """
    if verdict.source is Source.PINNED or len(context.eligible) == 1:
        return ()
    if EMBEDDINGS in context.features.needs:
        others = tuple(name for name in context.eligible if name != verdict.target)
        return same_space(verdict.target, others, context.catalog)
    if verdict.alternatives:
        scores = {a.target: a.score for a in verdict.alternatives}
        return _ranked(verdict.target, context.eligible, context.catalog.targets, scores)
    key = (context.catalog.version, verdict.target, context.eligible)
    order = _unscored.get(key)
    if order is None:
        if len(_unscored) > 4096:
            _unscored.clear()
        order = _ranked(verdict.target, context.eligible, context.catalog.targets, {})
        _unscored[key] = order
    return order


def _ranked(
    chosen: str,
    eligible: tuple[str, ...],
    targets: Mapping[str, Target],
    scores: Mapping[str, float],
) -> tuple[str, ...]:
    first = targets[chosen]

    def rank(name: str) -> tuple[float, bool, float]:
        other = targets[name]
        same = other.provider == first.provider
        return (-scores.get(name, 0.0), same, price_distance(first, other))

    return tuple(sorted((name for name in eligible if name != chosen), key=rank))
