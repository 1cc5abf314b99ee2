"""The last stage: the default, or who is nearest to it in price."""

from __future__ import annotations

import pytest

from llmrouter.domain.decision import Source
from llmrouter.domain.target import Price
from llmrouter.routing.stages.default import (
    Default,
    blended_price,
    nearest_in_price,
    price_distance,
)
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question

FREE, CHEAP, MIDDLE, DEAR = (
    a_target(name, price=Price(usd, usd))
    for name, usd in (("free", 0.0), ("cheap", 1.0), ("middle", 4.0), ("dear", 10.0))
)
CATALOG = a_catalog(FREE, CHEAP, MIDDLE, DEAR, default="middle")


async def test_the_catalog_s_default() -> None:
    """It claims no confidence."""
    verdict = await Default().decide(a_question(catalog=CATALOG, eligible=("cheap", "middle")))
    assert (verdict.target, verdict.source) == ("middle", Source.DEFAULT)
    assert verdict.confidence is None


async def test_the_nearest_in_price_stands_in() -> None:
    """As a ratio: $4 is nearer to $10 (2.5 times) than to $1 (4 times), and it says so."""
    asked = a_question(catalog=CATALOG, eligible=("free", "cheap", "dear"))
    verdict = await Default().decide(asked)
    assert verdict.target == "dear"
    assert verdict.reason == "default 'middle' is not eligible, 'dear' is nearest in price"


def test_the_blend_is_three_in_to_one_out() -> None:
    """(3 * 1 + 5) / 4 = 2."""
    assert blended_price(a_target(price=Price(1.0, 5.0))) == pytest.approx(2.0)


def test_a_free_target_has_a_distance() -> None:
    """It counts as a cent, so no logarithm of nothing."""
    assert price_distance(FREE, FREE) == 0.0
    assert price_distance(FREE, CHEAP) == pytest.approx(4.60517, abs=1e-4)


def test_ties_are_broken_by_name() -> None:
    """The same request gets the same answer on every replica."""
    twins = a_target("b", price=Price(2, 2)), a_target("a", price=Price(2, 2))
    assert nearest_in_price(MIDDLE, twins).id == "a"
