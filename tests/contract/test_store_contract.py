"""One contract, every store. Redis is skipped where no server can run, and required in CI."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from redis import Redis
from redis.exceptions import RedisError

from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.store.disk import DiskStore
from llmrouter.store.guarded import GuardedStore
from llmrouter.store.memory import MemoryStore
from llmrouter.store.redis import RedisStore

BACKENDS = ("memory", "disk", "disk-shared", "redis")


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@dataclass
class Bench:
    """A store, a way to open the same data again, and a clock where the backend takes one."""

    store: Store
    again: Callable[[], Store]
    clock: Clock | None


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server of our own on a free port."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI must test the Redis store: install redis-server")
        pytest.skip("no redis-server here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        binary,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            with contextlib.closing(Redis(port=port)) as client:
                for _ in range(200):
                    with contextlib.suppress(RedisError):
                        client.ping()
                        break
                    time.sleep(0.05)
                else:
                    pytest.fail("redis-server did not start")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@pytest.fixture(params=BACKENDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Each backend in turn, empty."""
    clock: Clock | None = Clock(time.time())
    match request.param:
        case "memory":
            store: Store = MemoryStore(clock=clock)
            again = lambda: store  # noqa: E731 - memory cannot be opened twice
        case "disk" | "disk-shared":
            shared = request.param == "disk-shared"
            again = lambda: DiskStore(tmp_path, shared=shared, clock=clock)  # noqa: E731
            store = again()
        case _:
            url = request.getfixturevalue("redis_url")
            clock = None
            again = lambda: GuardedStore(  # noqa: E731
                RedisStore(url, f"{tmp_path.name}:", timeout_s=30.0), answer_s=30.0
            )
            store = again()
    opened = Bench(store, again, clock)
    yield opened
    await opened.store.close()


async def gone(bench: Bench, key: str, after_s: float) -> bool:
    """Whether a key that lives `after_s` disappears: at once by the clock, or by waiting."""
    if bench.clock is not None:
        bench.clock.now += after_s
        return await bench.store.get(key) is None
    async with asyncio.timeout(30):
        while await bench.store.get(key) is not None:  # noqa: ASYNC110 - the server's clock
            await asyncio.sleep(0.02)
    return True


async def test_a_value_comes_back_byte_for_byte(bench: Bench) -> None:
    """Values are opaque, empty and binary ones included."""
    for value in (b"", b"\x00\xff\x80 pickle \x80\x04.", b"x" * 200_000):
        await bench.store.put("decision:a", value, None)
        assert await bench.store.get("decision:a") == value


async def test_an_absent_key_is_none(bench: Bench) -> None:
    """Cold is not an error."""
    assert await bench.store.get("cache:nothing") is None


async def test_a_later_write_wins(bench: Bench) -> None:
    """A second put replaces the value and its time to live."""
    await bench.store.put("session:a", b"1", 0.05)
    await bench.store.put("session:a", b"2", None)
    if bench.clock is not None:
        bench.clock.now += 1000
    else:
        await asyncio.sleep(0.1)
    assert await bench.store.get("session:a") == b"2"


async def test_a_value_lives_as_long_as_it_was_given(bench: Bench) -> None:
    """It is there before its time is over, and not after."""
    await bench.store.put("decision:a", b"1", 2.0)
    assert await bench.store.get("decision:a") == b"1"
    assert await gone(bench, "decision:a", 2.01)


async def test_a_deleted_value_is_gone(bench: Bench) -> None:
    """Deleting twice is fine."""
    await bench.store.put("decision:a", b"1", None)
    await bench.store.delete("decision:a")
    await bench.store.delete("decision:a")
    assert await bench.store.get("decision:a") is None


async def test_keys_do_not_mix(bench: Bench) -> None:
    """Any text is a key of its own."""
    keys = ["a", "a:", "a:b", "A", "ä", "log:a", "a" * 500, "x\ny"]
    for number, key in enumerate(keys):
        await bench.store.put(key, str(number).encode(), None)
    assert [await bench.store.get(key) for key in keys] == [
        str(number).encode() for number in range(len(keys))
    ]


async def test_what_is_closed_can_be_opened_again(bench: Bench) -> None:
    """A second opening sees what the first one wrote."""
    await bench.store.put("cache:a", b"1", 100.0)
    await bench.store.append("journal", [b"x"], keep=10)
    await bench.store.increment("spend:a", 2.5, 100.0)
    await bench.store.close()
    bench.store = bench.again()
    assert await bench.store.get("cache:a") == b"1"
    assert await bench.store.tail("journal", 5) == [b"x"]
    assert await bench.store.increment("spend:a", 0.5, 100.0) == 3.0


async def test_a_log_keeps_the_newest_in_order(bench: Bench) -> None:
    """Oldest entries beyond `keep` are dropped; a tail is oldest first."""
    await bench.store.append("journal", [b"1", b"2"], keep=3)
    await bench.store.append("journal", [b"3", b"4"], keep=3)
    assert await bench.store.tail("journal", 10) == [b"2", b"3", b"4"]
    assert await bench.store.tail("journal", 2) == [b"3", b"4"]
    assert await bench.store.tail("journal", 0) == []
    assert await bench.store.tail("journal", 1, 1) == [b"3"]
    assert await bench.store.tail("journal", 5, 1) == [b"2", b"3"]
    assert await bench.store.tail("journal", 5, 3) == []
    assert await bench.store.tail("another", 10) == []


async def test_more_entries_than_a_log_keeps(bench: Bench) -> None:
    """One append may exceed the bound, and the bound may shrink."""
    await bench.store.append("journal", [b"%d" % n for n in range(50)], keep=5)
    assert await bench.store.tail("journal", 50) == [b"45", b"46", b"47", b"48", b"49"]
    await bench.store.append("journal", [b"50"], keep=2)
    assert await bench.store.tail("journal", 50) == [b"49", b"50"]
    await bench.store.append("journal", [], keep=2)
    assert len(await bench.store.tail("journal", 50)) == 2


async def test_concurrent_appends_lose_nothing(bench: Bench) -> None:
    """Writers of one log never overwrite each other."""
    await asyncio.gather(*(bench.store.append("journal", [b"%d" % n], keep=100) for n in range(40)))
    assert sorted(await bench.store.tail("journal", 100)) == sorted(b"%d" % n for n in range(40))


async def test_concurrent_increments_add_up(bench: Bench) -> None:
    """A counter is exact under concurrency, and tells each caller another sum."""
    sums = await asyncio.gather(*(bench.store.increment("n", 0.5, 100.0) for _ in range(40)))
    assert sorted(sums) == [0.5 * n for n in range(1, 41)]


async def test_a_burst_waits_instead_of_failing(bench: Bench) -> None:
    """Far more calls at once than a backend has connections all get their answer."""
    await bench.store.put("hot", b"value", 60.0)
    answers = await asyncio.gather(*(bench.store.get("hot") for _ in range(400)))
    assert answers == [b"value"] * 400


async def test_a_key_that_is_not_unicode_harms_no_other(bench: Bench) -> None:
    """A lone surrogate in a key is held or refused as StoreFailed; other writes go through."""
    await bench.store.put("before", b"1", 60.0)
    for call in (bench.store.put("\ud800", b"2", 60.0), bench.store.increment("\ud800", 1, 60.0)):
        with contextlib.suppress(StoreFailed):
            await call
    await bench.store.put("after", b"3", 60.0)
    await bench.store.increment("counter", 1.0, 60.0)
    assert [await bench.store.get(key) for key in ("before", "after")] == [b"1", b"3"]


async def test_a_counter_starts_anew_after_its_time(bench: Bench) -> None:
    """The time to live is set when it is created, and not moved by later increments."""
    await bench.store.increment("n", 1, 0.3)
    if bench.clock is not None:
        bench.clock.now += 0.2
        assert await bench.store.increment("n", 1, 0.3) == 2
        bench.clock.now += 0.11
        assert await bench.store.increment("n", 1, 0.3) == 1
    else:
        sums = []
        for _ in range(100):
            sums.append(await bench.store.increment("n", 1, 0.3))
            if sums[-1] == 1:
                break
            await asyncio.sleep(0.02)
        assert sums[-1] == 1


async def test_a_counter_can_be_deleted(bench: Bench) -> None:
    """An operator may reset a budget."""
    await bench.store.increment("n", 5, 100.0)
    await bench.store.delete("n")
    assert await bench.store.increment("n", 1, 100.0) == 1


async def test_a_table_holds_fields_until_they_are_removed(bench: Bench) -> None:
    """Tables are apart from each other, from values and from logs; a field is overwritten whole."""
    store = bench.store
    assert await store.fields("keys") == {}
    await store.set_field("keys", "a:1", b"one")
    await store.set_field("keys", "b", b"two")
    await store.set_field("keys:a", "1", b"of another table")
    await store.put("keys", b"a value", 60.0)
    await store.set_field("keys", "b", b"\x00three")
    found = await store.fields("keys")
    assert {name: value for name, value in found.items() if name != "a:1"}["b"] == b"\x00three"
    assert found["a:1"] == b"one"
    await store.set_field("keys", "a:1", None)
    await store.set_field("keys", "absent", None)
    assert (await store.fields("keys")).get("a:1") is None
    assert (await store.fields("keys"))["b"] == b"\x00three"


WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from llmrouter.store.disk import DiskStore
from llmrouter.store.redis import RedisStore

async def main():
    kind, where, prefix = sys.argv[1:]
    if kind == "redis":
        store = RedisStore(where, prefix)
    else:
        store = DiskStore(Path(where), shared=kind == "disk-shared")
    await store.append("journal", [b"kept"], 10, durable=True)
    await store.set_field("keys", "a", b"kept", durable=True)
    await store.set_field("keys", "b", b"removed", durable=True)
    await store.set_field("keys", "b", None, durable=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_written_to_last_outlives_kill_9(
    bench: Bench, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In the very moment after the write returned; memory alone is gone with its process."""
    kind = request.node.callspec.params["bench"]
    if kind == "memory":
        await bench.store.append("journal", [b"kept"], 10, durable=True)
        await bench.store.set_field("keys", "a", b"kept", durable=True)
    else:
        where = request.getfixturevalue("redis_url") if kind == "redis" else str(tmp_path)
        command = [sys.executable, "-c", WRITER, kind, where, f"{tmp_path.name}:"]
        writer = await asyncio.create_subprocess_exec(*command)
        assert await writer.wait() == -signal.SIGKILL
    assert await bench.store.tail("journal", 10) == [b"kept"]
    assert await bench.store.fields("keys") == {"a": b"kept"}


async def test_a_store_that_keeps_has_no_problem(bench: Bench) -> None:
    """What is shown on /readyz is None while reads and writes come back."""
    await bench.store.put("a", b"1", None)
    await bench.store.append("journal", [b"x"], keep=10, durable=True)
    assert await bench.store.get("a") == b"1"
    assert bench.store.problem is None


async def test_a_store_that_cannot_keep_says_why_until_it_can(
    bench: Bench, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write fails as StoreFailed and not otherwise, the problem is named, and goes again."""
    kind = request.node.callspec.params["bench"]
    if kind == "memory":
        return  # it has nothing that could fail
    with monkeypatch.context() as broken:
        if kind == "redis":
            failing = "redis.asyncio.client.Pipeline.execute"
            broken.setattr(failing, AsyncMock(side_effect=RedisError("LOADING")))
        else:
            full = sqlite3.OperationalError("database or disk is full")
            broken.setattr(DiskStore, "_append", Mock(side_effect=full))
        for _ in range(2):
            with pytest.raises(StoreFailed):
                await bench.store.append("journal", [b"lost"], keep=10, durable=True)
        assert bench.store.problem is not None
    async with asyncio.timeout(30):
        while True:  # the breaker lets a probe through after a second
            with contextlib.suppress(StoreFailed):
                await bench.store.append("journal", [b"kept"], keep=10, durable=True)
                break
            await asyncio.sleep(0.05)
    assert bench.store.problem is None
    assert await bench.store.tail("journal", 10) == [b"kept"]
