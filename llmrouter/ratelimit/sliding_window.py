"""A sliding window over a shared counter: exact when many requests, workers or hosts share it.

The window is cut into `SLICES` slices, each one counter in the store. Taking adds to the current
slice first and looks after, so two takers can never both get the last unit; what did not fit is
given back. The sum covers the window plus the slice it starts in, so no stretch of `window_s`
seconds ever holds more than the limit, and capacity returns at most one slice late.

Closed slices hardly change, so their values are kept: a take costs one write. They are read
again while they may still settle, every `REREAD_S` seconds, and before anyone is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from llmrouter.domain.interfaces import Store
from llmrouter.domain.quick import quick
from llmrouter.errors import StoreFailed

SLICES = 20
SETTLE_S = 1.0
REREAD_S = 10.0
_TRIES = 3
_DUST = 1e-9  # sums of floats are not equal to their limit, only near


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` units in any `window_s` seconds."""

    limit: float
    window_s: float


@quick
@dataclass(frozen=True, slots=True)
class Reservation:
    """What a take got: `amount` units in slice `index`."""

    index: int
    amount: float


@dataclass(frozen=True, slots=True)
class QuotaExceeded:
    """A take that got nothing; capacity returns in `retry_after_s` seconds."""

    retry_after_s: float


@quick
@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """What of a quota is left, and in how many seconds all of it will be."""

    limit: float
    remaining: float
    reset_s: float


class SlidingWindow:
    """One quota of one key. `clock` gives wall time in seconds, since the store is shared."""

    def __init__(self, store: Store, name: str, quota: Quota, clock: Callable[[], float]) -> None:
        self._store = store
        self._name = name
        self.quota = quota
        self.clock = self._clock = clock
        self._width = quota.window_s / SLICES
        self._ttl_s = quota.window_s + 2 * self._width
        self._closed: dict[int, float] = {}
        self._earlier: float | None = None  # the sum of closed slices, once it is wanted
        self._current = 0.0
        self._index = -1
        self._read_at = -REREAD_S
        self._reading = asyncio.Lock()
        self._settled = False

    async def take(self, amount: float, *, partly: bool = False) -> Reservation | QuotaExceeded:
        """Take `amount` units, or as much as is left when `partly`. Raises StoreFailed.

        A take that is cancelled takes nothing, whatever the store has done by then.
        """
        taking = asyncio.ensure_future(self._take(amount, partly))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(StoreFailed):
                if isinstance(got := await taking, Reservation):
                    await self.settle(got, 0.0)
            raise

    async def _take(self, amount: float, partly: bool) -> Reservation | QuotaExceeded:
        index = await self._advance()
        current = await self._add(index, amount)
        for _ in range(_TRIES):
            if self.index == index:
                break
            # The slice closed while the store was writing, and others may have summed it up
            # already: what counts must be seen by everyone who comes later.
            await self._add(index, -amount)
            index = await self._advance()
            current = await self._add(index, amount)
        over = self._before(index) + current - self.quota.limit
        if over > _DUST and self._clock() - self._read_at > SETTLE_S:
            async with self._reading:
                if self._clock() - self._read_at > SETTLE_S:
                    await self._read_closed(index)
            over = self._before(index) + current - self.quota.limit
        if over <= _DUST:
            return Reservation(index, amount)
        if partly and over < amount - _DUST:
            await self._add(index, -over)
            return Reservation(index, amount - over)
        await self._add(index, -amount)
        wanted = over - amount if partly else min(over, self.quota.limit)
        return QuotaExceeded(self._returns_in(index, wanted, current - amount))

    async def settle(self, grant: Reservation, actual: float) -> None:
        """Replace what a grant reserved by what was used. Raises StoreFailed.

        What was not used goes back into the grant's own slice, so that it leaves the window
        together with it; what was used on top counts from now.
        """
        difference = actual - grant.amount
        if difference == 0.0:
            return
        index = await self._advance()
        if difference > 0.0:
            await self._add(index, difference)
        elif grant.index > index - SLICES - 1:
            left = await self._add(grant.index, difference)
            if grant.index in self._closed:
                self._closed[grant.index] = left
                self._earlier = None

    async def used(self) -> float:
        """Units in the window now. Raises StoreFailed."""
        index = await self._advance()
        await self._read_closed(index)
        return self._before(index) + await self._add(index, 0.0)

    @property
    def index(self) -> int:
        """The slice that time is in."""
        return int(self._clock() // self._width)

    def ends(self, index: int) -> float:
        """When a slice ends."""
        return (index + 1) * self._width

    def standing(self) -> QuotaStatus:
        """What is left as far as this worker has seen; nothing is read for it."""
        now = self._clock()
        index, newest = int(now // self._width), None
        if index == self._index and self._current > _DUST:
            if self._earlier is None:
                self._earlier = self._before(index)
            used, newest = self._earlier + self._current, index
        else:
            known = {**self._closed, self._index: self._current}
            slots = {
                n: units for n, units in known.items() if n >= index - SLICES and units > _DUST
            }
            used, newest = sum(slots.values()), max(slots, default=None)
        left = max(0.0, self.quota.limit - used)
        if newest is None:
            return QuotaStatus(self.quota.limit, left, 0.0)
        return QuotaStatus(self.quota.limit, left, self.ends(newest + SLICES) - now)

    def returns_in_s(self, amount: float) -> float:
        """Seconds until `amount` units have left the window, as far as this worker has seen."""
        return self._returns_in(self.index, amount, self._current)

    def _before(self, index: int) -> float:
        """Units in the closed slices of the window that ends in slice `index`."""
        closed = self._closed
        return sum([closed.get(slot, 0.0) for slot in range(index - SLICES, index)])

    async def _add(self, index: int, amount: float) -> float:
        units = await self._store.increment(f"{self._name}:{index}", amount, self._ttl_s)
        if index == self._index:
            self._current = units
        return units

    async def _advance(self) -> int:
        """The current slice; closed slices are read where what is kept may be out of date."""
        if self.index != self._index or self._clock() - self._read_at > REREAD_S:
            async with self._reading:  # a burst reads once
                now, index = self._clock(), self.index
                if now - self._read_at > REREAD_S or not 0 <= index - self._index <= SLICES:
                    await self._read_closed(index)
                elif index != self._index:
                    await self._read_some(range(self._index, index), index)
            return index
        index = self._index
        if not self._settled:
            await self._read_some((index - 1,), index)
        return index

    async def _read_closed(self, index: int) -> None:
        at = self._clock()
        await self._read_some(range(index - SLICES, index), index)
        self._read_at = at

    async def _read_some(self, wanted: range | tuple[int, ...], index: int) -> None:
        settled = self._clock() - index * self._width >= SETTLE_S
        values = {slot: await self._add(slot, 0.0) for slot in wanted}
        self._closed.update(values)
        for slot in [slot for slot in self._closed if slot < index - SLICES - 1]:
            del self._closed[slot]
        self._earlier = None
        if index > self._index:  # another take may have come further meanwhile
            self._index, self._current = index, 0.0
        self._settled = settled

    def _returns_in(self, index: int, wanted: float, current: float) -> float:
        """Seconds until `wanted` units have left the window."""
        freed = 0.0
        for slot in range(index - SLICES, index + 1):
            freed += current if slot == index else self._closed.get(slot, 0.0)
            if freed > _DUST and freed >= wanted - _DUST:
                return max(self.ends(slot + SLICES) - self._clock(), 0.001)
        return self.quota.window_s
