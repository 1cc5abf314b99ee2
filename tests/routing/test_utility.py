"""The one choice: monotone in quality, explained for every eligible target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.interfaces import TargetEstimate
from llmrouter.domain.target import Price
from llmrouter.routing.utility import Utility, expected_usd, result
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question

NAMES = ("a", "b", "c", "d")
CHANCES = st.lists(st.floats(0, 1), min_size=4, max_size=4)
PRICES = st.lists(st.floats(0, 50), min_size=4, max_size=4)


def asked(prices: list[float], quality: float) -> RoutingContext:
    """A request to four targets at these prices."""
    targets = [
        a_target(name, price=Price(usd, 2 * usd)) for name, usd in zip(NAMES, prices, strict=True)
    ]
    return a_question(catalog=a_catalog(*targets), eligible=NAMES, quality=quality)


def expected(chances: list[float]) -> list[TargetEstimate]:
    """An estimate a target."""
    return [TargetEstimate(name, p, 0.1, p) for name, p in zip(NAMES, chances, strict=True)]


@given(CHANCES, PRICES, st.floats(0, 1), st.floats(0, 1))
def test_more_quality_never_picks_a_target_with_a_lower_probability(
    chances: list[float], prices: list[float], one: float, other: float
) -> None:
    """Whatever prices and probabilities are."""
    low, high = sorted((one, other))
    picked = [
        chances[NAMES.index(Utility().weigh(asked(prices, q), expected(chances)).target)]
        for q in (low, high)
    ]
    assert picked[0] <= picked[1]


@given(CHANCES, PRICES, st.floats(0, 1))
def test_every_eligible_target_is_shown_with_its_probability_and_a_finite_score(
    chances: list[float], prices: list[float], quality: float
) -> None:
    """The chosen one comes first, and no score is above its own."""
    weighed = Utility().weigh(asked(prices, quality), expected(chances))
    assert sorted(one.target for one in weighed.alternatives) == list(NAMES)
    assert weighed.alternatives[0].target == weighed.target
    top = weighed.alternatives[0].score
    for one in weighed.alternatives:
        assert -1.0e6 < one.score <= top + 1e-5
        assert one.probability == round(chances[NAMES.index(one.target)], 4)


@pytest.mark.parametrize(("quality", "target"), [(0.0, "a"), (1.0, "d")])
def test_the_ends_are_the_cheapest_and_the_best(quality: float, target: str) -> None:
    """At 0 price alone decides, at 1 probability alone."""
    weighed = Utility().weigh(asked([1, 2, 3, 4], quality), expected([0.1, 0.2, 0.3, 0.4]))
    assert weighed.target == target


def test_the_price_of_this_very_request_is_weighed() -> None:
    """Whoever knows better than the catalog's typical sizes is asked."""
    context, chances = asked([1, 1, 1, 1], 0.5), expected([0.8, 0.8, 0.8, 0.8])
    dear_first = Utility(lambda _: (5.0, 1.0, 1.0, 0.1)).weigh(context, chances)
    assert dear_first.target == "d"
    assert expected_usd(context) == pytest.approx((0.0002,) * 4)


def test_an_edited_price_counts_at_once() -> None:
    """The scale is the current catalog's."""
    utility, chances = Utility(), expected([0.8, 0.8, 0.8, 0.8])
    assert utility.weigh(asked([1, 2, 3, 4], 0.5), chances).target == "a"
    assert utility.weigh(asked([9, 2, 3, 4], 0.5), chances).target == "b"


def test_a_result_is_as_confident_as_its_target_is_likely_to_do() -> None:
    """Confidence is the chosen target's probability of answering well."""
    weighed = Utility().weigh(asked([1, 2, 3, 4], 1.0), expected([0.1, 0.2, 0.3, 0.4]))
    made: Any = result(weighed, Source.LLM, "judged", task="code", judge="chat/m")
    assert (made.target, made.confidence, made.task, made.judge) == ("d", 0.4, "code", "chat/m")
    assert replace(made, alternatives=()).alternatives == ()
