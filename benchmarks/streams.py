"""A thousand streams at once through one worker: memory, silence, completion.

`python -m benchmarks.streams`. Three processes on the loopback: a lean upstream that says a word
every so often, `llmrouter serve` with its default settings, and this one, which holds all streams
open at once and looks at every chunk's time. A stream has stalled when it was silent far longer
than the upstream was. What the machine itself takes is in it: the same clients straight at the
upstream are the row beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
import uvloop
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.load import post
from benchmarks.processes import Server, free_port, running

BODY = orjson.dumps(
    {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
)
PATH = "/v1/chat/completions"
RAMP_S = 4.0
LIMIT_S = 120.0


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """One SSE event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    document = {"id": "s-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(document) + b"\n\n"


def upstream(words: int, pause_s: float) -> web.Application:
    """Answers everything with a stream of `words` words, one each `pause_s` seconds."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event({"role": "assistant", "content": ""}))
        for _ in range(words):
            await response.write(event({"content": " word"}))
            await asyncio.sleep(pause_s)
        await response.write(event({}, "stop") + b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    return app


@dataclass(slots=True)
class Seen:
    """What the clients saw: seconds, and counts of streams."""

    open: int = 0
    most_open: int = 0
    done: int = 0
    failed: int = 0
    words: int = 0
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One stream: asks once connected, notes the longest silence after the first word."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self._request = request
        self._seen = seen
        self._tail = b""
        self._at = self._first = self._gap = 0.0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)
        self._at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the time; the end marker ends it."""
        now, seen = time.perf_counter(), self._seen
        words = data.count(b" word")
        if words and not self._first:
            self._first = now - self._at
            seen.open += 1
            seen.most_open = max(seen.most_open, seen.open)
        elif self._first:
            self._gap = max(self._gap, now - self._at)
        seen.words += words
        self._at = now if self._first else self._at
        self._tail = (self._tail + data)[-64:]
        if b"[DONE]" in self._tail:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Count how it ended."""
        seen = self._seen
        if b"[DONE]" in self._tail:
            seen.done += 1
        else:
            seen.failed += 1
        if self._first:
            seen.open -= 1
            seen.first_s.append(self._first)
            seen.gaps_s.append(self._gap)
        self.over.set_result(None)


async def hold(port: int, streams: int) -> Seen:
    """So many streams, begun within RAMP_S seconds, until the last has ended."""
    seen, request = Seen(), post(port, PATH, BODY)
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for _ in range(streams):
        _, client = await loop.create_connection(lambda: Client(request, seen), "127.0.0.1", port)
        clients.append(client)
        await asyncio.sleep(RAMP_S / streams)
    await asyncio.wait([client.over for client in clients], timeout=LIMIT_S)
    return seen


def peak_mb(server: Server) -> float:
    """The most memory the process ever had resident, in MB of 10^6 bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def rows(options: argparse.Namespace) -> tuple[list[tuple[str, Seen]], float, float, float]:
    """What was seen straight and through the service; its MB idle and at most, its CPU seconds."""
    sim, ours = free_port(), free_port()
    lean = ["-m", "benchmarks.streams", "--serve", str(sim), "--words", str(options.words)]
    lean += ["--pause-ms", str(options.pause_ms)]
    with tempfile.TemporaryDirectory() as store, running(lean, sim):
        environ = {
            "LLMROUTER_STORE": f"disk:{store}",
            "LLMROUTER_DEMO_UPSTREAM": f"http://127.0.0.1:{sim}/v1",
            "LLMROUTER_LOG_LEVEL": "ERROR",
        }
        serve = ["-m", "llmrouter", "serve", "--port", str(ours)]
        with running(serve, ours, "/readyz", environ) as server:
            idle = server.resident_mb()
            straight = uvloop.run(hold(sim, options.streams))
            before = server.running_s()
            through = uvloop.run(hold(ours, options.streams))
            spent = server.running_s() - before
            return [("straight", straight), ("through", through)], idle, peak_mb(server), spent


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; exit 1 where a stream was lost, stalled or the memory too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--pause-ms", type=float, default=500.0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve is not None:
        app = upstream(options.words, options.pause_ms / 1000.0)
        uvloop.install()
        web.run_app(app, host="127.0.0.1", port=options.serve, print=None, access_log=None)
        return
    seen, idle_mb, most_mb, cpu_s = rows(options)
    table = Table(title=f"{options.streams} streams at once, one worker", title_justify="left")
    for column in ("what", *(name for name, _ in seen), "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    pause_s = options.pause_ms / 1000.0
    stalled_s = 10 * pause_s
    through = seen[1][1]
    for name, value, most in (
        ("open at once", lambda s: str(s.most_open), ""),
        ("completed", lambda s: f"{s.done} of {options.streams}", ""),
        ("longest silence, ms", lambda s: f"{max(s.gaps_s, default=0) * 1e3:.0f}",
         f"{stalled_s * 1e3:.0f}"),
        ("first word, p99, ms", lambda s: f"{_p99(s.first_s) * 1e3:.0f}", ""),
    ):  # fmt: skip
        table.add_row(name, *(value(one) for _, one in seen), most)
    table.add_row("resident when idle, MB", "", f"{idle_mb:.0f}", "")
    table.add_row("resident at most, MB", "", f"{most_mb:.0f}", "300")
    table.add_row("CPU per word, µs", "", f"{cpu_s / max(1, through.words) * 1e6:.0f}", "")
    Console().print(table)
    stalled = max(through.gaps_s, default=0.0) > stalled_s
    if through.done < options.streams or stalled or most_mb >= 300:
        sys.exit(1)


def _p99(values: list[float]) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))] if ranked else 0.0


if __name__ == "__main__":
    main()
