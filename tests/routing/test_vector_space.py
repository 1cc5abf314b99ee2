"""Embeddings are never routed across vector spaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.errors import BadRequest
from llmrouter.routing.fallbacks import fallback_order
from llmrouter.routing.vector_space import check_space, within_space
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question

CHOSEN = StageResult("one", Source.RULES, "a rule", 1.0)
DEFAULT = StageResult("one", Source.DEFAULT, "nobody chose")


def embedding(**models: str) -> RoutingContext:
    """A request for embeddings over targets of these models."""
    targets = [a_target(name, model=model) for name, model in models.items()]
    found: Any = a_question(catalog=a_catalog(*targets), eligible=tuple(models))
    return replace(found, features=replace(found.features, needs=frozenset({"embeddings"})))


def test_only_rules_may_choose_between_models() -> None:
    """One model alone is no choice."""
    several, one = embedding(one="a", two="b"), embedding(one="a", two="a")
    assert within_space(several).request.options.strategy == "rules"
    assert within_space(one) is one


def test_the_default_does_not_choose_a_vector_space() -> None:
    """The error lists what can be named; a rule's choice passes, and one model does."""
    with pytest.raises(BadRequest, match="one, two") as refused:
        check_space(embedding(one="a", two="b"), DEFAULT)
    assert refused.value.param == "model"
    check_space(embedding(one="a", two="b"), CHOSEN)
    check_space(embedding(one="a", two="a"), DEFAULT)


def test_fallbacks_serve_the_same_model() -> None:
    """Another provider of the same model may answer, another model may not."""
    assert fallback_order(CHOSEN, embedding(one="a", two="b", three="a")) == ("three",)
