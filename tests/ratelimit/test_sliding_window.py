"""A sliding window that is exact whoever shares it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.ratelimit.sliding_window import (
    SLICES,
    Quota,
    QuotaExceeded,
    Reservation,
    SlidingWindow,
)
from tests.api.fakes import Counters


class Clock:
    """Time that moves when told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time now."""
        return self.now


def a_window(
    limit: float, clock: Clock, store: Counters | None = None, window_s: float = 60.0
) -> SlidingWindow:
    """A window over counters in memory."""
    return SlidingWindow(store or Counters(), "w", Quota(limit, window_s), clock)  # type: ignore[arg-type]  # the part of a store it uses


async def test_exactly_the_limit_passes_when_all_come_at_once() -> None:
    """Two windows stand for two workers on one store."""
    clock, store = Clock(), Counters()
    windows = [a_window(10, clock, store), a_window(10, clock, store)]
    got = await asyncio.gather(*(windows[i % 2].take(1.0) for i in range(100)))
    assert sum(isinstance(one, Reservation) for one in got) == 10


async def test_capacity_returns_when_the_window_has_slid_past() -> None:
    """A refusal says when, and then it is so."""
    clock = Clock()
    window = a_window(2, clock)
    await window.take(1.0)
    clock.now += 30
    await window.take(1.0)
    refused = await window.take(1.0)
    assert isinstance(refused, QuotaExceeded)
    clock.now += refused.retry_after_s - 0.01
    assert isinstance(await window.take(1.0), QuotaExceeded)
    clock.now += 0.02
    assert isinstance(await window.take(1.0), Reservation)
    assert isinstance(await window.take(1.0), QuotaExceeded)


async def test_a_partial_take_gets_what_is_left_and_then_nothing() -> None:
    """The end of a budget is still usable."""
    window = a_window(10, Clock())
    assert isinstance(await window.take(7.0, partly=True), Reservation)
    rest = await window.take(7.0, partly=True)
    assert isinstance(rest, Reservation)
    assert rest.amount == pytest.approx(3.0)
    assert isinstance(await window.take(7.0, partly=True), QuotaExceeded)


async def test_settling_returns_what_was_not_used_and_counts_what_was_used_on_top() -> None:
    """The truth replaces the estimate, in both directions."""
    window = a_window(100, Clock())
    for reserved, actual in ((50.0, 10.0), (10.0, 30.0)):
        grant = await window.take(reserved)
        assert isinstance(grant, Reservation)
        await window.settle(grant, actual)
    assert await window.used() == pytest.approx(40.0)


async def test_what_is_returned_late_leaves_the_window_with_its_grant() -> None:
    """Otherwise a return would outlive what it returns, and the sum would fall below zero."""
    clock = Clock()
    window = a_window(100, clock)
    grant = await window.take(100.0)
    assert isinstance(grant, Reservation)
    clock.now += 40
    await window.settle(grant, 10.0)
    assert await window.used() == pytest.approx(10.0)
    clock.now += 40
    assert await window.used() == pytest.approx(0.0)
    assert isinstance(await window.take(101.0), QuotaExceeded)


async def test_a_take_in_an_open_slice_is_one_write() -> None:
    """Limits are paid for on every request."""
    clock, store = Clock(), Counters()
    window = a_window(1000, clock, store)
    await window.take(1.0)
    clock.now += 1.5  # closed slices have settled
    await window.take(1.0)
    before = store.writes
    for _ in range(10):
        await window.take(1.0)
    assert store.writes - before == 10


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 3)), max_size=40),
)
async def test_no_stretch_of_the_window_ever_holds_more_than_the_limit(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    """The definition of a sliding window, checked against a log of what passed."""
    clock = Clock()
    window = a_window(limit, clock)
    passed: list[float] = []
    for wait, takers in steps:
        clock.now += wait
        got = await asyncio.gather(*(window.take(1.0) for _ in range(takers)))
        passed.extend(clock.now for one in got if isinstance(one, Reservation))
        assert sum(at > clock.now - 60.0 for at in passed) <= limit


async def test_steady_traffic_under_the_limit_is_never_refused() -> None:
    """What the window rounds up is one slice, not more."""
    clock = Clock()
    window = a_window(60, clock)
    step = 60.0 / 60 * (SLICES + 1) / SLICES
    for _ in range(300):
        clock.now += step + 0.001
        assert isinstance(await window.take(1.0), Reservation)


async def test_a_burst_reads_the_past_once() -> None:
    """A hundred readers of twenty slices each would be a burst of its own on the store."""
    clock, store = Clock(), Counters()
    window = a_window(10, clock, store)
    for _ in range(2):
        before = store.writes
        got = await asyncio.gather(*(window.take(1.0) for _ in range(100)))
        assert store.writes - before <= 100 + 100 + 2 * SLICES + 2
        clock.now += 5.0
    assert not any(isinstance(one, Reservation) for one in got)
