"""One key's rating of one decision counts once, whichever worker hears it; the last one stands.

Without this a key that rates one decision two hundred times would set the quality that is shown.
Ratings of one key and decision are numbered in the store, and each takes the place of the one
before it, so every rating is added once and taken back at most once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import blake2b
from typing import Final

import orjson

from llmrouter.domain.decision import Decision, Feedback
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed

log = logging.getLogger(__name__)

Write = Callable[[Decision, Feedback], Awaitable[None]]
TTL_S: Final = 86_400.0
"""As long as a decision can be rated."""
LOOKS, LOOK_S = 20, 0.02
"""How often, and after how many seconds again, the rating before is looked for: another worker may
be writing it."""


class Ratings:
    """What each key said last of each decision. `write` keeps feedback for good."""

    def __init__(self, store: Store, write: Write, look_s: float = LOOK_S) -> None:
        self._store = store
        self._write = write
        self._look_s = look_s

    async def keep(self, decision: Decision, feedback: Feedback) -> Feedback:
        """Keep feedback, and say which `earlier` one it replaces. Raises StoreFailed."""
        await self._write(decision, feedback)
        return replace(feedback, earlier=await self.earlier(feedback))

    async def earlier(self, feedback: Feedback) -> float | None:
        """The score (-1..1) that this rating takes the place of; None where it is the first.

        Where the one before cannot be found it is the score itself: then nothing changes.
        """
        name = blake2b(f"{feedback.decision_id}\x1f{feedback.caller}".encode(), digest_size=16)
        key = f"rating:{name.hexdigest()}"
        try:
            number = int(await self._store.increment(key, 1, TTL_S))
            before = None if number == 1 else await self._find(f"{key}:{number - 1}")
            known = number == 1 or before is not None
            stands = orjson.dumps(feedback.score if known else None)
            await self._store.put(f"{key}:{number}", stands, TTL_S)
        except StoreFailed as failure:
            log.warning("a rating is not counted: %s", failure)
            return feedback.score
        return before if known else feedback.score

    async def _find(self, key: str) -> float | None:
        for _ in range(LOOKS):
            found = await self._store.get(key)
            if found is not None:
                await self._store.delete(key)
                value: float | None = orjson.loads(found)
                return value
            await asyncio.sleep(self._look_s)
        return None
