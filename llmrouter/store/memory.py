"""A store in this process: bounded, least recently used first out, gone when the process ends."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a memory store holds: `entries` values of `max_bytes` in all (keys included)."""

    entries: int = 100_000
    max_bytes: int = 64 * 1024 * 1024


class MemoryStore:
    """Implements `Store`. `clock` gives seconds; only differences of it matter."""

    problem: str | None = None

    def __init__(
        self, bounds: Bounds = Bounds(), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._counters: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._logs: dict[str, deque[bytes]] = {}
        self._tables: dict[str, dict[str, bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent, expired or was pushed out."""
        return self.peek(key)

    def peek(self, key: str) -> bytes | None:
        """`get` without a coroutine, for the layer above."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires_at = entry
        if expires_at is not None and self._clock() >= expires_at:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value; one that is larger than the whole store is not kept."""
        self.keep(key, value, ttl_s)

    def keep(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """`put` without a coroutine, for the layer above."""
        self._remove(key)
        self._entries[key] = (value, None if ttl_s is None else self._clock() + ttl_s)
        self._bytes += len(key) + len(value)
        while len(self._entries) > self._bounds.entries or self._bytes > self._bounds.max_bytes:
            self._remove(next(iter(self._entries)))

    async def delete(self, key: str) -> None:
        """Remove a value or a counter; absent is fine."""
        self._remove(key)
        self._counters.pop(key, None)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(key) + len(entry[0])

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append to a log and drop its oldest entries beyond `keep`."""
        kept = self._logs.setdefault(log, deque())
        kept.extend(entries)
        while len(kept) > keep:
            kept.popleft()

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """The newest `last` entries but for the `skip` newest, oldest first."""
        kept = self._logs.get(log, ())
        end = max(0, len(kept) - skip)
        return list(islice(kept, max(0, end - max(0, last)), end))

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter and return it; a new one lives `ttl_s`."""
        now = self._clock()
        value, expires_at = self._counters.get(key, (0.0, 0.0))
        if now >= expires_at:
            value, expires_at = 0.0, now + ttl_s
            self._counters.pop(key, None)  # a new counter is the youngest again
            while len(self._counters) >= self._bounds.entries:
                self._counters.popitem(last=False)
        value += by
        self._counters[key] = (value, expires_at)
        return value

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write one field of a table; None removes it."""
        fields = self._tables.setdefault(table, {})
        if value is None:
            fields.pop(field, None)
        else:
            fields[field] = value

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table."""
        return dict(self._tables.get(table, {}))

    async def close(self) -> None:
        """Nothing is held."""
