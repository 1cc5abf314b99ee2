"""When the router LLM is asked at all: gain against price, and the share of spend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import CallPrice, TargetEstimate
from llmrouter.domain.target import Price
from llmrouter.routing.utility import Utility
from llmrouter.routing.worth import GRACE_CALLS, HALF_LIFE_S, Skip, Worth, call_cost, expected_gain
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question

FREE = CallPrice(0.0, 0.0, 0.0)


def asked(quality: float = 0.5, share: float = 0.1, free: bool = False) -> RoutingContext:
    """A request to a cheap and a dear target."""
    prices = (Price(0, 0), Price(0, 0)) if free else (Price(1, 2), Price(10, 20))
    small, large = (
        a_target(name, price=p) for name, p in zip(("small", "large"), prices, strict=True)
    )
    llm = RouterLLM("j", "http://j/v1", max_spend_share=share)
    return a_question(catalog=a_catalog(small, large, router=llm), quality=quality)


def known(*chances: float, uncertainty: float = 0.2) -> list[TargetEstimate]:
    """Estimates of small and large."""
    return [
        TargetEstimate(n, p, uncertainty) for n, p in zip(("small", "large"), chances, strict=True)
    ]


def skipped(
    worth: Worth, context: RoutingContext, estimates: Sequence[TargetEstimate], price: Any
) -> Skip | None:
    """Why it is not asked."""
    return worth.skip(context, Utility().weigh(context, estimates), estimates, price)


def gain(context: RoutingContext, estimates: Sequence[TargetEstimate]) -> float:
    """The expected gain."""
    return expected_gain(context, Utility().weigh(context, estimates), estimates)


def test_doubt_between_targets_makes_asking_worth_more() -> None:
    """A close race gains, a clear lead does not, and certainty gains nothing."""
    context = asked()
    close, clear = known(0.7, 0.75), known(0.95, 0.2)
    assert gain(context, close) > 10 * gain(context, clear)
    assert gain(context, known(0.7, 0.75, uncertainty=0.0)) == 0.0


def test_where_the_cheapest_is_wanted_nothing_can_be_gained() -> None:
    """At quality 0 no judgement changes the choice."""
    assert gain(asked(0.0), known(0.5, 0.9)) == 0.0
    assert skipped(Worth(), asked(0.0), known(0.5, 0.9), FREE) is not None


def test_a_call_costs_its_money_and_its_time_at_the_wanted_trade_off() -> None:
    """Dear or slow calls cost more; where quality is all, they cost nothing."""
    context = asked()
    cheap = call_cost(context, CallPrice(1e-6, 0.001, 0.0))
    assert call_cost(context, CallPrice(1e-3, 0.001, 0.0)) > cheap
    assert call_cost(context, CallPrice(1e-6, 1.0, 0.0)) > cheap
    assert call_cost(asked(1.0), CallPrice(1.0, 1.0, 0.0)) == 0.0


def test_the_first_call_is_always_made() -> None:
    """Without it nothing would be known of its price."""
    assert skipped(Worth(), asked(), known(0.9, 0.1), None) is None


def test_a_free_judge_of_free_targets_is_asked() -> None:
    """Prices of zero are no reason to skip for ever."""
    worth = Worth()
    free = CallPrice(0.0, 1e-6, 0.0)
    assert all(skipped(worth, asked(free=True), known(0.7, 0.7), free) is None for _ in range(200))


def test_all_calls_together_stay_within_their_share() -> None:
    """After some that are needed to learn anything at all."""
    worth, usd, calls = Worth(), 1e-5, 0
    for _ in range(2000):
        worth.decided(1e-5)
        price = CallPrice(usd, 0.0, calls * usd)
        if skipped(worth, asked(), known(0.7, 0.75), price) is None:
            calls += 1
    assert calls * usd <= 0.1 * 2000 * 1e-5 + GRACE_CALLS * usd
    assert worth.skips["budget"] == 2000 - calls
    assert worth.public()["asked"] == calls


def test_a_share_of_zero_asks_only_what_is_free() -> None:
    """An operator may want no spend at all."""
    worth = Worth()
    found = skipped(worth, asked(share=0.0), known(0.7, 0.75), CallPrice(1e-9, 0.0, 0.0))
    assert found is not None
    assert found.kind == "budget"


def test_the_share_is_one_of_recent_traffic() -> None:
    """What was spent long ago is forgotten by halves."""
    now = 0.0
    worth = Worth(lambda: now)
    spent = CallPrice(1e-5, 0.0, 0.01)
    assert skipped(worth, asked(), known(0.7, 0.75), spent) is not None
    now = 20 * HALF_LIFE_S
    assert skipped(worth, asked(), known(0.7, 0.75), spent) is None


def test_regret_of_skips_is_averaged_over_those_that_were_audited() -> None:
    """None while none was."""
    worth = Worth()
    assert worth.public()["mean_regret"] is None
    worth.audited(0.1)
    worth.audited(0.0)
    assert worth.public()["mean_regret"] == pytest.approx(0.05)
