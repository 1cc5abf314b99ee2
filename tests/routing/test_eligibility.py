"""Who may serve at all: every reason, in words a caller can act on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.chat import Caller, RouterOptions
from llmrouter.domain.decision import Exclusion
from llmrouter.domain.target import Latency, Price
from llmrouter.routing.eligibility import (
    Eligibility,
    EligibilityResult,
    RequestConstraints,
    refusal,
)
from tests.fakes import a_catalog, a_target
from tests.routing.asking import some_features

WHOLE: Any = {
    "context_window": 1000,
    "max_output": 200,
    "latency": Latency(ttft_ms=300.0, tokens_per_s=100.0),
    "price": Price(10.0, 20.0),
    "capabilities": frozenset({"tools", "json_schema"}),
}


def demand(
    options: dict[str, Any] | None = None, caller: Caller | None = None, **features: Any
) -> RequestConstraints:
    """What a request of 100 tokens in and 50 out asks for."""
    return RequestConstraints(
        RouterOptions(**(options or {})), some_features(**features), caller or Caller()
    )


def screened(asked: RequestConstraints, unavailable: Any = None, **over: Any) -> EligibilityResult:
    """The screening of one target, `special`, beside one that can do everything."""
    everything = frozenset(
        {"tools", "json_schema", "vision", "reasoning", "audio", "files", "logprobs"}
    )
    plain = a_target("plain", context_window=10**9, capabilities=everything)
    catalog = a_catalog(plain, a_target("special", **{**WHOLE, **over}))
    health = {} if unavailable is None else {"unavailable": unavailable}
    return Eligibility().screen(catalog, asked, **health)


def reason(*args: Any, **over: Any) -> str | None:
    """Why `special` is out, or None."""
    screening = screened(*args, **over)
    found = {e.target: e.reason for e in screening.excluded}
    assert ("special" in found) is ("special" not in screening.eligible)
    return found.get("special")


def test_a_target_that_can_do_it_stays() -> None:
    """With room in every direction nothing is excluded."""
    screening = screened(demand())
    assert (screening.eligible, screening.excluded) == (("plain", "special"), ())


@pytest.mark.parametrize("need", ["vision", "audio", "reasoning", "files", "logprobs"])
def test_a_missing_capability(need: str) -> None:
    """It is named."""
    assert reason(demand(needs=frozenset({need}))) == f"lacks {need}"


def test_capabilities_it_has_do_not_count_against_it() -> None:
    """Only what is missing is listed, in a fixed order."""
    assert reason(demand(needs=frozenset({"tools", "json_schema"}))) is None
    several = frozenset({"vision", "tools", "audio"})
    assert reason(demand(needs=several)) == "lacks audio, vision"


def test_disabled() -> None:
    """Switched off in its file."""
    assert reason(demand(), enabled=False) == "disabled in the catalog"


@pytest.mark.parametrize(
    ("options", "caller", "expected"),
    [
        ({"tier": "pro"}, Caller(), None),
        ({"tier": "free"}, Caller(), "tier 'free' is not among its tiers (pro, team)"),
        ({}, Caller(), "no tier is not among its tiers (pro, team)"),
        ({}, Caller("k", tier="pro"), None),
        ({"tier": "pro"}, Caller("k", tier="free"),
         "tier 'free' is not among its tiers (pro, team)"),
    ],
)  # fmt: skip
def test_tiers(options: dict[str, Any], caller: Caller, expected: str | None) -> None:
    """The key's tier wins over what the request says; a target without tiers serves all."""
    tiers = frozenset({"pro", "team"})
    assert reason(demand(options, caller), tiers=tiers) == expected
    assert reason(demand(options, caller), tiers=None) is None


def test_a_key_s_allow_list() -> None:
    """What a key may not use is out, in the key's name and never its secret."""
    limited = Caller("app", allow=frozenset({"plain"}))
    assert reason(demand(caller=limited)) == "key 'app' may not use it"
    assert reason(demand(caller=Caller("app", allow=frozenset({"special"})))) is None


def test_the_request_s_allow_and_deny() -> None:
    """Both are the caller's own; deny wins where both name it."""
    assert reason(demand({"allow": ("plain",)})) == "not in router.allow"
    assert reason(demand({"deny": ("special",)})) == "in router.deny"
    assert reason(demand({"allow": ("special",), "deny": ("special",)})) == "in router.deny"
    assert reason(demand({"allow": ("special",)})) is None


@pytest.mark.parametrize(("tokens", "out"), [(950, False), (951, True)])
def test_the_context_window_holds_input_and_output(tokens: int, out: bool) -> None:
    """950 + 50 fit into 1000, one more does not."""
    said = reason(demand(input_tokens=tokens))
    expected = f"needs about {tokens + 50} tokens, its context window is 1000" if out else None
    assert said == expected


def test_max_output_counts_only_when_it_was_asked_for() -> None:
    """A default guess of ours excludes nobody."""
    asked = demand(output_tokens=201, asked_output=True)
    assert reason(asked) == "201 output tokens asked, its limit is 200"
    assert reason(demand(output_tokens=201)) is None
    assert reason(demand(output_tokens=200, asked_output=True)) is None
    assert reason(asked, max_output=None) is None


def test_the_latency_budget() -> None:
    """A first token that comes too late is no answer."""
    said = reason(demand({"latency_budget_ms": 299.0}))
    assert said == "first token after about 300 ms, the budget is 299 ms"
    assert reason(demand({"latency_budget_ms": 300.0})) is None


def test_max_cost() -> None:
    """100 tokens in at $10 and 50 out at $20 a million are $0.002."""
    said = reason(demand({"max_cost_usd": 0.0019}))
    assert said == "about $0.002000, max_cost_usd is $0.001900"
    assert reason(demand({"max_cost_usd": 0.002})) is None


def test_health() -> None:
    """What health says is the reason, and only for whom it says it."""
    ill = {"special": "circuit open: next try in 9 s"}
    assert reason(demand(), ill.get) == "circuit open: next try in 9 s"
    assert screened(demand(), ill.get).eligible == ("plain",)


def test_nobody_is_eligible_and_all_are_explained() -> None:
    """Every target of the catalog is in exactly one of the two lists, in catalog order."""
    asked = demand({"deny": ("plain",), "max_cost_usd": 0.0})
    screening = screened(asked)
    assert screening.eligible == ()
    assert screening.excluded == (
        Exclusion("plain", "in router.deny"),
        Exclusion("special", "about $0.002000, max_cost_usd is $0.000000"),
    )


def test_what_is_remembered_belongs_to_its_request() -> None:
    """One eligibility asked about different tiers, keys and lists never mixes them up."""
    kept = Eligibility(remembered=2)
    catalog = a_catalog(a_target("a", tiers=frozenset({"pro"})), a_target("b"))
    asks = {
        demand({"tier": "pro"}): ("a", "b"),
        demand(): ("b",),
        demand(caller=Caller("k", tier="pro", allow=frozenset({"a"}))): ("a",),
        demand({"tier": "pro", "deny": ("b",)}): ("a",),
        demand({"tier": "pro", "allow": ("b",)}): ("b",),
    }
    for _ in range(3):
        for asked, expected in asks.items():
            assert kept.screen(catalog, asked).eligible == expected


def test_another_catalog_is_screened_anew() -> None:
    """What was known about a version says nothing about the next."""
    kept = Eligibility()
    assert kept.screen(a_catalog(a_target("a"), a_target("b")), demand()).eligible == ("a", "b")
    edited = a_catalog(a_target("a", enabled=False), a_target("b"), version="v2")
    assert kept.screen(edited, demand()).eligible == ("b",)


def test_a_refusal_is_policy_alone() -> None:
    """Only what a key or tier forbids; a size is no matter of permission."""
    assert refusal(a_target(context_window=1), demand()) is None
    assert refusal(a_target(tiers=frozenset({"pro"})), demand()) is not None


@given(
    tokens=st.integers(0, 3000),
    output=st.integers(0, 3000),
    budget=st.none() | st.floats(1, 1000),
    cost=st.none() | st.floats(0, 0.1),
    deny=st.sets(st.sampled_from(["plain", "special"])),
    needs=st.sets(st.sampled_from(["tools", "vision", "audio"])),
)
def test_every_target_is_in_one_list_and_no_reason_is_empty(
    tokens: int, output: int, budget: float | None, cost: float | None, deny: set[str],
    needs: set[str],
) -> None:  # fmt: skip
    """Whatever is asked: a partition, in catalog order, explained."""
    options = {"latency_budget_ms": budget, "max_cost_usd": cost, "deny": tuple(sorted(deny))}
    size: dict[str, Any] = {"input_tokens": tokens, "output_tokens": output}
    screening = screened(demand(options, needs=frozenset(needs), **size))
    out = [e.target for e in screening.excluded]
    assert sorted([*screening.eligible, *out]) == ["plain", "special"]
    assert list(screening.eligible) == sorted(screening.eligible)
    assert out == sorted(out)
    assert all(e.reason for e in screening.excluded)
