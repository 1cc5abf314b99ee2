"""Tests of the bounds of the memory store."""

from __future__ import annotations

from llmrouter.store.memory import Bounds, MemoryStore


async def test_the_least_recently_used_value_goes_first() -> None:
    """Reading a value keeps it."""
    store = MemoryStore(Bounds(entries=2))
    await store.put("a", b"1", None)
    await store.put("b", b"2", None)
    await store.get("a")
    await store.put("c", b"3", None)
    assert await store.get("b") is None
    assert await store.get("a") == b"1"


async def test_bytes_are_bounded() -> None:
    """Keys count too, replaced values no longer do, and what is too large is not kept."""
    store = MemoryStore(Bounds(max_bytes=100))
    for _ in range(10):
        await store.put("a", b"x" * 40, None)
    await store.put("b", b"x" * 40, None)
    assert len(store) == 2
    await store.put("c", b"x" * 200, None)
    assert await store.get("c") is None


async def test_counters_are_bounded() -> None:
    """The oldest counters make room, so that keys of strangers cannot fill memory."""
    store = MemoryStore(Bounds(entries=10))
    for number in range(100):
        await store.increment(f"n{number}", 1, 1000)
    assert len(store._counters) == 10
    assert await store.increment("n99", 1, 1000) == 2
