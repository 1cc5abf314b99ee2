"""Tests of the rule that one key's rating of one decision counts once, over all workers."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from llmrouter.domain.decision import Decision, Feedback
from llmrouter.errors import StoreFailed
from llmrouter.journal.ratings import Ratings
from llmrouter.store.memory import MemoryStore

SAID = Feedback("dec_1", 0.5, None, None, "me")


async def written(decision: Decision, feedback: Feedback) -> None:
    """A journal that has it."""


class Slow(MemoryStore):
    """A store whose answers come in any order."""

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter, then answer late."""
        value = await super().increment(key, by, ttl_s)
        await asyncio.sleep(random.random() / 1000)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value late."""
        await asyncio.sleep(random.random() / 1000)
        await super().put(key, value, ttl_s)


async def test_the_first_rating_is_new_and_each_other_takes_the_place_of_the_one_before() -> None:
    """Another key, and another decision, have ratings of their own."""
    ratings = Ratings(MemoryStore(), written)
    said = [replace(SAID, score=score) for score in (0.5, -1.0, 1.0)]
    assert [await ratings.earlier(one) for one in said] == [None, 0.5, -1.0]
    assert await ratings.earlier(replace(SAID, caller="you")) is None
    assert await ratings.earlier(replace(SAID, decision_id="dec_2")) is None


async def test_many_at_once_on_many_workers_add_up_to_one_rating() -> None:
    """The sum of all changes is the score of one of them, however they overlap."""
    store = Slow()
    workers = [Ratings(store, written, look_s=0.001) for _ in range(4)]
    said = [replace(SAID, score=(n % 21 - 10) / 10) for n in range(80)]
    earlier = await asyncio.gather(*(workers[n % 4].earlier(one) for n, one in enumerate(said)))
    assert earlier.count(None) == 1
    total = sum(one.score - (old or 0.0) for one, old in zip(said, earlier, strict=True))
    assert min(abs(total - one.score) for one in said) < 1e-9


async def test_where_the_rating_before_is_lost_nothing_changes() -> None:
    """A worker that died in the middle, and a store that fails: the sums stay what they were."""
    store = MemoryStore()
    ratings = Ratings(store, written, look_s=0.0)
    await ratings.earlier(SAID)
    (counter,) = store._counters
    await store.increment(counter, 1, 60.0)  # numbered, and never written
    for _ in range(2):
        assert await ratings.earlier(replace(SAID, score=-1.0)) == -1.0

    class Down(MemoryStore):
        async def increment(self, key: str, by: float, ttl_s: float) -> float:
            raise StoreFailed("no")

    assert await Ratings(Down(), written).earlier(SAID) == SAID.score
