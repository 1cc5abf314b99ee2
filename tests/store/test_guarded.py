"""Tests of the breaker before the store, the last of them on a Redis server that is stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from llmrouter.errors import StoreFailed
from llmrouter.store.guarded import GuardedStore
from llmrouter.store.memory import MemoryStore
from llmrouter.store.redis import RedisStore
from llmrouter.util.circuit_breaker import Breaker


@dataclass(frozen=True)
class RedisServer:
    """A Redis server of one test, on a socket of its own."""

    url: str
    pid: int


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """The server, which may be stopped and is always ended."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI must stop a Redis server: install redis-server")
        pytest.skip("no redis-server here")
    path = tmp_path / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        retry = Retry(ConstantBackoff(0.1), 100)
        with Redis(unix_socket_path=str(path), retry=retry) as client:
            client.ping()
        yield RedisServer(f"unix://{path}", process.pid)
    finally:
        process.kill()
        process.wait()


class Hanging(MemoryStore):
    """A store that may stop answering, and counts who asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def get(self, key: str) -> bytes | None:
        """The value, once there are answers."""
        self.asked += 1
        await self.answers.wait()
        return await super().get(key)


async def test_a_store_that_hangs_is_asked_twice_and_then_no_more() -> None:
    """Requests after that fail at once, all but one probe a cooldown."""
    now = 0.0
    inner = Hanging()
    store = GuardedStore(inner, answer_s=0.01, breaker=Breaker(2, 1.0, lambda: now))
    inner.answers.clear()
    for _ in range(20):
        with pytest.raises(StoreFailed):
            await store.get("a")
    assert inner.asked == 2
    assert store.problem is not None
    now = 1.5
    for _ in range(20):
        with pytest.raises(StoreFailed):
            await store.get("a")
    assert inner.asked == 3
    inner.answers.set()
    now = 10.0
    assert await store.get("a") is None
    assert store.problem is None


async def test_one_failure_opens_nothing_and_a_caller_who_leaves_is_none() -> None:
    """A cancelled call says nothing of the store."""
    inner = Hanging()
    store = GuardedStore(inner, answer_s=5.0)
    inner.answers.clear()
    for _ in range(5):
        call = asyncio.ensure_future(store.get("a"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    inner.answers.set()
    assert await store.get("a") is None
    assert inner.asked == 6


class Slow(MemoryStore):
    """A store that answers one call after another, each after a while."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def get(self, key: str) -> bytes | None:
        """The value, when its turn has come."""
        async with self._turn:
            await asyncio.sleep(0.01)
            return await super().get(key)


async def test_a_burst_that_waits_for_its_turn_opens_nothing() -> None:
    """The last of them waits much longer than a store may be silent, which it is not."""
    store = GuardedStore(Slow(), answer_s=0.2)
    assert await asyncio.gather(*(store.get("a") for _ in range(60))) == [None] * 60
    assert store.problem is None


async def test_a_name_that_is_no_text_is_not_held_against_the_store() -> None:
    """Half a surrogate pair, which a caller can put into one, opens the circuit for nobody."""
    store = GuardedStore(Hanging(), breaker=Breaker(2, 1.0))
    for _ in range(3):
        with pytest.raises(StoreFailed, match="not a key"):
            await store.get("\ud800")
        with pytest.raises(StoreFailed, match="not a key"):
            await store.set_field("table", "\ud800", b"1")
    assert await store.get("a") is None
    assert store.problem is None


async def test_a_stopped_redis_costs_requests_nothing_after_the_second(
    redis_server: RedisServer,
) -> None:
    """A server that was stopped (SIGSTOP) takes connections and never answers."""
    store = GuardedStore(RedisStore(redis_server.url), breaker=Breaker(2, 0.05))
    try:
        await store.put("a", b"1", None)
        os.kill(redis_server.pid, signal.SIGSTOP)
        refused = 0
        for _ in range(4):
            with pytest.raises(StoreFailed) as failed:
                await store.get("a")
            refused += "not asked" in str(failed.value)
        assert refused >= 2
        assert store.problem is not None
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    for _ in range(200):
        try:
            assert await store.get("a") == b"1"
            break
        except StoreFailed:
            await asyncio.sleep(0.05)
    assert store.problem is None
    await store.close()
