"""A plan never repeats a target, names only eligible ones, and knows its bounds beforehand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Acceptance, Cascade, Fallback, RouterLLM
from llmrouter.domain.chat import RouterOptions
from llmrouter.domain.target import Latency, Price
from llmrouter.execution.cascade.judge import judge_bound_usd
from llmrouter.execution.plan import ExecutionRequest, attempt_timeout_s, plan
from tests.fakes import a_catalog, a_decision, a_request, a_target

NAMES = ["a", "b", "c", "d", "e"]


@given(
    st.lists(st.sampled_from([*NAMES, "gone"]), max_size=8),
    st.lists(st.sampled_from([*NAMES, "gone"]), max_size=8),
    st.booleans(),
    st.integers(0, 7),
    st.sampled_from([math.inf, 0.5, 0.001]),
    st.sampled_from([None, 0.0001, 1.0]),
)
def test_never_repeats_and_never_invents(
    fallbacks: list[str],
    order: list[str],
    cascade: bool,
    escalate: int,
    remaining_s: float,
    max_cost: float | None,
) -> None:
    """Whatever decision and cascade say, each target comes once and was eligible."""
    catalog = a_catalog(*(a_target(name) for name in NAMES), cascade=Cascade(order=tuple(order)))
    request = a_request(options=RouterOptions(max_cost_usd=max_cost))
    decision = a_decision("a", *fallbacks, cascade=cascade)
    made = plan(ExecutionRequest(request, decision, catalog, escalate=escalate), remaining_s)
    names = [target.id for target in (*made.targets, *made.spares)]
    assert len(names) == len(set(names))
    assert set(names) <= {"a", *fallbacks} - {"gone"}
    assert made.targets
    assert made.bounds.cost_usd >= 0


def test_the_chosen_target_comes_first_and_the_fallbacks_in_order() -> None:
    """The decision's order is the plan's order."""
    catalog = a_catalog(*(a_target(name) for name in NAMES))
    made = plan(ExecutionRequest(a_request(), a_decision("c", "e", "a"), catalog))
    assert [target.id for target in made.targets] == ["c", "e", "a"]


def test_a_cascade_climbs_its_order_from_the_decisions_target() -> None:
    """Only eligible steps, from the chosen one upwards; the others are spares."""
    settings = Cascade(order=("a", "b", "c", "d"))
    catalog = a_catalog(*(a_target(name) for name in NAMES), cascade=settings)
    decision = a_decision("b", "e", "d", "a", cascade=True)
    made = plan(ExecutionRequest(a_request(), decision, catalog))
    assert [target.id for target in made.targets] == ["b", "d"]
    assert [target.id for target in made.spares] == ["e", "a"]


def test_a_cascade_without_an_order_climbs_by_price() -> None:
    """The catalog's prices stand in where routing.yaml names no order."""
    targets = [a_target("a", price=Price(3, 3)), a_target("b", price=Price(1, 1)), a_target("c")]
    decision = a_decision("b", "a", "c", cascade=True)
    made = plan(ExecutionRequest(a_request(), decision, a_catalog(*targets)))
    assert [target.id for target in made.targets] == ["b", "c", "a"]


def test_escalate_skips_steps_but_never_the_last() -> None:
    """A retried question starts higher; there is always a step to start at."""
    settings = Cascade(order=("a", "b"))
    catalog = a_catalog(a_target("a"), a_target("b"), cascade=settings)
    decision = a_decision("a", "b", cascade=True)
    for escalate, first in ((0, "a"), (1, "b"), (9, "b")):
        made = plan(ExecutionRequest(a_request(), decision, catalog, escalate=escalate))
        assert made.targets[0].id == first


def test_worst_cost_and_latency_are_known_before_starting() -> None:
    """Each step's price for the requested output, times its samples; times add up."""
    settings = Cascade(order=("a", "b"), accept=Acceptance(samples=3))
    targets = (
        a_target("a", latency=Latency(100, 50)),
        a_target("b", price=Price(10, 20), latency=Latency(200, 50)),
    )
    decision = a_decision("a", "b", cascade=True)
    made = plan(ExecutionRequest(a_request(), decision, a_catalog(*targets, cascade=settings)))
    assert math.isclose(made.bounds.cost_usd, 3 * (120e-6 + 1200e-6))
    assert math.isclose(made.bounds.latency_ms, 2 * 1100 + 1200)
    judged = replace(settings, accept=Acceptance(judge=True))
    llm = RouterLLM("j", "http://127.0.0.1:9/v1", timeout_ms=400, price_input=1, price_output=1)
    catalog = a_catalog(*targets, cascade=judged, router=llm)
    made = plan(ExecutionRequest(a_request(), decision, catalog))
    judgement = judge_bound_usd(catalog, a_request(), 4 * 50)
    assert judgement > 256e-6
    assert math.isclose(made.bounds.cost_usd, 120e-6 + judgement + 1200e-6)
    assert math.isclose(made.bounds.latency_ms, 1100 + 400 + 1200)


def test_what_cannot_finish_or_costs_too_much_is_left_out_with_its_reason() -> None:
    """The chosen target stays; the others must fit."""
    targets = (
        a_target("a"),
        a_target("b", latency=Latency(60_000, 1)),
        a_target("c", price=Price(5000, 5000)),
    )
    request = a_request(options=RouterOptions(max_cost_usd=0.01))
    made = plan(ExecutionRequest(request, a_decision("a", "b", "c"), a_catalog(*targets)), 2.0)
    assert [target.id for target in made.targets] == ["a"]
    reasons = {e.target: e.reason for e in made.left_out}
    assert "ms" in reasons["b"]
    assert "max_cost_usd" in reasons["c"]


def test_attempts_are_bounded_by_the_catalog() -> None:
    """`max_attempts` is the plan's bound and its worst case's."""
    catalog = a_catalog(*(a_target(n) for n in NAMES), fallback=Fallback(max_attempts=2))
    made = plan(ExecutionRequest(a_request(), a_decision("a", "b", "c", "d"), catalog))
    assert made.max_attempts == 2
    assert math.isclose(made.bounds.cost_usd, 2 * 120e-6)


def test_patience_keeps_time_for_the_next_target() -> None:
    """With a deadline a fifth at least is kept; without one nothing is."""
    order = ExecutionRequest(
        a_request(), a_decision("a", "b"), a_catalog(a_target("a"), a_target("b"))
    )
    a, b = a_target("a"), a_target("b")
    assert attempt_timeout_s(order, a, b, 1.0) == 0.8
    assert attempt_timeout_s(order, a, None, 1.0) == 1.0
    assert attempt_timeout_s(order, a, b, math.inf) == a.timeout_s
    slow = a_target("a", latency=Latency(600, 1000))
    assert attempt_timeout_s(order, slow, b, 1.0) == 1.0


def test_a_cascade_keeps_the_time_reserved_for_one_escalation() -> None:
    """`reserve_ms` of a budget is left for the next step; the last step may take everything."""
    a, b = a_target("a"), a_target("b")
    catalog = a_catalog(a, b, cascade=Cascade(order=("a", "b"), reserve_ms=700.0))
    order = ExecutionRequest(a_request(), a_decision("a", "b", cascade=True), catalog)
    assert attempt_timeout_s(order, a, b, 1.0) == pytest.approx(0.3)
    assert attempt_timeout_s(order, b, None, 1.0) == 1.0
