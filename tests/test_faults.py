"""The whole service in front of an upstream that fails in every way: answers, spans, leaks.

`SOAK_REQUESTS=10000` makes the soak as long as an operator's bad day; its default keeps it short.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer

from llmrouter import bootstrap
from llmrouter.bootstrap import Service, service
from llmrouter.settings import Settings
from llmrouter.upstream.health import TargetHealth
from tests.faulty import MODES, FaultyUpstream
from tests.telemetry.receiver import receiver, values

NEVER = ("hang", "loris")  # no first token, however long one waits
ENDS = (
    "refuse", "reset", "html", "plain", "nothing", "only_done", "no_choices", "blank", "array",
    "error_200", "bad_utf8", "redirect", "no_content", "s401", "s403", "s404", "s408",
    "s409", "s425", "s500", "s502", "s503", "s504", "s529",
)  # fmt: skip
WAITS = {"busy": "1", "storm": "30"}  # rate limits, and for how long each rests
OWN = {"s400": 400, "s413": 413, "s422": 422, "long": 400, "filtered": 400}
BREAKS = ("cut", "truncated", "error_mid", "hang_mid", "loris_mid")  # streams, after a first token
NAMES = (*MODES, "refuse")
SOAK = int(os.environ.get("SOAK_REQUESTS", "1000"))
CLIENTS = 10
TARGET = """\
---
model: {name}-model
provider: openai
base_url: {url}
price: {{input: 1, output: 2}}
context_window: 8000
timeout_s: {timeout_s}
stall_timeout_s: 2
---
The one that does {name}.
"""


@dataclass
class Front:
    """The service, the upstream behind it, and a client."""

    service: Service
    upstream: FaultyUpstream
    client: aiohttp.ClientSession
    answers: Counter[str] = field(default_factory=Counter)

    def ask(self, mode: str, stream: bool, *, alone: bool, **over: Any) -> Any:
        """A request to the target that fails like this, pinned, or with `ok` to fall back to."""
        messages = [{"role": "user", "content": f"use {mode} now"}]
        body: dict[str, Any] = {"model": mode, "messages": messages, "stream": stream, **over}
        if not alone:
            body |= {"model": "auto", "router": {"allow": [mode, "ok"]}}
        return self.client.post("/complete", json=body)


@contextlib.asynccontextmanager
async def front(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    hang_s: float = 0.5,
    threshold: int = 10**9,
    **settings: str,
) -> AsyncIterator[Front]:
    """The service over a catalog of one target a fault; no circuit opens by failures alone, unless
    after `threshold` of them. `settings` are further lines of a target's file, by its name."""
    monkeypatch.setattr(bootstrap, "TargetHealth", functools.partial(TargetHealth, threshold))
    prompts = directory / "prompts"
    (prompts / "catalog").mkdir(parents=True)
    rules = [f"  - {{name: {m}, when: {{matches: 'use {m} now'}}, route: {m}}}" for m in NAMES]
    routing = "default: ok\nfallback: {retries: 0}\nrules:\n" + "\n".join(rules) + "\n"
    (prompts / "routing.yaml").write_text(routing, encoding="utf-8")
    router = "{% for target in targets %}{{ target.id }}: {{ target.description }}{% endfor %}"
    (prompts / "router.md").write_text(router, encoding="utf-8")
    async with FaultyUpstream() as upstream:
        for name in NAMES:
            text = TARGET.format(
                name=name, url=upstream.url(name), timeout_s=hang_s if name in NEVER else 60
            )
            text = text.replace("\n---\nThe", f"\n{settings.get(name, '')}\n---\nThe")
            (prompts / "catalog" / f"{name}.md").write_text(text, encoding="utf-8")
        settings = Settings(
            prompts=prompts, store=f"disk:{directory / 'store'}", port=0, _env_file=None
        )
        async with (
            service(settings) as built,
            TestServer(built.app) as server,
            aiohttp.ClientSession(str(server.make_url("/"))) as client,
        ):
            yield Front(built, upstream, client)


def events(body: bytes) -> list[bytes]:
    """The data of a stream's events."""
    return [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part]


def is_error(body: bytes) -> bool:
    """Whether it is an error as OpenAI's clients know it."""
    return set(orjson.loads(body)["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_every_fault_has_its_answer_and_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Alone one clear error, with a fallback the fallback's whole answer, and a trace of both."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        async with front(tmp_path, monkeypatch) as up:
            for mode in (*NEVER, *ENDS, *WAITS):
                async with up.ask(mode, stream, alone=True) as response:
                    body = await response.read()
                    status = 429 if mode in WAITS else 502
                    assert (mode, response.status, is_error(body)) == (mode, status, True)
                    assert mode in orjson.loads(body)["error"]["message"]
                assert response.headers.get("Retry-After") == WAITS.get(mode)
                if mode in WAITS:
                    continue
                async with up.ask(mode, stream, alone=False) as response:
                    body = await response.read()
                    assert (mode, response.status) == (mode, 200)
                    told = events(body)[-2] if stream else body
                    tried = [a["outcome"] for a in orjson.loads(told)["router"]["attempts"]]
                    assert (mode, tried) == (mode, ["failed", "ok"])
            for mode, status in OWN.items():
                async with up.ask(mode, stream, alone=False) as response:
                    assert (mode, response.status) == (mode, status)
                    assert orjson.loads(await response.read())["error"]["message"]
            for mode in BREAKS if stream else ():
                async with up.ask(mode, stream, alone=False) as response:
                    *said, last = events(await response.read())
                    assert (mode, response.status, is_error(last)) == (mode, 200, True)
                    assert b"Fo" in b"".join(said)
    broken = (*NEVER, *ENDS, *WAITS, *OWN, *(BREAKS if stream else ()))
    chats = {mode: [s for s in collector.spans if s.name == f"chat {mode}-model"] for mode in NAMES}
    for mode in broken:
        assert chats[mode], mode
        assert all("error.type" in values(span.attributes) for span in chats[mode]), mode
    assert len(chats["ok"]) == len((*NEVER, *ENDS))
    assert not any("error.type" in values(span.attributes) for span in chats["ok"])
    roots = {s.trace_id for s in collector.spans if s.name == "POST /complete"}
    assert len(roots) == len((*NEVER, *ENDS)) + len(broken)
    assert {span.trace_id for span in collector.spans} == roots


@pytest.mark.parametrize(("mode", "stream"), [("hang", False), ("hang", True), ("drip", True)])
async def test_a_caller_who_leaves_frees_the_upstream_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, stream: bool
) -> None:
    """Before a first token and in the middle of a stream; its place in the service is free too."""
    async with front(tmp_path, monkeypatch, hang_s=60) as up:
        leaving = asyncio.ensure_future(left_after_some(up, mode, stream))
        async with asyncio.timeout(30):
            while not up.upstream.seen:  # noqa: ASYNC110 - a socket
                await asyncio.sleep(0.005)
            if mode == "drip":
                await leaving
            leaving.cancel()
            while not up.upstream.left:  # noqa: ASYNC110 - a socket
                await asyncio.sleep(0.005)
        await at_rest(up)


async def left_after_some(up: Front, mode: str, stream: bool) -> None:
    """A caller who reads once and closes the connection."""
    async with up.ask(mode, stream, alone=True) as response:
        await response.content.readany()
        response.close()


async def client(up: Front, numbers: range) -> None:
    """Requests one after the other, each with a fault; some callers leave in the middle."""
    modes = [*ENDS, *OWN, "cut", "truncated", "error_mid", "drip", "ok"]
    for number in numbers:
        mode = "hang" if number % 97 == 0 else modes[number % len(modes)]
        stream = mode == "drip" or number % 2 == 0
        async with up.ask(mode, stream, alone=number % 3 == 0) as response:
            if mode == "drip":
                await response.content.readany()
                up.answers["left"] += 1
                response.close()
                continue
            body = await response.read()
            if response.status != 200:
                assert is_error(body) or response.status in OWN.values(), body
            elif stream:
                last = events(body)[-1]
                assert last == b"[DONE]" or is_error(last), (mode, body)
            else:
                assert orjson.loads(body)["router"]["attempts"], mode
            up.answers[str(response.status)] += 1


async def some(up: Front, start: int, count: int) -> int:
    """So many faulty requests by all clients at once; how many objects live after them."""
    for first in range(start, start + count, 100):
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(client(up, range(first + number, first + 100, CLIENTS)))
        up.upstream.seen.clear()
    await at_rest(up)
    gc.collect()
    return len(gc.get_objects())


async def at_rest(up: Front) -> None:
    """Nothing runs any more: no request, no answer that somebody left."""
    async with asyncio.timeout(30):
        while up.service.admission.running:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_faulty_requests_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has an answer; no task, socket or file is left, and memory does not grow with them."""
    tasks, files = asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))
    async with front(tmp_path, monkeypatch) as up:
        await some(up, 0, 300)
        before, running = await some(up, 300, 300), len(asyncio.all_tasks())
        after = await some(up, 600, SOAK)
        assert len(asyncio.all_tasks()) <= running + CLIENTS  # kept connections differ
        _, metrics = await shown(up, "/metrics")
    assert sum(up.answers.values()) == SOAK + 600
    assert up.answers["502"] > SOAK / 8
    assert up.answers["200"] > SOAK / 3
    assert "llmrouter_requests_in_flight 1.0" in metrics
    assert after - before < SOAK / 4 + 2000
    async with asyncio.timeout(30):
        while asyncio.all_tasks() - tasks:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        while len(os.listdir("/proc/self/fd")) > files + 2:  # noqa: ASYNC110 - sockets close behind
            await asyncio.sleep(0.01)


async def shown(up: Front, path: str) -> tuple[int, str]:
    """Status and text of a GET."""
    async with up.client.get(path) as response:
        return response.status, await response.text()


async def test_a_clock_that_jumps_breaks_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back a day, on ten years, and home again: every request has its answer and its times."""
    wall, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + jump[0])
    async with front(tmp_path, monkeypatch) as up:
        for jump[0] in (0.0, -86_400.0, 10 * 365 * 86_400.0, 0.0):
            for mode in ("ok", "s500", "storm"):
                async with up.ask(mode, False, alone=False) as response:
                    router = orjson.loads(await response.read())["router"]
                    assert response.status == 200
                assert 0 <= router["latency_ms"] < 60_000
                assert all(0 <= a["latency_ms"] < 60_000 for a in router["attempts"])
            found, _ = await shown(up, f"/decisions/{router['decision_id']}")
            assert found == 200
        assert up.upstream.hits("storm") == 1  # it asked to be left alone, by no wall clock
