"""Costs follow the upstream's own counts; estimates are marked."""

from __future__ import annotations

import pytest

from llmrouter.domain.completion import Usage
from llmrouter.domain.target import Price
from llmrouter.execution.pricing import bound_usd, cost_usd, estimated_usage
from tests.fakes import a_target


def test_cached_input_is_cheaper_and_reasoning_is_output() -> None:
    """100 in of which 80 cached at $0.1, 50 out of which 30 reasoned, at $1 and $2 a million."""
    target = a_target(price=Price(1.0, 2.0, 0.1))
    usage = Usage(100, 50, cached_tokens=80, reasoning_tokens=30)
    assert cost_usd(target, usage) == pytest.approx((20 * 1 + 80 * 0.1 + 50 * 2) / 1e6)


def test_an_estimate_says_that_it_is_one() -> None:
    """Four characters a token, rounded up."""
    usage = estimated_usage(10, 9)
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 3, True)


def test_the_bound_knows_the_targets_own_limit() -> None:
    """A target cannot write more than it can."""
    target = a_target(max_output=100)
    assert bound_usd(target, 0, 1000) == pytest.approx(200e-6)
