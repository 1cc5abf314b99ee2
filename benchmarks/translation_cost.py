"""What translating costs beside relaying: `python benchmarks/translation_cost.py`.

The upstream runs in a process of its own and speaks all three formats, the client in another. The
first table is this process's CPU time for one pinned completion, a turn of a tool loop, for each
format that a caller speaks and each that a target does, beside the relayed one of the same caller.
(With a decision from the cache both cost the same more, so the ratio is smaller.) The second is
the time that translating adds until a stream's first token is out. The budgets are 1.5 × and 1 ms;
the exit code says whether they were kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from llmrouter.simulator import messages, responses
from llmrouter.simulator.app import SimOptions, create_app
from llmrouter.simulator.replies import Reply
from llmrouter.upstream.protocols.interface import AnswerContext
from llmrouter.upstream.protocols.registry import BY_NAME, FORMATS, TranslatedEvents
from llmrouter.upstream.stream_parser import Stream

ROUNDS, REQUESTS = 7, 200
MAX_RATIO, MAX_FIRST_MS = 1.5, 1.0
PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
}
TEXT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 40
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string", "description": "A part."} for name in "abcdef"},
}
ARGUMENTS = {"a": "x" * 50, "b": "y" * 50}
FRONT = """---
model: {name}-1
provider: bench
base_url: http://127.0.0.1:1/v1
price: {{input: 1, output: 2}}
context_window: 200000
capabilities: [tools]
protocol: {name}
---
A target.
"""


def body_of(source: str) -> dict[str, Any]:
    """A turn of a tool loop in one format, without the model."""
    names = [f"tool_{number}" for number in range(8)]
    about = "A tool that does something."
    given = orjson.dumps(ARGUMENTS).decode()
    if source == "anthropic-messages":
        call = {"type": "tool_use", "id": "c1", "name": names[0], "input": ARGUMENTS}
        result = {"type": "tool_result", "tool_use_id": "c1", "content": TEXT}
        return {
            "max_tokens": 500,
            "system": TEXT,
            "messages": [
                {"role": "user", "content": TEXT},
                {"role": "assistant", "content": [call]},
                {"role": "user", "content": [result]},
            ],
            "tools": [{"name": n, "description": about, "input_schema": SCHEMA} for n in names],
        }
    functions = [{"name": n, "description": about, "parameters": SCHEMA} for n in names]
    if source == "openai-responses":
        called = {"type": "function_call", "call_id": "c1", "name": names[0], "arguments": given}
        output = {"type": "function_call_output", "call_id": "c1", "output": TEXT}
        return {
            "instructions": TEXT,
            "input": [{"role": "user", "content": TEXT}, called, output],
            "tools": [{"type": "function", **function} for function in functions],
        }
    function = {"name": names[0], "arguments": given}
    return {
        "messages": [
            {"role": "system", "content": TEXT},
            {"role": "user", "content": TEXT},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": TEXT},
        ],
        "tools": [{"type": "function", "function": function} for function in functions],
    }


def _serve(port: int) -> None:
    uvloop.install()
    app = create_app(SimOptions(latency_scale=0))
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@contextlib.contextmanager
def _upstream() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    for _ in range(200):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 0.1),
        ):
            break
        time.sleep(0.05)
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def _prompts(directory: Path) -> Path:
    (directory / "catalog").mkdir(parents=True)
    for name in PATHS:
        (directory / "catalog" / f"{name}.md").write_text(FRONT.format(name=name))
    (directory / "routing.yaml").write_text("default: openai-chat\n")
    (directory / "router.md").write_text("{% for t in targets %}{{ t.id }}\n{% endfor %}")
    return directory


def _send(base: str, path: str, body: bytes) -> None:
    """Send one request many times, in a process of its own."""

    async def send() -> None:
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(base, headers=headers) as client:
            for _ in range(REQUESTS):
                async with client.post(path, data=body) as response:
                    await response.read()
                    assert response.status == 200

    asyncio.run(send())


async def _cpu_us(pool: ProcessPoolExecutor, base: str, source: str, spoken: str) -> float:
    """CPU of this process for one request, in microseconds."""
    body = orjson.dumps({"model": spoken, **body_of(source)})
    started = time.process_time()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(pool, _send, base, PATHS[source], body)
    return (time.process_time() - started) / REQUESTS * 1e6


def _streamed(spoken: str) -> bytes:
    """A stream of one format."""
    reply = Reply(("One ", "two."), "stop", -0.1)
    if spoken == "anthropic-messages":
        return b"".join(messages.events({"model": "m", "messages": []}, reply))
    if spoken == "openai-responses":
        return b"".join(responses.events({"model": "m", "input": "hi"}, reply))
    delta = {"index": 0, "delta": {"content": "One "}, "finish_reason": None}
    return b"data: " + orjson.dumps({"id": "x", "model": "m", "choices": [delta]}) + b"\n\n"


def _first_token_us(source: str, spoken: str) -> float:
    """What translation adds until the first token is out, in microseconds."""
    formats = {one.name: one for one in FORMATS}
    raw = _streamed(spoken)
    context = AnswerContext(body_of(source))
    added = []
    for _ in range(300):
        stream = Stream(BY_NAME[spoken])
        stream.feed(raw)
        events = list(stream.ready)
        started = time.perf_counter()
        translated = TranslatedEvents(formats[source], formats[spoken], context)
        for event in events:
            if b"One " in translated.feed(event).data:
                break
        else:
            raise AssertionError("the token did not come out")
        added.append(time.perf_counter() - started)
    return statistics.median(added) * 1e6


async def _measured(port: int) -> dict[tuple[str, str], float]:
    """The least CPU of each pair, taken in turns, so that all see the same machine."""
    os.environ["LLMROUTER_DEMO_UPSTREAM"] = f"http://127.0.0.1:{port}/v1"
    best: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as directory:
        prompts = _prompts(Path(directory) / "prompts")
        settings = Settings(prompts=prompts, store=f"disk:{directory}/store", _env_file=None)
        async with service(settings) as built:
            runner = web.AppRunner(built.app, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                for _ in range(ROUNDS):
                    for pair in ((source, spoken) for source in PATHS for spoken in PATHS):
                        took = await _cpu_us(pool, base, *pair)
                        best[pair] = min(took, best.get(pair, took))
            await runner.cleanup()
    return best


def main() -> bool:
    """Print the tables. Whether the budgets were kept."""
    with _upstream() as port:
        best = asyncio.run(_measured(port))
    print(f"{'caller':20}{'target':20}{'µs CPU':>10}{'ratio':>8}{'first token, µs':>18}")
    ratios, firsts = [], []
    for source in PATHS:
        for spoken in PATHS:
            ratio = best[source, spoken] / best[source, source]
            line = f"{source:20}{spoken:20}{best[source, spoken]:10.0f}{ratio:8.2f}"
            if source != spoken:
                ratios.append(ratio)
                firsts.append(_first_token_us(source, spoken))
                line += f"{firsts[-1]:18.0f}"
            print(line)
    print(f"at most {max(ratios):.2f} × (budget {MAX_RATIO}), {max(firsts) / 1000:.3f} ms")
    return max(ratios) <= MAX_RATIO and max(firsts) <= MAX_FIRST_MS * 1000


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
