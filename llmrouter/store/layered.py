"""A bounded memory above any store, for what is read again soon.

Only namespaces whose values do not change under their key (decisions, say) may be answered from
memory for longer than an instant, because another worker's write is not seen here: `near` names
them. Everything else goes to the store beneath. When that store fails a write, the value stays
readable in this process and the failure is raised all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmrouter.domain.ports import Store
from llmrouter.store.memory import MemoryStore

NEAR_TTL_S: Final = 60.0
"""How long memory answers for a value that it read; a value never outlives its own by more."""
IMMUTABLE: Final = ("decision:",)


class LayeredStore:
    """Implements `Store`: `memory` above `beneath`, for keys that begin with one of `near`."""

    def __init__(
        self, memory: MemoryStore, beneath: Store, near: tuple[str, ...] = IMMUTABLE
    ) -> None:
        self._memory = memory
        self._beneath = beneath
        self._near = near

    async def get(self, key: str) -> bytes | None:
        """The value, from memory where it is near."""
        if not key.startswith(self._near):
            return await self._beneath.get(key)
        value = self._memory.peek(key)
        if value is None:
            value = await self._beneath.get(key)
            if value is not None:
                self._memory.keep(key, value, NEAR_TTL_S)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value to both."""
        if key.startswith(self._near):
            self._memory.keep(key, value, ttl_s)
        await self._beneath.put(key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Remove a value from both."""
        await self._memory.delete(key)
        await self._beneath.delete(key)

    async def append(self, log: str, entries: Sequence[bytes], keep: int) -> None:
        """Logs are kept beneath alone."""
        await self._beneath.append(log, entries, keep)

    async def tail(self, log: str, last: int) -> list[bytes]:
        """Logs are kept beneath alone."""
        return await self._beneath.tail(log, last)

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Counters are kept beneath alone."""
        return await self._beneath.increment(key, by, ttl_s)

    async def close(self) -> None:
        """Close both."""
        await self._memory.close()
        await self._beneath.close()
