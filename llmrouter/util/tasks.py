"""Tasks that outlive the request that started them, kept where their errors are seen.

A bare `asyncio.create_task` may be collected before it ends and hides its exception; this set
holds each task, logs what it raised, bounds how many run, and ends them all on close.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """A bounded set of running tasks; `close` cancels what is left after `grace_s` seconds."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> bool:
        """Run `work` behind the request. False when too many already run; it is then dropped."""
        if len(self._tasks) >= self._limit:
            work.close()
            log.warning("background task dropped, too many are running: %s", name)
            return False
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task failed: %s", task.get_name(), exc_info=error)

    async def close(self, grace_s: float = 2.0) -> None:
        """Wait for what runs, then cancel what is left."""
        if not self._tasks:
            return
        _, pending = await asyncio.wait(set(self._tasks), timeout=grace_s)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)


async def repeatedly(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Do `work` every `every_s` seconds until cancelled, then once more.

    A round that has begun is finished: what it took out of a buffer is not lost by a cancellation.
    One that fails is logged, and the next is done all the same.
    """
    try:
        while True:
            await asyncio.sleep(every_s)
            round_ = asyncio.ensure_future(work())
            try:
                await asyncio.shield(round_)
            except asyncio.CancelledError:
                await round_
                raise
            except Exception:
                log.exception("a round of background work failed")
    finally:
        await work()
