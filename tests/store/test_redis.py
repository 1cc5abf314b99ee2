"""Tests of a Redis that is not there; the contract test covers one that is."""

from __future__ import annotations

import socket

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.redis import RedisStore


async def test_a_server_that_is_away_is_store_failed() -> None:
    """Every method gives the one error that callers degrade on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        store = RedisStore(f"redis://127.0.0.1:{probe.getsockname()[1]}/0")
        for call in (
            store.get("a"),
            store.put("a", b"1", 1.0),
            store.delete("a"),
            store.append("a", [b"1"], 1),
            store.tail("a", 1),
            store.increment("a", 1, 1),
        ):
            with pytest.raises(StoreFailed, match="Redis"):
                await call
        await store.close()
