"""Leaving with requests in flight: they finish, or are told; nobody is left without an answer.

The upstream holds every reply until the test lets go, so what is in flight at a signal is no matter
of luck.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.served import Process, process
from tests.test_server import Load, changed, loaded

PATIENT = SMALL.replace("latency:", "ttft_timeout_s: 300\nstall_timeout_s: 300\nlatency:")
RULES_ONLY = {
    "routing": ROUTING.split("router:")[0] + "rules: []\n",
    "small": PATIENT,
    "large": PATIENT.replace("small", "large"),
}
HI = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


def _chunk(text: str, finish: str | None = None) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + orjson.dumps({**chunk, "choices": [delta]}) + b"\n\n"


@dataclass
class Upstream:
    """Streams its first words at once; the rest, and whole answers, wait for `let_go`."""

    base: str = ""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    left: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One completion."""
        self.asked += 1
        try:
            return await self._answer(request, (await request.json()).get("stream", False))
        except asyncio.CancelledError:
            self.left += 1
            raise

    async def _answer(self, request: web.Request, stream: bool) -> web.StreamResponse:
        if not stream:
            await self.let_go.wait()
            message = {"role": "assistant", "content": "done"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_chunk("wait"))
        await self.let_go.wait()
        await response.write(_chunk("ed", "stop") + b"data: [DONE]\n\n")
        return response


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """It, on a socket."""
    held = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", held.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    held.base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield held
    finally:
        held.let_go.set()
        await runner.cleanup()


@dataclass
class Flight:
    """Two streams that have begun and two whole answers that have not, one of each a path."""

    session: aiohttp.ClientSession
    started: list[aiohttp.ClientResponse]
    whole: list[asyncio.Task[tuple[int, str, Any]]]

    async def ends(self) -> tuple[list[str], list[tuple[int, str, Any]]]:
        """The streams' text, and status, `Connection` and document of the whole answers."""
        async with asyncio.timeout(60):
            return [await one.text() for one in self.started], await asyncio.gather(*self.whole)


@contextlib.asynccontextmanager
async def in_flight(base: str, held: Upstream) -> AsyncIterator[Flight]:
    """Requests that wait for the upstream, seen there."""

    async def whole(path: str) -> tuple[int, str, Any]:
        async with session.post(base + path, json=HI) as response:
            said = response.headers.get("Connection", "")
            return response.status, said.lower(), await response.json()

    async with aiohttp.ClientSession() as session:
        before = held.asked
        started = [
            await session.post(base + path, json={**HI, "stream": True})
            for path in (PATH, "/complete")
        ]
        for response in started:
            assert response.status == 200
            assert b"wait" in await response.content.readuntil(b"\n\n")
        tasks = [asyncio.ensure_future(whole(path)) for path in (PATH, "/complete")]
        async with asyncio.timeout(30):
            while held.asked < before + 4:  # noqa: ASYNC110 - another process asks
                await asyncio.sleep(0.01)
        yield Flight(session, started, tasks)
        for response in started:
            response.close()


async def logged(started: Process, text: str) -> None:
    """Wait until the service says so."""
    async with asyncio.timeout(60):
        while text not in started.log.read_text():  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.01)


async def refused(base: str) -> None:
    """Wait until nobody takes connections any more."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{base}/healthz"):
                    pass
            except aiohttp.ClientConnectionError:
                return
            await asyncio.sleep(0.01)


async def test_what_runs_when_the_service_leaves_is_answered_whole(tmp_path: Path) -> None:
    """Long after the socket is closed, for as long as the drain allows."""
    written(tmp_path / "prompts", **RULES_ONLY)
    async with upstream() as held:
        settings = {"LLMROUTER_DEMO_UPSTREAM": held.base, "LLMROUTER_DRAIN_S": "60"}
        with process(tmp_path, "serve", **settings) as started:
            async with in_flight(started.base, held) as flight:
                started.signal(signal.SIGTERM)
                await refused(started.base)
                await asyncio.sleep(0.5)
                assert started.popen.poll() is None
                held.let_go.set()
                streams, answers = await flight.ends()
            assert await asyncio.to_thread(started.ends) == 0
    assert all(text.endswith("data: [DONE]\n\n") for text in streams), streams
    assert '"router":' in streams[1]
    assert [status for status, _, _ in answers] == [200, 200]
    assert {said for _, said, _ in answers} == {"close"}
    assert "Traceback" not in started.log.read_text()


async def test_workers_are_replaced_around_what_runs(tmp_path: Path) -> None:
    """Old workers keep their streams, new ones take what comes; not one request is lost."""
    written(tmp_path / "prompts", **RULES_ONLY)
    async with upstream() as held:
        settings = {"LLMROUTER_DEMO_UPSTREAM": held.base, "LLMROUTER_DRAIN_S": "60"}
        with process(tmp_path, "serve", workers=2, **settings) as started:
            before = started.workers()
            async with in_flight(started.base, held) as flight:
                load = Load(started.base)
                async with loaded(load, watched=False):
                    for _ in range(2):
                        await load.reached(100)
                        started.signal(signal.SIGHUP)
                        await logged_times(started, "serving on", 2)
                    await load.reached(100)
                assert load.lost == []
                assert len(started.workers() & before) >= 1, "nobody is left to finish the streams"
                held.let_go.set()
                streams, answers = await flight.ends()
            after = await changed(started, before)
            assert len(after) == 2
    assert all(text.endswith("data: [DONE]\n\n") for text in streams), streams
    assert [status for status, _, _ in answers] == [200, 200]
    assert "Traceback" not in started.log.read_text()


async def logged_times(started: Process, text: str, more: int) -> None:
    """Wait until the service has said so that many more times."""
    wanted = started.log.read_text().count(text) + more
    async with asyncio.timeout(60):
        while started.log.read_text().count(text) < wanted:  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["time is up", "asked again"])
async def test_what_takes_too_long_is_told_so(tmp_path: Path, how: str) -> None:
    """A stream ends with an error event, a waiting request with a 503; the upstreams are let go."""
    written(tmp_path / "prompts", **RULES_ONLY)
    drain_s = "0.3" if how == "time is up" else "600"
    async with upstream() as held:
        settings = {"LLMROUTER_DEMO_UPSTREAM": held.base, "LLMROUTER_DRAIN_S": drain_s}
        with process(tmp_path, "serve", **settings) as started:
            async with in_flight(started.base, held) as flight:
                started.signal(signal.SIGTERM)
                if how == "asked again":
                    await logged(started, "draining")
                    started.signal(signal.SIGTERM)
                streams, answers = await flight.ends()
            assert await asyncio.to_thread(started.ends) == 0
        async with asyncio.timeout(30):
            while held.left < 4:  # noqa: ASYNC110 - another process leaves
                await asyncio.sleep(0.01)
    for text in streams:
        last = orjson.loads(text.rstrip().rpartition("data: ")[2])
        assert last["error"]["code"] == "draining"
        assert "[DONE]" not in text
    for status, said, body in answers:
        assert (status, said, body["error"]["code"]) == (503, "close", "draining")
    assert "Traceback" not in started.log.read_text()


async def test_a_worker_leaves_the_terminals_signals_to_its_parent(tmp_path: Path) -> None:
    """Ctrl-C reaches all of them at once; only the parent's word counts, and once is not twice."""
    written(tmp_path / "prompts", **RULES_ONLY)
    async with upstream() as held:
        settings = {"LLMROUTER_DEMO_UPSTREAM": held.base, "LLMROUTER_DRAIN_S": "60"}
        with process(tmp_path, "serve", workers=2, **settings) as started:
            async with in_flight(started.base, held) as flight:
                for pid in started.workers():
                    os.kill(pid, signal.SIGINT)
                started.signal(signal.SIGINT)
                await refused(started.base)
                held.let_go.set()
                streams, answers = await flight.ends()
            assert await asyncio.to_thread(started.ends) == 0
    assert all(text.endswith("data: [DONE]\n\n") for text in streams), streams
    assert [status for status, _, _ in answers] == [200, 200]


async def test_a_stream_begun_while_leaving_says_it_is_the_last(tmp_path: Path) -> None:
    """So that the connection's next request goes to somebody else."""
    written(tmp_path / "prompts", **RULES_ONLY)
    async with upstream() as held:
        settings = {"LLMROUTER_DEMO_UPSTREAM": held.base, "LLMROUTER_LEAVE_S": "60"}
        with process(tmp_path, "serve", **settings) as started:
            started.signal(signal.SIGTERM)
            await logged(started, "draining")
            held.let_go.set()
            async with (
                aiohttp.ClientSession() as session,
                session.post(started.base + PATH, json={**HI, "stream": True}) as response,
            ):
                assert response.status == 200
                assert response.headers["Connection"] == "close"
                assert (await response.text()).endswith("data: [DONE]\n\n")
            started.signal(signal.SIGTERM)
            assert await asyncio.to_thread(started.ends) == 0
