"""Slots per target: bounded, first come first served, never lost."""

from __future__ import annotations

import asyncio

import pytest

from llmrouter.errors import UpstreamFailure
from llmrouter.execution.concurrency import ConcurrencyLimiter
from tests.execution.conftest import until


async def test_no_limit_never_waits() -> None:
    """0 means no limit."""
    limits = ConcurrencyLimiter()
    assert all(limits.try_acquire("a") for _ in range(1000))
    assert limits.running("a") == 1000


async def test_waiters_are_served_in_turn_and_the_queue_is_bounded() -> None:
    """The third in line is sent away at once; the others get the slot in order."""
    limits = ConcurrencyLimiter(concurrent=1, queue=2)
    await limits.acquire("a", 1)
    served: list[int] = []

    async def wait(number: int) -> None:
        await limits.acquire("a", 5)
        served.append(number)

    tasks = [asyncio.ensure_future(wait(n)) for n in range(2)]
    await until(lambda: limits.waiting("a") == 2)
    with pytest.raises(UpstreamFailure, match="saturated"):
        await limits.acquire("a", 1)
    assert not limits.try_acquire("a")
    for expected in ([0], [0, 1]):
        limits.release("a")
        await until(lambda expected=expected: served == expected)
    await asyncio.gather(*tasks)
    limits.release("a")
    assert limits.running("a") == 0


async def test_a_wait_ends_in_time_and_a_cancelled_one_takes_no_slot() -> None:
    """Neither a timeout nor a caller who leaves may swallow the slot."""
    limits = ConcurrencyLimiter(concurrent=1, queue=5, max_wait_s=0.01)
    await limits.acquire("a", 1)
    with pytest.raises(UpstreamFailure, match="in time"):
        await limits.acquire("a", 1)
    leaving = asyncio.ensure_future(limits.acquire("a", 1))
    await asyncio.sleep(0)
    limits.release("a")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert limits.running("a") == 0
    assert limits.waiting("a") == 0


async def test_targets_do_not_share_slots_and_may_have_their_own() -> None:
    """One target's load is not another's."""
    limits = ConcurrencyLimiter(concurrent=1, per_target={"big": 2})
    assert limits.try_acquire("a")
    assert limits.try_acquire("b")
    assert not limits.try_acquire("a")
    assert limits.try_acquire("big")
    assert limits.try_acquire("big")
    assert not limits.try_acquire("big")
