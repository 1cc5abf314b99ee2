"""The ledger: what is found by its id, by whom, and what a broken store costs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.decision import Decision
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.errors import StoreFailed
from llmrouter.store.decision_log import DecisionLog, DecisionLogOptions
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_decision

SOON = DecisionLogOptions(flush_s=0.005)


class Counting(MemoryStore):
    """A store that counts reads, and can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.down = False

    async def get(self, key: str) -> bytes | None:
        """Read, or fail."""
        self.reads += 1
        if self.down:
            raise StoreFailed("down")
        return await super().get(key)

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write, or fail."""
        if self.down:
            raise StoreFailed("down")
        await super().put(key, value, ttl_s)


def ledger(store: MemoryStore, options: DecisionLogOptions = SOON) -> DecisionLog:
    """A worker's ledger."""
    return DecisionLog(store, encode_decision, decode_decision, options)


def made(kept: DecisionLog, **over: Any) -> Decision:
    """A decision that the ledger remembers."""
    decision = a_decision(decision_id=kept.new_id(), **over)
    kept.remember(decision)
    return decision


async def test_what_was_just_made_is_found_without_the_store() -> None:
    """A `/route` and its `/complete` on the same worker cost no read."""
    store = Counting()
    kept = ledger(store)
    decision = made(kept)
    assert await kept.find(decision.decision_id, "") is decision
    assert store.reads == 0


async def test_any_worker_finds_any_decision() -> None:
    """Once it is written, with everything it had, by its id alone."""
    store = MemoryStore()
    one, other = ledger(store), ledger(store)
    decisions = [made(one, reason=f"number {number}") for number in range(5)]
    await one.flush()
    for decision in decisions:
        assert await other.find(decision.decision_id, "") == decision


async def test_a_neighbour_s_decision_still_in_its_buffer_is_waited_for() -> None:
    """The second look comes after the neighbour's flush."""
    store = MemoryStore()
    one, other = ledger(store), ledger(store, DecisionLogOptions(flush_s=0.05))
    decision = made(one)
    looking = asyncio.ensure_future(other.find(decision.decision_id, ""))
    await asyncio.sleep(0)
    await one.flush()
    assert await looking == decision


async def test_a_chunk_of_many_parts_is_found_in_every_part() -> None:
    """The number in the id names the part."""
    store = MemoryStore()
    one = ledger(store, DecisionLogOptions(flush_s=0.005, chunk=3))
    decisions = [made(one) for _ in range(8)]
    await one.flush()
    other = ledger(store, DecisionLogOptions(flush_s=0.005, chunk=3))
    found = [await other.find(decision.decision_id, "") for decision in decisions]
    assert found == decisions


async def test_ids_stay_unique_across_chunks() -> None:
    """Numbers start again, so the chunk must be another."""
    kept = ledger(MemoryStore())
    ids = set()
    for _ in range(4):
        ids |= {made(kept).decision_id for _ in range(3)}
        await kept.flush()
    assert len(ids) == 12


async def test_another_tenant_s_decision_does_not_exist() -> None:
    """In memory and in the store alike."""
    store = MemoryStore()
    one, other = ledger(store), ledger(store)
    decision = made(one, tenant="a")
    await one.flush()
    for kept in (one, other):
        assert await kept.find(decision.decision_id, "b") is None
        assert await kept.find(decision.decision_id, "") is None
        assert await kept.find(decision.decision_id, "a") == decision


async def test_recent_is_newest_first_and_the_tenant_s_own() -> None:
    """And no more than asked for."""
    kept = ledger(MemoryStore())
    mine = [made(kept, tenant="a") for _ in range(3)]
    made(kept, tenant="b")
    assert kept.recent(10, "a") == mine[::-1]
    assert kept.recent(2, "a") == [mine[2], mine[1]]
    assert kept.recent(10, "c") == []


async def test_memory_is_bounded_and_the_store_has_the_rest() -> None:
    """The oldest leave memory; their ids still work."""
    store = Counting()
    kept = ledger(store, DecisionLogOptions(remembered=2, flush_s=0.005))
    decisions = [made(kept) for _ in range(5)]
    assert len(kept.recent(10, "")) == 2
    await kept.flush()
    assert await kept.find(decisions[0].decision_id, "") == decisions[0]
    assert store.reads == 1


async def test_a_store_that_is_down_costs_the_chunk_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Deciding goes on; what is in memory is found, the rest is as absent as never made."""
    store = Counting()
    store.down = True
    kept = ledger(store, DecisionLogOptions(remembered=1, flush_s=0.005))
    lost, held = made(kept), made(kept)
    with caplog.at_level(logging.WARNING):
        await kept.flush()
        assert await kept.find(lost.decision_id, "") is None
    assert "2 decisions not kept: down" in caplog.text
    assert "decision not read: down" in caplog.text
    assert await kept.find(held.decision_id, "") is held


async def test_a_buffer_that_nobody_empties_stops_growing() -> None:
    """Eight chunks wait at most; what is over is lost, and what waits is found after all."""
    store = MemoryStore()
    kept = ledger(store, DecisionLogOptions(remembered=1, flush_s=0.005, chunk=2))
    decisions = [made(kept) for _ in range(20)]
    await kept.flush()
    other = ledger(store, DecisionLogOptions(flush_s=0.005, chunk=2))
    assert await other.find(decisions[15].decision_id, "") == decisions[15]
    assert await other.find(decisions[16].decision_id, "") is None


async def test_it_writes_by_itself_and_once_more_at_the_end() -> None:
    """What was made right before the end is not lost with the process."""
    store = MemoryStore()
    one, other = ledger(store), ledger(store)
    running = asyncio.ensure_future(one.run())
    first = made(one)
    for _ in range(100):  # each look waits for a write and a half, which a busy machine delays
        if await other.find(first.decision_id, "") is not None:
            break
    assert await other.find(first.decision_id, "") == first
    last = made(one)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await other.find(last.decision_id, "") == last


@pytest.mark.parametrize("stored", [b"", b"junk", b'{"decision_id":"%s"}', b"\xff%s"])
async def test_what_another_hand_wrote_is_no_decision(stored: bytes) -> None:
    """It is passed over, with a line in the log where it names the id."""
    store = MemoryStore()
    kept = ledger(store)
    name = "dec_0123456789ab_1"
    if b"%s" in stored:
        stored = stored % f'"{name}"'.encode()
    await store.put("decisions:0123456789ab:0", stored, None)
    assert await kept.find(name, "") is None


@given(st.text(max_size=40) | st.from_regex(r"dec_\w{0,14}_\w{0,14}", fullmatch=True))
def test_no_id_a_caller_sends_can_break_it(name: str) -> None:
    """Ids come from outside: each is found or not, and names no key but its own chunk's."""
    store = Counting()
    kept = ledger(store, DecisionLogOptions(flush_s=0.0))
    assert asyncio.run(kept.find(name, "")) is None


async def test_several_are_found_with_one_read_a_chunk() -> None:
    """From memory, from the store, and not another tenant's; unknown ids are left out."""
    store = Counting()
    kept = ledger(store)
    first = [made(kept, tenant="acme").decision_id for _ in range(20)]
    await kept.flush()
    theirs = made(kept, tenant="other").decision_id
    await kept.flush()
    reader = ledger(store)
    mine = made(reader, tenant="acme").decision_id
    names = [*first, theirs, mine, "dec_000000000000_1", "nonsense"]
    assert list(await reader.find_all(names, "acme")) == [*first, mine]
    assert store.reads == 3
    assert list(await reader.find_all(names, None)) == [*first, theirs, mine]
    store.down = True
    assert list(await reader.find_all(names, None)) == [mine]
