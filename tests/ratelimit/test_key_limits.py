"""What a key may use, and what it is told when it has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.errors import RateLimited
from llmrouter.ratelimit.key_limits import QUIET_S, RateLimiter, duration
from llmrouter.ratelimit.policies import KeyPolicy
from llmrouter.ratelimit.sliding_window import Quota
from tests.api.fakes import CATALOG, Counters, FakeTelemetry

ALICE, BOB = Caller("alice"), Caller("bob")


def a_request(**more: Any) -> ChatRequest:
    """A short request."""
    body = {"messages": [{"role": "user", "content": "hi"}], **more}
    return parse(orjson.dumps(body), Endpoint.COMPLETE)


def limits(policies: dict[str, KeyPolicy], store: Counters | None = None) -> RateLimiter:
    """Limits over counters in memory, at a standing time."""
    return RateLimiter(policies, store or Counters(), None, lambda: 1e6)  # type: ignore[arg-type]  # the part of a store it uses


def a_completion(tokens: int, cost_usd: float) -> Completion:
    """What an execution came to."""
    attempt = Attempt("small", "ok", "", 1.0, cost_usd, Usage(tokens, 0))
    return Completion("small", (attempt,), cost_usd, 1.0)


async def test_each_key_has_its_own_quota_and_star_serves_the_rest() -> None:
    """One key's burst does not cost another's."""
    held = limits({"alice": KeyPolicy(requests=Quota(1, 60)), "*": KeyPolicy(Quota(2, 60))})
    await held.admit(ALICE)
    with pytest.raises(RateLimited) as caught:
        await held.admit(ALICE)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 63
    await held.admit(BOB)
    await held.admit(BOB)
    with pytest.raises(RateLimited):
        await held.admit(BOB)


async def test_a_budget_holds_when_all_come_at_once() -> None:
    """Reservations stop a burst before anything is spent."""
    held = limits({"*": KeyPolicy(spend_usd=Quota(0.05, 60))})
    reserved: list[float] = []

    async def one() -> None:
        got, _ = await held.reserve(ALICE, a_request(max_tokens=1000), CATALOG)
        assert got is not None
        assert got.spend is not None
        reserved.append(got.spend.amount)

    results = await asyncio.gather(*(one() for _ in range(30)), return_exceptions=True)
    assert sum(reserved) == pytest.approx(0.05)
    assert any(isinstance(result, RateLimited) for result in results)


async def test_the_end_of_a_budget_still_buys_from_cheap_targets() -> None:
    """What is left becomes the request's budget, never a limit that the caller did not set."""
    held = limits({"*": KeyPolicy(spend_usd=Quota(0.001, 60))})
    got, request = await held.reserve(ALICE, a_request(max_tokens=1000), CATALOG)
    assert got is not None
    assert request.options.max_cost_usd is None
    assert request.budget is not None
    assert request.budget.left_usd == request.limit_usd == pytest.approx(0.001)
    assert 0 < request.budget.returns_in_s <= 63
    with pytest.raises(RateLimited) as caught:
        await held.reserve(ALICE, a_request(), CATALOG)
    assert caught.value.code == "insufficient_quota"


async def test_what_a_caller_says_lowers_nothing_that_is_reserved() -> None:
    """`max_cost_usd` bounds what may be spent for it, and is no way past a quota."""
    held = limits({"*": KeyPolicy(spend_usd=Quota(0.02, 60))})
    asked = {"max_tokens": 1000, "router": {"max_cost_usd": 1e-9, "decision_id": "dec_1"}}
    for _ in range(2):
        got, _ = await held.reserve(ALICE, a_request(**asked), CATALOG)
        assert got is not None
        assert got.spend is not None
        assert got.spend.amount > 0.008
    left, request = await held.reserve(ALICE, a_request(**asked), CATALOG)
    assert left is not None
    assert request.budget is not None
    with pytest.raises(RateLimited) as caught:
        await held.reserve(ALICE, a_request(**asked), CATALOG)
    assert caught.value.code == "insufficient_quota"


async def test_a_pinned_target_that_costs_more_than_is_left_is_refused_with_a_time() -> None:
    """No other target may answer in its place."""
    held = limits({"*": KeyPolicy(spend_usd=Quota(0.01, 60))})
    pinned = a_request(model="large", max_tokens=1000)
    first, _ = await held.reserve(ALICE, pinned, CATALOG)
    assert first is not None
    with pytest.raises(RateLimited) as caught:
        await held.reserve(ALICE, pinned, CATALOG)
    assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
    assert caught.value.retry_after_s is not None
    await held.settle(ALICE, first, None)
    again, _ = await held.reserve(ALICE, pinned, CATALOG)
    assert again is not None


async def test_deciding_alone_is_held_and_settled() -> None:
    """A router call is money; where none can be made nothing is held."""
    llm = RouterLLM("tiny", "http://r.example", price_input=1000.0, price_output=1000.0)
    paid = replace(CATALOG, router=llm)
    held = limits({"*": KeyPolicy(spend_usd=Quota(6.0, 60))})
    assert await held.reserve_routing(ALICE, a_request(), CATALOG) is None
    assert await held.reserve_routing(ALICE, a_request(model="small"), paid) is None
    got = await held.reserve_routing(ALICE, a_request(), paid)
    assert got is not None
    await held.settle(ALICE, got, None, 3.0)
    with pytest.raises(RateLimited) as caught:
        await held.reserve_routing(ALICE, a_request(), paid)
    assert caught.value.code == "insufficient_quota"


async def test_the_truth_replaces_the_reservation() -> None:
    """A cheap answer gives back what it did not need."""
    held = limits({"*": KeyPolicy(tokens=Quota(1000, 60), spend_usd=Quota(0.009, 60))})
    for _ in range(20):
        got, request = await held.reserve(ALICE, a_request(max_tokens=900), CATALOG)
        assert got is not None
        assert request.budget is None
        await held.settle(ALICE, got, a_completion(4, 0.00001))


async def test_nothing_executed_costs_nothing() -> None:
    """A failed request gives its reservation back whole."""
    held = limits({"*": KeyPolicy(tokens=Quota(1000, 60))})
    for _ in range(5):
        got, _ = await held.reserve(ALICE, a_request(max_tokens=900), CATALOG)
        assert got is not None
        await held.settle(ALICE, got, None)


async def test_used_tokens_are_refused_when_they_are_gone() -> None:
    """What answers really took is what counts."""
    held = limits({"*": KeyPolicy(tokens=Quota(100, 60))})
    got, _ = await held.reserve(ALICE, a_request(max_tokens=10), CATALOG)
    assert got is not None
    await held.settle(ALICE, got, a_completion(500, 0.0))
    with pytest.raises(RateLimited):
        await held.reserve(ALICE, a_request(max_tokens=10), CATALOG)


async def test_without_a_policy_nothing_is_counted() -> None:
    """Off means off: not one write."""
    store = Counters()
    held = limits({"bob": KeyPolicy(requests=Quota(1, 60))}, store)
    await held.admit(ALICE)
    request = a_request()
    assert await held.reserve(ALICE, request, CATALOG) == (None, request)
    assert store.writes == 0


async def test_a_store_that_fails_lets_requests_pass_and_is_counted() -> None:
    """Limits must not become the outage."""
    store, telemetry = Counters(), FakeTelemetry()
    store.broken = True
    policy = KeyPolicy(Quota(1, 60), Quota(1, 60), Quota(1, 60))
    held = RateLimiter({"*": policy}, store, telemetry.count)  # type: ignore[arg-type]  # the part of a store it uses
    for _ in range(3):
        await held.admit(ALICE)
        got, _ = await held.reserve(ALICE, a_request(), CATALOG)
        assert got is not None
        await held.settle(ALICE, got, a_completion(1, 1.0))
    assert telemetry.counts["llmrouter.limits.store_errors"] >= 9


async def test_money_spent_without_a_reservation_counts() -> None:
    """The router LLM's own calls are on the same bill."""
    held = limits({"*": KeyPolicy(spend_usd=Quota(1.0, 60))})
    await held.charge(ALICE, 1.5)
    with pytest.raises(RateLimited):
        await held.reserve(ALICE, a_request(), CATALOG)


async def test_a_store_that_failed_is_left_alone_for_a_moment() -> None:
    """One that times out would otherwise cost every request its time-out, three times over."""
    store = Counters()
    now = [1e6]
    held = RateLimiter({"*": KeyPolicy(Quota(5, 60))}, store, None, lambda: now[0])  # type: ignore[arg-type]  # the part of a store it uses
    store.broken = True
    await held.admit(ALICE)
    store.broken = False
    await held.admit(ALICE)
    assert store.writes == 0
    now[0] += QUIET_S
    for _ in range(5):
        await held.admit(ALICE)
    with pytest.raises(RateLimited):
        await held.admit(ALICE)


async def test_a_caller_who_leaves_while_it_is_counted_holds_nothing() -> None:
    """A cancelled reservation goes back whole, wherever it was at that moment."""
    request = a_request(max_tokens=100)
    for steps in range(0, 400, 5):
        store = Counters()
        policy = KeyPolicy(tokens=Quota(1000, 60), spend_usd=Quota(1.0, 60))
        held = limits({"*": policy}, store)
        taking = asyncio.ensure_future(held.reserve(ALICE, request, CATALOG))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not taking.cancel():
            break
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert {round(units, 9) for units in store.values.values()} <= {0.0}
    else:
        pytest.fail("it never ended")


async def test_headers_say_how_quotas_stand() -> None:
    """Under OpenAI's names; what a request has reserved is not there any more."""
    policy = KeyPolicy(Quota(10, 60), Quota(1000, 3600), Quota(0.5, 86400))
    held = limits({"alice": policy})
    await held.admit(ALICE)
    got, _ = await held.reserve(ALICE, a_request(max_tokens=100, model="small"), CATALOG)
    assert got is not None
    shown = held.headers(ALICE)
    assert shown["x-ratelimit-limit-requests"] == "10"
    assert shown["x-ratelimit-remaining-requests"] == "9"
    assert shown["x-ratelimit-limit-tokens"] == "1000"
    assert 860 < int(shown["x-ratelimit-remaining-tokens"]) < 890
    assert shown["x-ratelimit-limit-spend-usd"] == "0.5"
    assert 0.49 < float(shown["x-ratelimit-remaining-spend-usd"]) < 0.5
    assert shown["x-ratelimit-reset-requests"].startswith("1m")
    await held.settle(ALICE, got, None)
    assert held.headers(ALICE)["x-ratelimit-remaining-tokens"] == "1000"
    assert held.headers(ALICE)["x-ratelimit-reset-tokens"] == "0ms"
    assert held.headers(BOB) == {}


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0ms"),
        (0.0171, "18ms"),
        (1.0, "1s"),
        (61.5, "1m1.5s"),
        (360.0, "6m0s"),
        (7384.25, "2h3m4.25s"),
        (0.9996, "1s"),
        (59.9999, "1m0s"),
    ],
)
def test_spans_are_written_as_openai_writes_them(seconds: float, written: str) -> None:
    """Clients parse them."""
    assert duration(seconds) == written


async def test_what_is_held_ahead_goes_back_when_the_service_ends() -> None:
    """A worker that is replaced takes no quota with it; one that rests keeps none for long."""
    store = Counters()
    held = limits({"*": KeyPolicy(requests=Quota(10_000, 60))}, store)
    running = asyncio.ensure_future(held.run())
    await asyncio.sleep(0)
    for _ in range(5):
        await held.admit(ALICE)
    assert sum(store.values.values()) > 5
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sum(store.values.values()) == pytest.approx(5)


async def test_limits_that_an_admin_sets_win_and_end_without_a_restart() -> None:
    """What was used counts on under a changed number; without limits nothing is counted."""
    store = Counters()
    held = limits({}, store)
    assert not held.active
    await held.manage({"alice": KeyPolicy(requests=Quota(2, 60))})
    assert held.active
    await held.admit(ALICE)
    await held.admit(ALICE)
    with pytest.raises(RateLimited):
        await held.admit(ALICE)
    await held.admit(BOB)
    await held.manage({"alice": KeyPolicy(requests=Quota(3, 60))})
    await held.admit(ALICE)
    with pytest.raises(RateLimited):
        await held.admit(ALICE)
    assert await held.usage("alice") == [
        {"unit": "requests", "limit": 3, "used": 3.0, "window_s": 60},
    ]  # fmt: skip
    await held.manage({})
    assert (held.active, await held.usage("alice")) == (False, [])
    await held.admit(ALICE)


async def test_what_was_held_under_old_limits_is_settled_there() -> None:
    """A request that was under way when its limits changed is charged once."""
    held = limits({"alice": KeyPolicy(spend_usd=Quota(1.0, 86400))})
    reservation, _ = await held.reserve(ALICE, a_request(), CATALOG)
    assert reservation is not None
    await held.manage({"alice": KeyPolicy(spend_usd=Quota(1.0, 3600))})
    attempt = Attempt("small", "ok", "", 1.0, 0.25, Usage(3, 1))
    await held.settle(ALICE, reservation, Completion("small", (attempt,), 0.25, 1.0))
    assert (await held.usage("alice"))[0]["used"] == 0.0
    await held.manage({})
    await held.manage({"alice": KeyPolicy(spend_usd=Quota(1.0, 86400))})
    assert (await held.usage("alice"))[0]["used"] == pytest.approx(0.25)
