"""The most a request may come to."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.catalog import Acceptance, Cascade, Fallback, RouterLLM
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.target import Access
from llmrouter.ratelimit.worst_case import WorstCases, estimate_tokens, routing_usd
from tests.api.fakes import CATALOG
from tests.domain.test_parts import png

ALICE = Caller("alice")
LLM = RouterLLM("tiny", "http://r.example", price_input=1.0, price_output=2.0)


def a_request(**more: Any) -> ChatRequest:
    """A short request."""
    body = {"messages": [{"role": "user", "content": "hi"}], **more}
    return parse(orjson.dumps(body), Endpoint.COMPLETE)


def most(request: ChatRequest, catalog: Any = CATALOG, caller: Caller = ALICE) -> float:
    """USD at most."""
    return WorstCases().most_usd(caller, request, catalog, estimate_tokens(request))


def test_a_pinned_target_reserves_its_own_price() -> None:
    """Not the dearest one's, which its key may not even reach; n choices are paid n times."""
    pinned = a_request(model="small", max_tokens=1000)
    size = (len(pinned.body) // 4 + 1, 1000)
    small, large = (CATALOG.targets[name].price.cost(*size) for name in ("small", "large"))
    assert most(pinned) == small
    auto = replace(pinned, model="auto")
    assert most(auto) == large
    assert most(auto, caller=Caller("alice", allow=frozenset({"small"}))) == small
    cheaper = replace(CATALOG, targets={"small": CATALOG.targets["small"]})
    assert most(auto, cheaper) == small
    assert estimate_tokens(a_request(max_tokens=10, n=3))[1] == 30


@pytest.mark.parametrize("asked", [1e-9, 0.001, 1000.0])
def test_the_callers_own_limit_plays_no_part(asked: float) -> None:
    """Whatever it says, the worst case is the same."""
    said = a_request(max_tokens=100, router={"max_cost_usd": asked})
    unsaid = replace(said, options=replace(said.options, max_cost_usd=None))
    assert most(said) == most(unsaid) > 0


def test_no_target_writes_more_than_it_can() -> None:
    """Two billion tokens asked are not two billion reserved."""
    asked = a_request(model="small", max_tokens=2**31 - 1)
    target = CATALOG.targets["small"]
    least = target.max_output or target.context_window
    assert most(asked) == target.price.cost(estimate_tokens(asked)[0], least)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_limit_in_the_catalog_is_what_an_answer_without_one_may_have(name: str) -> None:
    """Whatever is assumed otherwise; what the caller says goes before it."""
    small = CATALOG.targets["small"]
    limited = replace(small, access=Access(params={name: 3000}))
    catalog = replace(CATALOG, targets={**CATALOG.targets, "small": limited})
    asked = a_request(model="small")
    read = estimate_tokens(asked)[0]
    assert most(asked, catalog) == small.price.cost(read, 3000)
    said = a_request(model="small", max_tokens=100)
    assert most(said, catalog) == small.price.cost(estimate_tokens(said)[0], 100)


@pytest.mark.parametrize(
    ("more", "written"),
    [
        ({"max_tokens": 4000, "max_completion_tokens": 1}, 4000),
        ({"n": 2, "best_of": 5, "max_tokens": 10}, 50),
        ({"n": 3}, 1536),
    ],
)
def test_limits_that_contradict_and_answers_that_are_thrown_away_count(
    more: dict[str, Any], written: int
) -> None:
    """The larger limit, and every answer that is written."""
    assert estimate_tokens(a_request(**more))[1] == written


def test_text_that_is_not_ascii_has_more_tokens_for_its_bytes() -> None:
    """A character of three bytes is often a token."""
    asked = a_request(messages=[{"role": "user", "content": "漢字" * 1000}])
    assert estimate_tokens(asked)[0] >= 3000


def test_answers_are_each_as_long_as_a_target_writes() -> None:
    """Its own limit holds for one of them, not for all together."""
    small = replace(CATALOG.targets["small"], max_output=100)
    catalog = replace(CATALOG, targets={**CATALOG.targets, "small": small})
    asked = a_request(model="small", max_tokens=1000, n=8)
    assert most(asked, catalog) == small.price.cost(estimate_tokens(asked)[0], 800)


def test_a_cascade_may_cost_all_its_steps_and_their_judges() -> None:
    """Rejected answers are paid as well, and so are samples."""
    accept = Acceptance(judge=True, samples=2)
    cascade = Cascade(order=("small", "large"), accept=accept, judge=LLM)
    climbing = replace(CATALOG, cascade=cascade)
    asked = a_request(max_tokens=100, router={"strategy": "cascade"})
    size = estimate_tokens(asked)
    steps = sum(CATALOG.targets[name].price.cost(*size) for name in ("small", "large"))
    assert most(asked, climbing) > 2 * steps
    assert most(asked, CATALOG) < 2 * steps


def test_a_hedge_may_be_billed_twice() -> None:
    """The slower of two attempts has been read by its provider too."""
    hedging = replace(CATALOG, fallback=Fallback(hedge=True))
    assert most(a_request(), hedging) == pytest.approx(2 * most(a_request()))


def test_the_router_llm_is_part_of_it_where_it_may_be_asked() -> None:
    """Not for a pinned target, a named decision, or a strategy without it."""
    catalog = replace(CATALOG, router=LLM)
    assert most(a_request(), catalog) > most(a_request())
    for told in ({"model": "small"}, {"router": {"strategy": "rules"}},
                 {"router": {"decision_id": "dec_1"}}):  # fmt: skip
        assert routing_usd(a_request(**told), catalog) == 0.0


def test_an_image_is_counted_by_its_size_in_pixels() -> None:
    """600 KB of it are no 100,000 tokens, and it does not hide the text beside it."""
    data = base64.b64encode(png(1024, 1024) + bytes(600_000)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    text = {"type": "text", "text": "word " * 4000}
    seen = a_request(messages=[{"role": "user", "content": [text, image]}], max_tokens=1)
    assert 5000 < estimate_tokens(seen)[0] < 5000 + 2000


@given(
    st.floats(0, 100), st.floats(0, 100), st.integers(1, 10**6), st.integers(1, 10**6),
    st.sampled_from([None, 64, 4096]),
)  # fmt: skip
def test_no_target_in_reach_costs_more_than_the_worst_case(
    given: float, written: float, tokens: int, output: int, limit: int | None
) -> None:
    """Whatever the prices, what one answer may cost is covered."""
    target = CATALOG.targets["large"]
    price = replace(target.price, input=given, output=written)
    targets = {**CATALOG.targets, "large": replace(target, price=price, max_output=limit)}
    catalog = replace(CATALOG, targets=targets)
    covered = WorstCases().most_usd(ALICE, a_request(), catalog, (tokens, output))
    for one in catalog.enabled:
        bound = min(output, one.max_output or one.context_window)
        assert one.price.cost(tokens, bound) <= covered + 1e-12
