"""How many requests one target gets at once, and how many may wait for it.

A bounded queue, because an unbounded one only turns overload into timeouts. A request that finds
the queue full, or waits longer than it may, goes to the next target.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from llmrouter.errors import UpstreamFailure


class ConcurrencyLimiter:
    """Slots per target: `concurrent` at once (`per_target` overrides by id), `queue` waiting.

    0 `concurrent` means no limit. `max_wait_s` bounds the wait in the queue.
    """

    def __init__(
        self,
        concurrent: int = 0,
        queue: int = 64,
        max_wait_s: float = 5.0,
        per_target: Mapping[str, int] | None = None,
    ) -> None:
        self._concurrent = concurrent
        self._queue = queue
        self._max_wait_s = max_wait_s
        self._per_target = dict(per_target or {})
        self._running: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def running(self, target: str) -> int:
        """How many hold a slot of the target now."""
        return self._running.get(target, 0)

    def waiting(self, target: str) -> int:
        """How many wait for one."""
        return len(self._waiting.get(target, ()))

    def try_acquire(self, target: str) -> bool:
        """Take a slot if one is free and no request waits for it."""
        limit = self._per_target.get(target, self._concurrent)
        running = self._running.get(target, 0)
        if limit and (running >= limit or self._waiting.get(target)):
            return False
        self._running[target] = running + 1
        return True

    async def acquire(self, target: str, within_s: float) -> None:
        """Take a slot, waiting in turn. Raises UpstreamFailure `saturated`."""
        if self.try_acquire(target):
            return
        line = self._waiting.setdefault(target, deque())
        if len(line) >= self._queue:
            raise UpstreamFailure("saturated", f"{target} is at its limit and its queue is full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            async with asyncio.timeout(min(within_s, self._max_wait_s)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release(target)  # the slot was handed over while we were leaving
            elif turn in line:
                line.remove(turn)
            if isinstance(error, TimeoutError):
                detail = f"{target} is at its limit and no slot came free in time"
                raise UpstreamFailure("saturated", detail) from None
            raise

    def release(self, target: str) -> None:
        """Give a slot back: to the first waiter, or to the next request."""
        line = self._waiting.get(target)
        while line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        left = self._running.get(target, 0) - 1
        if left > 0:
            self._running[target] = left
        else:
            self._running.pop(target, None)
            self._waiting.pop(target, None)
