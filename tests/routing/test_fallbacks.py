"""Who is tried next, where the chosen target fails."""

from __future__ import annotations

from llmrouter.domain.decision import Alternative, Source
from llmrouter.domain.target import Price
from llmrouter.routing.fallbacks import fallback_order
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question, says

CATALOG = a_catalog(
    a_target("first", price=Price(2, 2), provider="one"),
    a_target("sibling", price=Price(2, 2), provider="one"),
    a_target("near", price=Price(3, 3), provider="two"),
    a_target("far", price=Price(30, 30), provider="three"),
    version="fallbacks",
)
ASKED = a_question(catalog=CATALOG, eligible=("first", "sibling", "near", "far"))


def test_another_provider_s_come_first_nearest_in_price() -> None:
    """A provider that fails often fails for all its models."""
    assert fallback_order(says("first"), ASKED) == ("near", "far", "sibling")


def test_the_best_judged_come_before_all_others() -> None:
    """What the router LLM thought of the others outranks provider and price."""
    judged = says("first", alternatives=(Alternative("sibling", 0.9), Alternative("far", 0.5)))
    assert fallback_order(judged, ASKED) == ("sibling", "far", "near")


def test_only_eligible_targets_stand_in() -> None:
    """What may not serve does not serve in an emergency either, in orders kept from before too."""
    few = a_question(catalog=CATALOG, eligible=("first", "far"))
    assert fallback_order(says("first"), few) == ("far",)
    assert fallback_order(says("first"), ASKED) == ("near", "far", "sibling")


def test_a_pinned_target_has_no_stand_in() -> None:
    """Who names a model wants that one."""
    assert fallback_order(says("first", Source.PINNED), ASKED) == ()
