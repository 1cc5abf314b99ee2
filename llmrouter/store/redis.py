"""A store in Redis, for workers on several machines.

One round trip a call: counters and logs change in one script or one transaction, so concurrent
writers never see each other half done. Every error of the client or the network is StoreFailed,
within the time-outs (one for a free connection, one for the answer); nothing is retried here,
because a caller degrades faster than Redis returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from llmrouter.errors import StoreFailed

TIMEOUT_S: Final = 1.0
CONNECTIONS: Final = 64
POOL_S: Final = 5.0
_INCREMENT: Final = """
local value = redis.call('INCRBYFLOAT', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value
"""


class RedisStore:
    """Implements `Store` over one Redis database. Keys begin with `prefix`.

    `timeout_s` bounds the wait for an answer; for a free connection it may take POOL_S seconds.
    """

    problem: str | None = None  # `GuardedStore` knows

    def __init__(self, url: str, prefix: str = "llmrouter:", timeout_s: float = TIMEOUT_S) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                timeout=max(timeout_s, POOL_S),  # a burst waits for a connection
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                max_connections=CONNECTIONS,
                health_check_interval=30,
            )
            self._redis: Any = Redis.from_pool(pool)
        except ValueError as error:
            raise StoreFailed(f"not a Redis address: {error}") from error
        self._prefix = prefix
        self._increment = self._redis.register_script(_INCREMENT)

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent or expired."""
        with _mapped():
            value: bytes | None = await self._redis.get(self._prefix + key)
        return value

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value; one whose time is already over is removed."""
        if ttl_s is not None and ttl_s <= 0:
            await self.delete(key)
            return
        with _mapped():
            await self._redis.set(self._prefix + key, value, px=_milliseconds(ttl_s))

    async def delete(self, key: str) -> None:
        """Remove a value or a counter; absent is fine."""
        with _mapped():
            await self._redis.delete(self._prefix + key)

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append to a log and drop its oldest entries beyond `keep`."""
        if not entries:
            return
        name = f"{self._prefix}log:{log}"
        with _mapped():
            async with self._redis.pipeline(transaction=True) as pipeline:
                if keep <= 0:
                    pipeline.delete(name)
                else:
                    pipeline.rpush(name, *entries[-keep:])
                    pipeline.ltrim(name, -keep, -1)
                await pipeline.execute()

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """The newest `last` entries but for the `skip` newest, oldest first."""
        if last <= 0:
            return []
        with _mapped():
            return list(
                await self._redis.lrange(f"{self._prefix}log:{log}", -last - skip, -1 - skip)
            )

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter atomically; a new one lives `ttl_s`."""
        with _mapped():
            lifetime_ms = _milliseconds(ttl_s) or 1
            value = await self._increment(keys=[self._prefix + key], args=[by, lifetime_ms])
        return float(value)

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write one field of a table, a Redis hash; None removes it."""
        name = f"{self._prefix}table:{table}"
        with _mapped():
            if value is None:
                await self._redis.hdel(name, field)
            else:
                await self._redis.hset(name, field, value)

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table."""
        with _mapped():
            found = await self._redis.hgetall(f"{self._prefix}table:{table}")
        return {field.decode(): value for field, value in found.items()}

    async def close(self) -> None:
        """Close the connections."""
        with _mapped():
            await self._redis.aclose()


def _milliseconds(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else max(1, math.ceil(ttl_s * 1000))


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError, UnicodeEncodeError) as error:
        raise StoreFailed(f"Redis: {type(error).__name__}: {error}") from error
