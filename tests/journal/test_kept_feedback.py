"""Tests of feedback that is acknowledged: it is in the store first, and many share a write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from llmrouter.domain.decision import Feedback
from llmrouter.errors import StoreFailed
from llmrouter.journal.journal import Journal
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_decision


class Gated(MemoryStore):
    """A store whose writes wait, are counted, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.writes = 0
        self.fails = False

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append once the gate is open."""
        self.writes += 1
        await self.open.wait()
        if self.fails:
            raise StoreFailed("the disk is full")
        await super().append(log, entries, keep)


def rating(number: int) -> Feedback:
    """Feedback on the one decision there is."""
    return Feedback("dec_1", number / 100, None, None, "me", 0.0)


async def test_feedback_waits_for_the_store_and_many_share_a_write() -> None:
    """What comes while a write runs is in the next one, so a burst costs two writes."""
    store = Gated()
    journal = Journal(store)
    kept = [
        asyncio.ensure_future(journal.keep_feedback(a_decision(), rating(n))) for n in range(50)
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(one.done() for one in kept)
    store.open.set()
    await asyncio.gather(*kept)
    assert store.writes <= 2
    entries = await journal.tail(100)
    assert [entry["score"] for entry in entries] == [number / 100 for number in range(50)]


async def test_feedback_that_cannot_be_kept_is_told_to_each_who_waits() -> None:
    """Nothing is acknowledged that the store does not have, and the next one is tried anew."""
    store = Gated()
    store.open.set()
    store.fails = True
    journal = Journal(store)
    calls = (journal.keep_feedback(a_decision(), rating(n)) for n in range(3))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, StoreFailed) for result in results)
    store.fails = False
    await journal.keep_feedback(a_decision(), rating(1))
    assert len(await journal.tail(10)) == 1


async def test_a_caller_who_leaves_loses_nobody_elses_feedback() -> None:
    """A cancelled wait neither stops the write nor fails it for others."""
    store = Gated()
    journal = Journal(store)
    leaving = asyncio.ensure_future(journal.keep_feedback(a_decision(), rating(1)))
    staying = asyncio.ensure_future(journal.keep_feedback(a_decision(), rating(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    store.open.set()
    await staying
    assert len(await journal.tail(10)) == 2
