"""Tests of the memory above a store."""

from __future__ import annotations

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.layered import LayeredStore
from llmrouter.store.memory import MemoryStore


class Broken(MemoryStore):
    """A store that cannot be used."""

    async def get(self, key: str) -> bytes | None:
        """Fails."""
        raise StoreFailed("down")

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Fails."""
        raise StoreFailed("down")


async def test_an_immutable_value_is_read_beneath_once() -> None:
    """After the first read, memory answers."""
    beneath = MemoryStore()
    store = LayeredStore(MemoryStore(), beneath)
    await beneath.put("decision:a", b"1", None)
    assert await store.get("decision:a") == b"1"
    await beneath.delete("decision:a")
    assert await store.get("decision:a") == b"1"


async def test_what_may_change_is_always_read_beneath() -> None:
    """Another worker's session is seen at once."""
    beneath = MemoryStore()
    store = LayeredStore(MemoryStore(), beneath)
    await store.put("session:a", b"1", None)
    await beneath.put("session:a", b"2", None)
    assert await store.get("session:a") == b"2"


async def test_a_failed_write_is_raised_and_stays_readable_here() -> None:
    """The caller hears of it, and this process can still execute its decision."""
    store = LayeredStore(MemoryStore(), Broken())
    with pytest.raises(StoreFailed):
        await store.put("decision:a", b"1", 10.0)
    assert await store.get("decision:a") == b"1"
    with pytest.raises(StoreFailed):
        await store.get("decision:b")
