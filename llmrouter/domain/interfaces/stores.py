"""Where small values and bounded logs are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Store(Protocol):
    """Small values under string keys, with a time to live. Values are opaque bytes.

    Every method raises StoreFailed when the backend cannot do it. Keys are namespaced by their
    user (`decision:…`, `cache:…`, `session:…`). `problem` says why nothing is kept now, or is None.

    What is written with `durable` outlives a crash of this process and of the machine, once the
    call returns (with Redis, as far as the server's `appendfsync` goes). Other writes may be on
    their way for some milliseconds.
    """

    problem: str | None

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent or expired."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value; `ttl_s` None keeps it until it is evicted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a value; absent is fine."""
        ...

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append entries to a bounded log; the oldest beyond `keep` are dropped."""
        ...

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """The newest `last` entries of a log but for the `skip` newest ones, oldest first."""
        ...

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter atomically and return it; a new counter lives `ttl_s`."""
        ...

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write one field of a table; None removes it. It is kept until it is removed."""
        ...

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table; empty for one that was never written."""
        ...

    async def close(self) -> None:
        """Release what is held; the store is not used after."""
        ...
