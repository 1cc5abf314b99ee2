"""Embeddings never change their vector space: which requests for them may be routed at all.

Vectors of two models cannot be compared, so a caller who stored some must get the next ones from
the same model. `auto` is allowed where there is nothing to choose: one model, or a rule that names
the target. Fallbacks go to other targets of the same model alone.
"""

from __future__ import annotations

from dataclasses import replace

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.errors import BadRequest

EMBEDDINGS = "embeddings"


def within_space(context: RoutingContext) -> RoutingContext:
    """The context to route in: for embeddings of several models, by rules alone."""
    if EMBEDDINGS not in context.features.needs or len(_models(context)) == 1:
        return context
    options = replace(context.request.options, strategy="rules")
    return replace(context, request=replace(context.request, options=options, kept=False))


def check_space(context: RoutingContext, result: StageResult) -> None:
    """Raise BadRequest where no model was chosen for embeddings."""
    if EMBEDDINGS not in context.features.needs or result.source is not Source.DEFAULT:
        return
    models = _models(context)
    if len(models) > 1:
        raise BadRequest(
            f"model: name one of {', '.join(sorted(context.eligible))}; `auto` would mix the "
            "vectors of different models, unless a rule in routing.yaml chooses",
            param="model",
            code="model_required",
        )


def same_space(target: str, others: tuple[str, ...], catalog: Catalog) -> tuple[str, ...]:
    """Of other targets, those that serve the same model."""
    model = catalog.targets[target].model
    return tuple(name for name in others if catalog.targets[name].model == model)


def _models(context: RoutingContext) -> set[str]:
    return {context.catalog.targets[name].model for name in context.eligible}
