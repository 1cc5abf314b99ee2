"""Every target once before any twice; repeats are bounded; the caller's mistakes end it."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Fallback
from llmrouter.domain.decision import Estimate
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.plan import Plan
from llmrouter.execution.retry_state import RetryState
from tests.fakes import a_target

ESTIMATE = Estimate(1, 1, 0.0, 0.0)
KINDS = (
    "connect", "interrupted", "timeout", "empty", "malformed", "error_body", "too_large",
    "misconfigured", "saturated", "circuit_open",
)  # fmt: skip
FAILURES = st.one_of(
    st.sampled_from(KINDS).map(lambda kind: UpstreamFailure(kind, "x")),
    st.sampled_from([401, 404, 408, 409, 425, 429, 500, 503]).map(
        lambda status: UpstreamFailure("status", "x", status=status, retry_after_s=None)
    ),
)


def course(*names: str, most: int = 10, **fallback: int) -> RetryState:
    """A course over targets with windows 1000, 2000, …"""
    targets = tuple(a_target(n, context_window=1000 * (i + 1)) for i, n in enumerate(names))
    plan = Plan(targets, False, most, ESTIMATE)
    policy = Fallback(max_attempts=most, **fallback)
    return RetryState(lambda: plan, policy, lambda: 0.5)


@given(st.lists(FAILURES, min_size=40, max_size=40), st.integers(1, 5), st.integers(0, 3))
def test_ends_and_tries_everyone_before_anyone_twice(
    failures: list[UpstreamFailure], most: int, retries: int
) -> None:
    """Whatever fails and how: bounded, in order, and never more repeats than allowed."""
    walk = course("a", "b", "c", most=most, retries=retries)
    tried: list[str] = []
    for failure in failures:
        step = walk.next(math.inf)
        if step is None:
            break
        tried.append(step.target.id)
        walk.failed(step.target, failure)
    else:
        raise AssertionError("the course did not end")
    firsts = list(dict.fromkeys(tried))
    assert firsts == ["a", "b", "c"][: len(firsts)]
    assert tried[: len(firsts)] == firsts
    assert all(count <= 1 + retries for count in Counter(tried).values())
    skipped = {"saturated", "circuit_open", "cooldown", "misconfigured"}
    sent = [f for f in failures[: len(tried)] if f.kind not in skipped]
    assert len(sent) <= most


def test_a_repeat_waits_and_honours_retry_after() -> None:
    """Back-off applies to repeats alone; what the target asked for is the least."""
    walk = course("a", retries=2)
    first = walk.next(math.inf)
    assert first is not None
    assert first.wait_s == 0
    walk.failed(first.target, UpstreamFailure("status", "x", status=429, retry_after_s=1.5))
    second = walk.next(math.inf)
    assert second is not None
    assert second.wait_s == 1.55


def test_a_repeat_that_the_deadline_does_not_leave_is_not_made() -> None:
    """Waiting past the deadline helps nobody."""
    walk = course("a", retries=2)
    first = walk.next(math.inf)
    assert first is not None
    walk.failed(first.target, UpstreamFailure("status", "x", status=503, retry_after_s=1.5))
    assert walk.next(1.0) is None


def test_a_long_context_looks_for_a_larger_window_alone() -> None:
    """Smaller and equal windows are dropped; without a larger one the failure is final."""
    walk = course("a", "b")
    step = walk.next(math.inf)
    assert step is not None
    body = b'{"error": {"code": "context_length_exceeded", "message": "long"}}'
    failure = UpstreamFailure("status", "x", status=400, body=body)
    walk.failed(step.target, failure)
    assert walk.final is None
    step = walk.next(math.inf)
    assert step is not None
    assert step.target.id == "b"
    walk.failed(step.target, failure)
    assert walk.final is failure
    assert walk.next(math.inf) is None


def test_a_hedge_is_an_attempt() -> None:
    """What is tried beside a step is not tried again, and counts."""
    walk = course("a", "b", "c", most=2)
    step = walk.next(math.inf)
    assert step is not None
    assert step.following is not None
    walk.take(step.following)
    assert walk.following is None
    assert walk.next(math.inf) is None


def test_the_first_attempt_needs_no_plan() -> None:
    """The plan is made at the first failure, and does not repeat what was begun."""
    a, b = a_target("a"), a_target("b")
    made: list[int] = []

    def plan() -> Plan:
        made.append(1)
        return Plan((a, b), False, 4, ESTIMATE)

    walk = RetryState(plan, Fallback(retries=0), lambda: 0.5, a)
    step = walk.next(math.inf)
    assert step is not None
    assert step.target is a
    assert made == []
    walk.failed(a, UpstreamFailure("connect", "x"))
    step = walk.next(math.inf)
    assert step is not None
    assert step.target is b
    assert walk.next(math.inf) is None
    assert made == [1]
