"""A sliding-window limit that takes some of a large remainder ahead, to save store writes.

A shared count costs a store write, ten times as much as the other guards together. While a limit is
far away, one take reserves `1 / SHARES` of it for this worker, and the following ones use that up.
Reserved units count as used, so the limit holds across workers. They are given back when they are
idle for a moment (`rest`, called every `REST_S` seconds), when their slice closes, and at the end.
Near the limit nothing is reserved, and a limit that is reached unit by unit (under `2 * SHARES` of
them) is exact at all times.
"""

from __future__ import annotations

import asyncio

from llmrouter.ratelimit.sliding_window import (
    QuotaExceeded,
    QuotaStatus,
    Reservation,
    SlidingWindow,
)

SHARES = 128
REST_S = 0.25
_FAR = 1 / 8  # of the limit must be left before anything is taken ahead


class QuotaLease:
    """One worker's way to one window."""

    def __init__(self, window: SlidingWindow) -> None:
        self.quota = window.quota
        self._window = window
        self._share = window.quota.limit / SHARES
        self._clock = window.clock
        self._held = 0.0
        self._index = -1
        self._until = 0.0  # when the slice of what is held ends
        self._uses = self._uses_at_rest = 0
        self._filling: asyncio.Future[bool] | None = None

    def at_once(self, amount: float) -> Reservation | None:
        """Take from what is held; None when that is not enough."""
        if amount > self._held or self._clock() >= self._until:
            return None
        self._held -= amount
        self._uses += 1
        return Reservation(self._index, amount)

    async def take(self, amount: float, *, partly: bool = False) -> Reservation | QuotaExceeded:
        """Take `amount` units, or as much as is left when `partly`. Raises StoreFailed."""
        while (held := self.at_once(amount)) is None:
            near = self._window.standing().remaining <= self.quota.limit * _FAR
            if near or 2 * amount > self._share:
                return await self._window.take(amount, partly=partly)
            if self._filling is None:
                filled = await self._fill(amount)
            else:  # a burst shares one write
                filled = await asyncio.shield(self._filling)
            if not filled:
                return await self._window.take(amount, partly=partly)
        return held

    async def settle(self, grant: Reservation, actual: float) -> None:
        """Replace what a grant reserved by what was used. Raises StoreFailed."""
        unused = grant.amount - actual
        if unused < 0.0 and self.at_once(-unused) is not None:
            return
        fits = unused >= 0.0 and self._held + unused <= 2 * self._share
        if fits and grant.index == self._index and self._clock() < self._until:
            self._held += unused
            return
        await self._window.settle(grant, actual)

    async def rest(self, *, at_end: bool = False) -> None:
        """Give back what is held if nothing of it was needed since the last call.

        Raises StoreFailed; what is held is then lost until it leaves the window.
        """
        idle = self._uses == self._uses_at_rest or self._clock() >= self._until
        self._uses_at_rest = self._uses
        if self._held > 0.0 and (idle or at_end):
            await self._give_back()

    def standing(self) -> QuotaStatus:
        """What is left as far as this worker has seen; nothing is read for it."""
        shared = self._window.standing()
        if self._held == 0.0:
            return shared
        return QuotaStatus(shared.limit, shared.remaining + self._held, shared.reset_s)

    def returns_in_s(self, amount: float) -> float:
        """Seconds until `amount` units are free again, as far as this worker has seen."""
        return self._window.returns_in_s(amount)

    async def _fill(self, amount: float) -> bool:
        """Take a share ahead, and `amount` with it. False where the window has not so much."""
        filling = self._filling = asyncio.get_running_loop().create_future()
        filled = False
        try:
            got = await self._window.take(amount + self._share)
            if isinstance(got, Reservation):
                if got.index != self._index and self._held > 0.0:
                    await self._give_back()
                self._held += got.amount
                self._index, self._until = got.index, self._window.ends(got.index)
                filled = True
            return filled
        finally:
            self._filling = None
            filling.set_result(filled)

    async def _give_back(self) -> None:
        held, self._held = Reservation(self._index, self._held), 0.0
        await self._window.settle(held, 0.0)
