"""How outcomes reach a target's record, and how the record is kept and shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from llmrouter.errors import StoreFailed
from llmrouter.execution.cascade.confidence_store import PENDING, RECORD, StoredRecord
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_target

TARGET = a_target("t")
SURE = {"confidence": 0.9}


class Flaky(MemoryStore):
    """A store that can be made to fail."""

    failing = False

    async def get(self, key: str) -> bytes | None:
        """Fails when told to."""
        if self.failing:
            raise StoreFailed("down")
        return await super().get(key)

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Fails when told to."""
        if self.failing:
            raise StoreFailed("down")
        await super().put(key, value, ttl_s)


async def bad_answers(record: StoredRecord, times: int = 40) -> None:
    """So many sure answers that the other signals rejected."""
    for _ in range(times):
        record.verified(TARGET, SURE, good=False)
    await record.work()


def worth(record: StoredRecord) -> float:
    """What this target's 0.9 is worth."""
    return record.probability(TARGET, "confidence", 0.9)


async def test_what_the_signals_found_counts_at_once_and_survives_a_restart() -> None:
    """Another process on the same store starts with the record."""
    store = MemoryStore()
    record, later = StoredRecord(store), StoredRecord(store)
    record.verified(TARGET, SURE, good=False)
    assert worth(record) < 0.9
    await bad_answers(record)
    assert worth(later) == 0.9
    await later.work()
    assert worth(later) == pytest.approx(worth(record), abs=0.01)
    assert worth(later) < 0.2


async def test_workers_add_to_one_record() -> None:
    """Neither overwrites what the other saw, and one without news of its own hears of it."""
    store = MemoryStore()
    one, other = StoredRecord(store), StoredRecord(store)
    await bad_answers(one, 30)
    await bad_answers(other, 30)
    await one.work()
    for record in (one, other):
        assert record.evidence() == {("t", "confidence"): 60.0}


async def test_a_model_that_was_replaced_starts_anew() -> None:
    """The id is the same, what answers is not."""
    record = StoredRecord(MemoryStore())
    await bad_answers(record)
    assert record.probability(replace(TARGET, model="newer"), "confidence", 0.9) == 0.9


async def test_feedback_counts_for_the_answer_that_was_served_and_once() -> None:
    """By the decision's id, also at another worker; an unknown decision changes nothing."""
    store = MemoryStore()
    one, other = StoredRecord(store), StoredRecord(store)
    one.served("d1", TARGET, SURE)
    await one.work()
    for decision in ("d1", "d1", "d2"):
        other.observe_feedback(decision, -1.0)
    await other.work()
    assert other.evidence() == {("t", "confidence"): 2.0}
    assert worth(other) < 0.9


async def test_an_answer_without_readings_is_not_kept() -> None:
    """There is nothing a rating could teach."""
    store = MemoryStore()
    record = StoredRecord(store)
    record.served("d1", TARGET, {})
    await record.work()
    assert await store.get("confidence:served:d1") is None


async def test_a_store_that_fails_costs_nothing_but_sharing() -> None:
    """What is new counts here, waits, and is stored once the store is back."""
    store = Flaky()
    record = StoredRecord(store)
    store.failing = True
    record.served("d1", TARGET, SURE)
    await bad_answers(record)
    assert worth(record) < 0.2
    store.failing = False
    await record.work()
    assert await store.get(RECORD) is not None
    assert await store.get("confidence:served:d1") is not None
    assert record.evidence() == {("t", "confidence"): 40.0}


async def test_a_write_that_fails_loses_nothing() -> None:
    """Read, then failed to write: the outcomes are still there for the next round."""

    class Full(MemoryStore):
        full = True

        async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
            if self.full:
                raise StoreFailed("full")
            await super().put(key, value, ttl_s)

    store = Full()
    record = StoredRecord(store)
    await bad_answers(record, 10)
    await bad_answers(record, 10)
    store.full = False
    await record.work()
    fresh = StoredRecord(store)
    await fresh.work()
    assert fresh.evidence() == {("t", "confidence"): 20.0}


@pytest.mark.parametrize("stored", [b"", b"[2,[]]", b"[1,7]", orjson.dumps([1, [["t"]]])])
async def test_what_cannot_be_read_is_replaced(stored: bytes) -> None:
    """A record of another version or hand never stops the service."""
    store = MemoryStore()
    await store.put(RECORD, stored, None)
    record = StoredRecord(store)
    await bad_answers(record)
    assert record.evidence() == {("t", "confidence"): 40.0}


async def test_notes_are_bounded() -> None:
    """Whatever comes in between two rounds, the oldest go."""
    store = MemoryStore()
    record = StoredRecord(store)
    for number in range(PENDING + 10):
        record.served(f"d{number}", TARGET, SURE)
    await record.work()
    kept: Sequence[bytes | None] = [
        await store.get(f"confidence:served:d{number}") for number in (0, 9, 10, PENDING + 9)
    ]
    assert [value is not None for value in kept] == [False, False, True, True]
