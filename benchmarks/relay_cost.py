"""CPU of relaying beside a bare client loop: `python benchmarks/relay_cost.py`.

The upstream runs in a process of its own; what is printed is this process's CPU time alone. The
bare loop posts the same body with aiohttp and reads the answer (or each chunk) without looking.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from llmrouter.domain.catalog import Catalog, Prompts
from llmrouter.domain.chat import ChatRequest, Message
from llmrouter.domain.completion import UpstreamRequest
from llmrouter.domain.decision import Decision, Estimate, Source
from llmrouter.domain.target import Price, Target
from llmrouter.execution.executor import Executor
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.upstream.client import UpstreamClient
from llmrouter.upstream.health import TargetHealth

CHUNKS = 200
ROUNDS = 5
TEXT = "The quick brown fox jumps over the lazy dog. " * 12
WHOLE = json.dumps(
    {
        "id": "cmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
    }
).encode()


def _chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
    document = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "model": "m"}
    return b"data: " + json.dumps({**document, "choices": [choice]}).encode() + b"\n\n"


async def _answer(request: web.Request) -> web.StreamResponse:
    if not (await request.json()).get("stream"):
        return web.Response(body=WHOLE, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(CHUNKS):
        await response.write(_chunk(" word"))
        await asyncio.sleep(0)
    await response.write(_chunk("", "stop") + b"data: [DONE]\n\n")
    return response


def _serve(port: int) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answer)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


class Silent:
    """A span and an observer that do nothing: telemetry is measured elsewhere."""

    def attempt(self, *_: object) -> contextlib.AbstractContextManager[Silent]:
        """No span."""
        return self

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def headers(self) -> dict[str, str]:
        """No context."""
        return {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


async def _measure(work: Callable[[], Awaitable[int]], times: int) -> float:
    """Microseconds of CPU per unit; `work` returns how many units it did."""
    await work()
    best = float("inf")
    for _ in range(ROUNDS):
        units = 0
        started = time.process_time()
        for _ in range(times):
            units += await work()
        best = min(best, (time.process_time() - started) / units)
    return best * 1e6


async def _main(port: int) -> None:
    base = f"http://127.0.0.1:{port}/v1"
    target = Target("t", "m", "openai", base, Price(1, 2), 128_000, "")
    catalog = Catalog({"t": target}, "t", Prompts("x"))
    estimate = Estimate(100, 100, 0.0, 1.0)
    decision = Decision(
        "d", "t", "m", "openai", Source.RULES, 1.0, "x", "x", (), (), (), estimate, "v", "f", 0.1
    )
    relay, observer = UpstreamClient(), Silent()
    executor = Executor(relay, observer, TargetHealth())  # type: ignore[arg-type] # does nothing

    def a_request(stream: bool) -> ChatRequest:
        document: Mapping[str, Any] = {
            "model": "auto",
            "messages": [{"role": "user", "content": TEXT}],
            "stream": stream,
        }
        body = json.dumps(document).encode()
        return ChatRequest(body, document, (Message("user", TEXT),), model="auto", stream=stream)

    rows = []
    async with aiohttp.ClientSession() as session:
        for stream in (False, True):
            request = a_request(stream)

            async def bare(request: ChatRequest = request, stream: bool = stream) -> int:
                headers = {"Content-Type": "application/json"}
                async with session.post(
                    base + "/chat/completions", data=request.body, headers=headers
                ) as response:
                    if not stream:
                        await response.read()
                        return 1
                    async for _ in response.content.iter_any():
                        pass
                    return CHUNKS

            async def relayed(request: ChatRequest = request, stream: bool = stream) -> int:
                call = UpstreamRequest(target, request.body, stream, 60.0, {})
                async with relay.send(call) as events:
                    async for _ in events:
                        pass
                return CHUNKS if stream else 1

            async def executed(request: ChatRequest = request, stream: bool = stream) -> int:
                execution = executor.run(ExecutionRequest(request, decision, catalog))
                await execution.open()
                async for _ in execution:
                    pass
                return CHUNKS if stream else 1

            times = 20 if stream else 1000
            rows.append([await _measure(one, times) for one in (bare, relayed, executed)])
    await relay.close()
    print(f"{'CPU, µs':<24}{'bare':>9}{'relay':>9}{'executor':>10}{'added':>8}")
    for name, (bare_us, relay_us, executor_us) in zip(
        ("whole reply", "streamed chunk"), rows, strict=True
    ):
        print(
            f"{name:<24}{bare_us:>9.1f}{relay_us:>9.1f}{executor_us:>10.1f}"
            f"{executor_us - bare_us:>8.1f}"
        )


@contextlib.contextmanager
def _upstream() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
            break
        time.sleep(0.05)
    try:
        yield port
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    with _upstream() as upstream_port:
        uvloop.run(_main(upstream_port))
