"""The choice is monotone in quality and refuses nonsense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.utility import at_price, choose, factor, penalty

UNIT = st.floats(0, 1)
CANDIDATES = st.lists(st.tuples(UNIT, st.floats(0, 10)), min_size=1, max_size=12)


@given(CANDIDATES, UNIT, UNIT)
def test_higher_quality_never_picks_a_worse_target(
    candidates: list[tuple[float, float]], one: float, other: float
) -> None:
    """Estimated quality of the choice does not fall as q rises; its burden does not either."""
    quality = np.array([c[0] for c in candidates])
    burdens = penalty(np.array([c[1] for c in candidates]))
    low = choose(quality, burdens, min(one, other)).index
    high = choose(quality, burdens, max(one, other)).index
    assert quality[low] <= quality[high]
    assert burdens[low] <= burdens[high]


@given(CANDIDATES, UNIT)
def test_every_target_is_in_the_order_once(candidates: list[tuple[float, float]], q: float) -> None:
    """The order is a permutation that starts with the choice, and the margin is not negative."""
    quality, costs = (np.array(values) for values in zip(*candidates, strict=True))
    choice = choose(quality, penalty(costs), q)
    assert sorted(choice.order) == list(range(len(candidates)))
    assert choice.order[0] == choice.index
    assert choice.margin >= 0


def test_the_ends_are_cheapest_and_best() -> None:
    """At 0 the cheapest is taken whatever its quality, at 1 the best whatever its price."""
    quality, burdens = np.array([0.2, 0.9, 0.5]), penalty(np.array([1.0, 9.0, 0.5]))
    assert choose(quality, burdens, 0.0).index == 2
    assert choose(quality, burdens, 1.0).index == 1


def test_a_price_between_moves_to_the_better_target_only_when_it_pays() -> None:
    """The dearer target is taken where its gain in quality exceeds its price."""
    quality, burdens = np.array([0.5, 0.6]), np.array([0.0, 1.0])
    assert at_price(quality, burdens, 0.2).index == 0
    assert at_price(quality, burdens, 0.05).index == 1


def test_the_factor_falls_from_infinity_to_zero() -> None:
    """Money is everything at 0 and nothing at 1."""
    values = [factor(q) for q in (0, 0.1, 0.5, 0.9, 1)]
    assert values[0] == float("inf")
    assert values[-1] == 0
    assert values == sorted(values, reverse=True)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        factor(1.5)


def test_latency_weighs_its_share() -> None:
    """Of two equal prices the slower target has the greater burden; unknown counts as the worst."""
    burdens = penalty(np.array([1.0, 1.0]), np.array([100.0, 900.0]))
    assert burdens[0] < burdens[1]
    assert penalty(np.array([float("nan"), 2.0, 1.0])).tolist() == [1, 1, 0.5]
    assert penalty(np.zeros(2)).tolist() == [0, 0]


def test_one_scale_makes_dear_requests_weigh_more() -> None:
    """On a common scale ten times the cost is ten times the burden; the order stays."""
    small = penalty(np.array([1.0, 4.0]), scale_usd=8.0)
    large = penalty(np.array([10.0, 40.0]), scale_usd=8.0)
    assert small.tolist() == pytest.approx([0.125, 0.5])
    assert (large / small).tolist() == pytest.approx([10, 10])


def test_nothing_to_choose_from_is_an_error() -> None:
    """An empty or unequal candidate list is the caller's mistake."""
    with pytest.raises(ValueError, match="a target at least"):
        choose(np.zeros(0), np.zeros(0), 0.5)
    with pytest.raises(ValueError, match="a target at least"):
        choose(np.zeros(2), np.zeros(1), 0.5)
