"""Tests of opening a store by its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.disk import DiskStore
from llmrouter.store.factory import open_store
from llmrouter.store.guarded import GuardedStore
from llmrouter.store.memory import MemoryStore


async def test_each_scheme_opens_its_backend(tmp_path: Path) -> None:
    """The address alone chooses."""
    opened = [
        (open_store("memory:"), MemoryStore),
        (open_store(f"disk:{tmp_path}/store"), DiskStore),
        (open_store("redis://127.0.0.1:1/0"), GuardedStore),
    ]
    for store, backend in opened:
        assert isinstance(store, backend)
        await store.close()


@pytest.mark.parametrize("url", ["", "disk:", "memcached://x", "/var/x", "redis://h:port/0"])
def test_an_address_that_means_nothing_is_refused(url: str) -> None:
    """The message says what to write."""
    with pytest.raises(StoreFailed):
        open_store(url)
