"""What a worker takes ahead of a window: fewer writes, and never more than the limit."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.errors import StoreFailed
from llmrouter.ratelimit.quota_lease import SHARES, QuotaLease
from llmrouter.ratelimit.sliding_window import Quota, QuotaExceeded, Reservation, SlidingWindow
from tests.api.fakes import Counters
from tests.ratelimit.test_sliding_window import Clock


def an_allowance(limit: float, clock: Clock, store: Counters, window_s: float = 60.0) -> QuotaLease:
    """One worker's allowance of a window that others on the store share."""
    quota = Quota(limit, window_s)
    return QuotaLease(SlidingWindow(store, "w", quota, clock))  # type: ignore[arg-type]  # the part of a store it uses


async def granted(allowance: QuotaLease, takes: int) -> int:
    """How many of so many takes of one unit, all at once, are granted."""
    got = await asyncio.gather(*(allowance.take(1.0) for _ in range(takes)))
    return sum(isinstance(one, Reservation) for one in got)


async def test_far_from_the_limit_a_thousand_takes_are_a_few_writes() -> None:
    """Limits are paid for on every request; refunds cost nothing either."""
    clock, store = Clock(), Counters()
    allowance = an_allowance(100_000, clock, store)
    await allowance.take(1.0)
    clock.now += 1.5  # closed slices have settled
    await allowance.take(1.0)
    before = store.writes
    for _ in range(1000):
        grant = await allowance.take(3.0)
        assert isinstance(grant, Reservation)
        await allowance.settle(grant, 1.0)
    assert store.writes - before <= 3
    assert allowance.standing().remaining == pytest.approx(100_000 - 1002)


async def test_a_burst_shares_one_write() -> None:
    """Nobody takes ahead while somebody else does."""
    clock, store = Clock(), Counters()
    allowance = an_allowance(100_000, clock, store)
    assert await granted(allowance, 300) == 300
    ahead = sum(store.values.values()) - 300
    assert 0 <= ahead <= 100_000 / SHARES + 1


async def test_small_limits_are_exact_to_the_unit() -> None:
    """Of three workers' bursts exactly as many pass as the limit allows, none held ahead."""
    clock, store = Clock(), Counters()
    workers = [an_allowance(2 * SHARES - 1, clock, store) for _ in range(3)]
    passed = await asyncio.gather(*(granted(worker, 200) for worker in workers))
    assert sum(passed) == 2 * SHARES - 1


async def test_large_limits_hold_and_what_others_hold_comes_back() -> None:
    """At most a share a worker is missing for a moment; after it exactly the rest passes."""
    clock, store = Clock(), Counters()
    workers = [an_allowance(1000, clock, store) for _ in range(3)]
    for worker in workers:
        assert await granted(worker, 1) == 1
    passed = await granted(workers[0], 2000)
    assert 1000 - 3 - 3 * (1000 / SHARES + 1) <= passed <= 997
    for _ in range(2):
        for worker in workers:
            await worker.rest()
    assert passed + await granted(workers[1], 200) == 997
    assert isinstance(await workers[2].take(1.0), QuotaExceeded)


async def test_what_is_held_is_given_back_at_the_end() -> None:
    """A worker that leaves takes nothing with it."""
    clock, store = Clock(), Counters()
    allowance = an_allowance(1000, clock, store)
    assert await granted(allowance, 5) == 5
    assert sum(store.values.values()) > 5
    await allowance.rest(at_end=True)
    assert sum(store.values.values()) == pytest.approx(5)


async def test_a_store_that_fails_fails_the_whole_burst_at_once() -> None:
    """Those who waited for the one write do not queue up for writes of their own."""
    clock, store = Clock(), Counters()
    allowance = an_allowance(100_000, clock, store)
    store.broken = True
    got = await asyncio.gather(*(allowance.take(1.0) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(one, StoreFailed) for one in got)
    store.broken = False
    assert await granted(allowance, 20) == 20


async def test_who_leaves_in_the_middle_of_the_write_leaves_the_others_theirs() -> None:
    """Cancelling one take, the one that writes or one that waits, is not the others' business."""
    clock, store = Clock(), Counters()
    allowance = an_allowance(100_000, clock, store)
    takes = [asyncio.ensure_future(allowance.take(1.0)) for _ in range(10)]
    await asyncio.sleep(0)
    takes[0].cancel()
    takes[5].cancel()
    got = await asyncio.gather(*takes, return_exceptions=True)
    assert sum(isinstance(one, Reservation) for one in got) == 8


@given(
    st.integers(1, 3000),
    st.lists(
        st.tuples(
            st.floats(0.0, 20.0), st.integers(0, 1), st.integers(1, 400), st.floats(0.0, 1.0)
        ),
        max_size=25,
    ),
)
async def test_no_stretch_of_the_window_ever_holds_more_than_the_limit(
    limit: int, steps: list[tuple[float, int, int, float]]
) -> None:
    """Two workers, bursts, refunds and rests, checked against a log of what was used."""
    clock, store = Clock(), Counters()
    workers = [an_allowance(limit, clock, store) for _ in range(2)]
    used: list[tuple[float, float]] = []
    for wait, who, takes, share in steps:
        clock.now += wait
        await workers[1 - who].rest()
        for one in await asyncio.gather(*(workers[who].take(1.0) for _ in range(takes))):
            if isinstance(one, Reservation):
                await workers[who].settle(one, share)
                used.append((clock.now, share))
        assert sum(units for at, units in used if at > clock.now - 60.0) <= limit + 1e-6
