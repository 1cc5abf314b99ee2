"""Worker processes: replaced and drained under load without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from llmrouter.api.load_shedding import LoadShedder
from llmrouter.server.worker import IDLE_S, _at_rest, bind, trim_malloc
from tests.catalog.prompts_dir import ROUTING, written
from tests.served import environment, free_port, process

RULES_ONLY = {"routing": ROUTING.split("router:")[0] + "rules: []\n"}
BODY = {"prompt": "What is two plus two?"}


@dataclass
class Load:
    """A load generator that behaves as a balancer does: what says it is leaving gets no more.

    Each client keeps its connection alive, and takes a new one where it was told to close.
    """

    base: str
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    told_to_close: int = 0
    ready: bool = True
    ended: bool = False

    async def client(self) -> None:
        """Ask without a pause until the service leaves."""
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            while self.ready and not self.ended:
                try:
                    async with session.post(f"{self.base}/route", json=BODY) as response:
                        text = await response.text()
                        if response.status == 200:
                            self.answered += 1
                        else:
                            self.lost.append(f"{response.status}: {text[:200]}")
                        if response.headers.get("Connection", "").lower() == "close":
                            self.told_to_close += 1
                except aiohttp.ClientError as error:
                    self.lost.append(repr(error))
                await asyncio.sleep(0.002)

    async def slow_client(self) -> None:
        """A kept-alive connection that is idle most of the time."""
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            while self.ready and not self.ended:
                try:
                    async with session.post(f"{self.base}/route", json=BODY) as response:
                        await response.read()
                        self.answered += response.status == 200
                        if response.status != 200:
                            self.lost.append(f"{response.status}")
                except aiohttp.ClientError as error:
                    self.lost.append(f"idle: {error!r}")
                await asyncio.sleep(IDLE_S * 0.6)

    async def watch(self) -> None:
        """Look at readiness on connections of its own."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while self.ready and not self.ended:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.base}/readyz") as response:
                        self.ready = response.status == 200
                await asyncio.sleep(0.02)

    async def reached(self, count: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.answered + count
        async with asyncio.timeout(60):
            while self.answered < wanted:  # noqa: ASYNC110 - the clients have no event
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def loaded(load: Load, *, watched: bool) -> AsyncIterator[Load]:
    """Six busy clients and two idle ones around the block."""
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(load.client())
        for _ in range(2):
            group.create_task(load.slow_client())
        if watched:
            group.create_task(load.watch())
        try:
            yield load
        finally:
            load.ended = not watched or load.ended


async def changed(started: object, before: set[int]) -> set[int]:
    """The workers once none of `before` is among two of them."""
    from tests.served import Process

    assert isinstance(started, Process)
    async with asyncio.timeout(60):
        while True:
            now = started.workers()
            if len(now) == 2 and not now & before:
                return now
            await asyncio.sleep(0.05)


async def test_replacing_workers_and_leaving_lose_no_request(tmp_path: Path) -> None:
    """SIGHUP puts a new worker for each old one; SIGTERM drains; every request sent is answered."""
    written(tmp_path / "prompts", **RULES_ONLY)
    with process(tmp_path, "serve", workers=2, LLMROUTER_LEAVE_S="1.0") as started:
        load = Load(started.base)
        async with loaded(load, watched=False):
            before = started.workers()
            assert len(before) == 2
            await load.reached(200)
            started.signal(signal.SIGHUP)
            await changed(started, before)
            await load.reached(200)
            told = load.told_to_close
        assert load.lost == []
        assert told >= 1

        leaving = Load(started.base)
        async with loaded(leaving, watched=True):
            await leaving.reached(200)
            started.signal(signal.SIGTERM)
        assert leaving.lost == []
        assert leaving.ready is False
        assert await asyncio.to_thread(started.ends) == 0
    assert "Traceback" not in started.log.read_text()


async def test_an_idle_connection_gets_its_last_answer(tmp_path: Path) -> None:
    """A request that crosses with leaving is served, and told to close; new ones find nobody."""
    written(tmp_path / "prompts", **RULES_ONLY)
    with process(tmp_path, "serve") as started:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            async with session.post(f"{started.base}/route", json=BODY) as response:
                assert response.status == 200
                assert response.headers.get("Connection") != "close"
            started.signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                while "draining" not in started.log.read_text():  # noqa: ASYNC110 - a log
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            async with session.post(f"{started.base}/route", json=BODY) as response:
                assert response.status == 200
                assert response.headers.get("Connection") == "close"
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.post(f"{started.base}/route", json=BODY)
        assert await asyncio.to_thread(started.ends) == 0


def test_a_worker_knows_that_it_is_not_alone(tmp_path: Path) -> None:
    """However their number was said: what one writes to the store, the others must see at once."""
    written(tmp_path / "prompts", **RULES_ONLY)
    with process(tmp_path, "serve", workers=2) as started:
        for pid in started.workers():
            told = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            assert told[told.index("--workers") + 1] == "2"


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """The other one serves meanwhile."""
    written(tmp_path / "prompts", **RULES_ONLY)
    with process(tmp_path, "serve", workers=2) as started:
        before = started.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                now = started.workers()
                if len(now) == 2 and victim not in now:
                    break
                await asyncio.sleep(0.05)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{started.base}/route", json=BODY) as response,
        ):
            assert response.status == 200


async def test_a_replacement_that_cannot_serve_replaces_nobody(tmp_path: Path) -> None:
    """SIGHUP with a broken catalog on disk: the workers that hold the good one go on."""
    written(tmp_path / "prompts", **RULES_ONLY)
    with process(tmp_path, "serve", workers=2) as started:
        before = started.workers()
        (tmp_path / "prompts" / "routing.yaml").write_text("default: nobody\n")
        started.signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while "the old ones go on" not in started.log.read_text():  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.05)
        assert started.workers() == before
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{started.base}/route", json=BODY) as response,
        ):
            assert response.status == 200


def test_workers_that_cannot_start_end_the_service_with_the_reason(tmp_path: Path) -> None:
    """Once, not ten times, and with the status of one that was asked in vain."""
    (tmp_path / "prompts").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "llmrouter", "serve", "--workers", "2", "--port", str(free_port())],
        env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("the catalog cannot be served") == 1


def test_an_address_in_use_is_an_error() -> None:
    """It is not shared with whoever holds it."""
    held = bind("127.0.0.1", 0)
    with held, pytest.raises(OSError, match="already in use"):
        bind("127.0.0.1", held.getsockname()[1])


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_listens_on_ipv6() -> None:
    """An address with colons is one."""
    try:
        with bind("::1", 0) as listening:
            assert listening.family is socket.AF_INET6
    except OSError:
        pytest.skip("the loopback has no IPv6")


class Resting:
    """An aiohttp runner with a connection that somebody keeps open."""

    def __init__(self) -> None:
        app = web.Application()
        self.runner = web.AppRunner(app)

    async def __aenter__(self) -> tuple[web.AppRunner, int]:
        """The runner and its port."""
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        return self.runner, server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        await self.runner.cleanup()


async def test_rest_comes_at_once_without_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle service does not make its operator wait."""
    monkeypatch.setattr("llmrouter.server.worker.IDLE_S", 3600.0)
    async with Resting() as (runner, _), asyncio.timeout(30):
        assert await _at_rest(LoadShedder(), runner, 3600.0, asyncio.Event())


async def test_an_idle_connection_gets_its_time_and_not_more() -> None:
    """It may still send one request; then it is closed on."""
    async with Resting() as (runner, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(10):
            while not (runner.server and runner.server.connections):  # noqa: ASYNC110 - a socket
                await asyncio.sleep(0.005)
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await _at_rest(LoadShedder(), runner, 30.0, asyncio.Event())
        assert loop.time() - before >= IDLE_S
        writer.close()


async def test_what_runs_too_long_is_given_up() -> None:
    """The limit holds, and says that something still ran."""
    async with Resting() as (runner, _):
        admission = LoadShedder()
        task = admission.enter()
        assert not await _at_rest(admission, runner, 0.05, asyncio.Event())
        admission.leave(task)
        assert await _at_rest(admission, runner, 0.05, asyncio.Event())


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
async def test_what_lies_free_between_blocks_in_use_goes_back() -> None:
    """Most of what was freed is no longer resident, whatever is still in use around it."""
    blocks = [bytearray(b"x" * 12_000) for _ in range(4_000)]
    full = resident_bytes()
    kept = blocks[::16]
    del blocks
    await trim_malloc()
    assert full - resident_bytes() > 20_000_000
    assert len(kept) == 250
