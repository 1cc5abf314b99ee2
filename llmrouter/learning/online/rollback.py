"""The way back to the model before the current one, where a fit or a training made things worse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmrouter.domain.interfaces import Store
from llmrouter.errors import NotFound
from llmrouter.learning.online.snapshot import Snapshot, current, previous, publish


async def roll_back(store: Store, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Make the model before the current one serve, in every worker, with the trust it had.

    It counts as having seen what the current one learned from: otherwise the next fit would follow
    at once, from the same examples. A second call undoes the first. Raises NotFound, StoreFailed,
    ModelUnreadable.
    """
    newer, older = await current(store), await previous(store)
    if newer is None or older is None:
        raise NotFound("there is no earlier model to go back to", code="no_earlier_model")
    now = await asyncio.to_thread(Snapshot.from_bytes, newer)
    then = await asyncio.to_thread(Snapshot.from_bytes, older)
    restored = replace(then, learned=now.learned, seen=now.seen, trained_at=clock())
    await publish(store, await asyncio.to_thread(restored.to_bytes))
    return {"learned": then.learned, "instead_of": now.learned}
