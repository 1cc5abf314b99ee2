"""From an address in the settings to a store."""

from __future__ import annotations

from pathlib import Path

from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.store.disk import DiskStore
from llmrouter.store.guarded import GuardedStore
from llmrouter.store.memory import MemoryStore


def open_store(url: str, *, shared: bool = False) -> Store:
    """`memory:`, `disk:PATH` or `redis://…` (also `rediss://`, `unix://`).

    `shared` says that several processes use the folder, so a write must be seen by all of them
    when it returns. Raises StoreFailed when the address means nothing or the folder cannot be
    used; a Redis server is first called when it is first used.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryStore()
    if scheme == "disk" and rest:
        return DiskStore(Path(rest).expanduser(), shared=shared)
    if scheme in ("redis", "rediss", "unix"):
        # Its client is 8 MB of memory that an embedded store should not pay for.
        from llmrouter.store.redis import RedisStore

        return GuardedStore(RedisStore(url))
    raise StoreFailed(f"{url!r} is no store; write memory:, disk:PATH or redis://host:port/0")
