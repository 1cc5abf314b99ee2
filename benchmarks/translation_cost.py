"""What translating costs beside relaying: `python benchmarks/translation_cost.py`.

The upstream runs in a process of its own and speaks Messages and chat completions. Printed is this
process's CPU time for a pinned Messages request that is relayed and for one that is translated (the
client runs in another process), and the time that translation adds to a stream's first token.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import aiohttp
import orjson
import uvloop
from aiohttp import web

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from llmrouter.simulator.app import SimOptions, create_app
from llmrouter.upstream.protocols.interface import AnswerContext
from llmrouter.upstream.protocols.registry import BY_NAME, FORMATS, TranslatedEvents
from llmrouter.upstream.stream_parser import Stream

ROUNDS, REQUESTS = 7, 300
TEXT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 40
FRONT = """---
model: {name}-1
provider: bench
base_url: http://127.0.0.1:1/v1
price: {{input: 1, output: 2}}
context_window: 200000
protocol: {protocol}
---
A target.
"""


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
    for name, protocol in (("claude", "anthropic-messages"), ("chat", "openai-chat")):
        text = FRONT.format(name=name, protocol=protocol)
        (directory / "catalog" / f"{name}.md").write_text(text)
    (directory / "routing.yaml").write_text("default: chat\n")
    (directory / "router.md").write_text("{% for t in targets %}{{ t.id }}\n{% endfor %}")
    return directory


def _send(base: str, body: bytes, count: int) -> None:
    """Send one request `count` times, in a process of its own."""

    async def send() -> None:
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(base, headers=headers) as client:
            for _ in range(count):
                async with client.post("/v1/messages", data=body) as response:
                    await response.read()
                    assert response.status == 200

    asyncio.run(send())


async def _cpu_us(pool: ProcessPoolExecutor, base: str, model: str) -> float:
    """CPU of this process for one request, in microseconds."""
    body = orjson.dumps(
        {
            "model": model,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": TEXT}],
        }
    )
    started = time.process_time()
    await asyncio.get_running_loop().run_in_executor(pool, _send, base, body, REQUESTS)
    return (time.process_time() - started) / REQUESTS * 1e6


def _first_token_us() -> float:
    """What translation adds until the first token of a chat stream is out as Messages."""
    delta = {"index": 0, "delta": {"content": "word"}, "finish_reason": None}
    chunk = b"data: " + orjson.dumps({"id": "x", "model": "m", "choices": [delta]}) + b"\n\n"
    formats = {spoken.name: spoken for spoken in FORMATS}
    source, spoken = formats["anthropic-messages"], formats["openai-chat"]
    added = []
    for _ in range(500):
        stream = Stream(BY_NAME[spoken.name])
        stream.feed(chunk)
        event = stream.ready.popleft()
        started = time.perf_counter()
        told = TranslatedEvents(source, spoken, AnswerContext()).feed(event)
        added.append(time.perf_counter() - started)
        assert b"text_delta" in told.data
    return statistics.median(added) * 1e6


async def _main(port: int) -> None:
    os.environ["LLMROUTER_DEMO_UPSTREAM"] = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryDirectory() as directory:
        prompts = _prompts(Path(directory) / "prompts")
        settings = Settings(prompts=prompts, store=f"disk:{directory}/store", _env_file=None)
        async with service(settings) as built:
            runner = web.AppRunner(built.app, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            best: dict[str, float] = {}
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                for _ in range(ROUNDS):  # in turns, so that both see the same machine
                    for model in ("claude", "chat"):
                        took = await _cpu_us(pool, base, model)
                        best[model] = min(took, best.get(model, took))
            relayed, translated = best["claude"], best["chat"]
            await runner.cleanup()
    print(f"relayed    {relayed:8.0f} µs CPU")
    print(f"translated {translated:8.0f} µs CPU")
    print(f"ratio      {translated / relayed:8.2f}")
    print(f"first token {_first_token_us():7.0f} µs added")


def main() -> None:
    """Print the figures."""
    with _upstream() as port:
        asyncio.run(_main(port))


if __name__ == "__main__":
    main()
