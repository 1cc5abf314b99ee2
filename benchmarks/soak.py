"""The service for minutes or hours under faults, hostile texts and Redis pauses.

`python -m benchmarks.soak` (`--minutes 3`; `--hour`; `--redis` needs `redis-server`). In front is
`llmrouter serve`; behind it an upstream that fails in every way (`tests/faulty.py`); beside it a
watcher process that asks `/healthz` forty times a second. What is asked for:

- every request is answered: a status, and a stream to its end marker or an error event;
- `/healthz` is never silent for over 100 ms, time in which the machine ran others left out;
- memory is flat after the first half;
- the spend of a key whose upstream counts its tokens is exact to the cent.

Exit code 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, free_port, running
from tests.faulty import FaultyUpstream

SILENCE_MS = 100.0
ASK_EVERY_S = 0.025
EXACT = {"ok": 1, "blank": 1, "s500": 0, "s400": 0, "reset": 0, "long": 0, "html": 0}
"""Modes whose cost the upstream tells, and how many bills each answer of theirs is."""
BILL_USD = 12 * 1000e-6 + 5 * 2000e-6  # tests.faulty.USAGE at the prices below
ROUGH = (
    "ok2", "cut", "truncated", "error_mid", "error_200", "bad_utf8", "plain", "json_for_stream",
    "busy", "wait1", "full1", "storm", "moderated", "two_cut", "thinks", "s503", "too_short",
)  # fmt: skip
LEFT = ("drip", "hang", "hang_mid", "pings")
HOSTILE = (
    "Fix this:\n# --------------------------------------------\n# settings\nx = 1",
    "#" * 24,
    "write " + "-" * 24,
    "Translate " + '"' * 20,
    "Translate " + "«" * 4000,
    "a" + "\u0301" * 20_000,
    "1" * 100_000,
    " \n" * 50_000,
    "(" * 50_000,
    "٠١٢" * 20_000,
    "👩‍👩‍👧‍👦" * 5_000,
    "```\n" * 5_000,
)
TARGET = """\
---
model: {name}-model
provider: openai
base_url: {url}
price: {{input: 1000, output: 2000}}
context_window: 1000000
timeout_s: 5
ttft_timeout_s: 2
stall_timeout_s: 2
---
The one that does {name}.
"""


@dataclass
class Tally:
    """What came of the requests. `hits` are the upstream's, by mode; money is the exact key's."""

    statuses: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    resident_mb: list[float] = field(default_factory=list)
    pauses: int = 0
    tame: bool = False
    expected_usd: float = 0.0
    spent_usd: float = 0.0


async def call(session: aiohttp.ClientSession, key: str, body: dict[str, Any], path: str) -> str:
    """One request to its end; what it came to. Raises where it was not answered."""
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post(path, json=body, headers=headers) as response:
        text = await response.read()
    if response.status == 200 and body.get("stream"):
        last = text.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
        if last != b"[DONE]" and b'"error"' not in last:
            raise ValueError(f"a stream ended in {last[-80:]!r}")
    elif "error" in (said := orjson.loads(text)) and response.status == 200:
        raise ValueError(f"an error with 200: {said['error']}")
    return str(response.status)


def question(rng: random.Random, text: str = "") -> dict[str, Any]:
    """A request's body without its target."""
    said = text or f"What is {rng.randrange(10**6)} plus 2?"
    return {"messages": [{"role": "user", "content": said}], "stream": rng.random() < 0.5}


def request(rng: random.Random, tame: bool) -> tuple[str, str, dict[str, Any], bool]:
    """The key, path and body of one request at random, and whether its caller leaves early."""
    kind, path = rng.random(), rng.choice(["/complete", "/v1/chat/completions"])
    if kind < 0.4:  # exact money, in the order that `allow` leaves open
        modes = sorted({rng.choice(list(EXACT)), "ok"})
        return "exact", path, {**question(rng), "router": {"allow": modes}, "model": "auto"}, False
    if kind < 0.7:
        mode = rng.choice(ROUGH)
        over = {"n": 2} if mode.startswith("two") else {}
        return "rough", path, {**question(rng), **over, "model": mode}, False
    if kind < 0.8:
        return "rough", path, {**question(rng), "model": rng.choice(LEFT), "stream": True}, True
    text = "" if tame else rng.choice(HOSTILE)
    body = {**question(rng, text), "model": "auto", "router": {"allow": ["ok2"]}}
    if kind < 0.9:
        return "rough", path, body, False
    return "rough", "/route", {"messages": body["messages"], "router": body["router"]}, False


async def client(base: str, tally: Tally, rng: random.Random, until: float) -> None:
    """One caller, request after request."""
    limit = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(base, timeout=limit) as session:
        while time.monotonic() < until:
            key, path, body, leaves = request(rng, tally.tame)
            try:
                if leaves:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(rng.uniform(0.05, 0.5)):
                            await call(session, key, body, path)
                    tally.statuses["left"] += 1
                else:
                    tally.statuses[await call(session, key, body, path)] += 1
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                asked = body.get("model", path)
                tally.unanswered.append(f"{path} {asked}: {type(error).__name__}: {error}"[:200])


async def keep_count(upstream: FaultyUpstream, server: Server, tally: Tally, until: float) -> None:
    """Count the upstream's requests and let go of them; read the service's memory."""
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        count(upstream, tally)
        tally.resident_mb.append(server.resident_mb())


def count(upstream: FaultyUpstream, tally: Tally) -> None:
    """What the upstream has seen since, onto the tally."""
    tally.hits.update(seen.mode for seen in upstream.seen)
    upstream.seen.clear()


async def pause(pid: int, tally: Tally, until: float) -> None:
    """Stop Redis for a second and a half, every ten."""
    while time.monotonic() + 12 < until:
        await asyncio.sleep(10.0)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(1.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        tally.pauses += 1


@contextmanager
def redis(directory: Path) -> Iterator[tuple[int, str]]:
    """A Redis of our own: its process and address."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("--redis needs redis-server on PATH")
    port = free_port()
    command = [program, "--port", str(port), "--dir", str(directory), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid, f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=10)


def watch(port: int, pid: int, bare_port: int) -> None:
    """Ask `/healthz` until standard input closes; print each second's worst answer, in ms.

    Beside each stands how long the machine kept the service or this process from running meanwhile
    (the kernel's own count of time on the run queue), and the worst answer of a bare server.
    """
    os.set_blocking(sys.stdin.fileno(), False)
    worst = kept = idle = 0.0
    second = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    beside = http.client.HTTPConnection("127.0.0.1", bare_port, timeout=30)
    while sys.stdin.buffer.read(1) is None:
        time.sleep(ASK_EVERY_S)
        idle = max(idle, asked_ms(beside))
        queued = queued_ms(pid) + queued_ms(os.getpid())
        took = asked_ms(connection)
        waited = queued_ms(pid) + queued_ms(os.getpid()) - queued
        if took - waited > worst - kept:
            worst, kept = took, waited
        if time.monotonic() - second >= 1.0:
            print(f"{worst:.1f} {kept:.1f} {idle:.1f}", flush=True)
            worst = kept = idle = 0.0
            second = time.monotonic()


def asked_ms(connection: http.client.HTTPConnection) -> float:
    """How long a GET of `/healthz` took, in ms."""
    started = time.perf_counter()
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except OSError:
        connection.close()
    return (time.perf_counter() - started) * 1e3


def queued_ms(pid: int) -> float:
    """Milliseconds that a process's threads were ready to run and did not, so far.

    Of all threads: the main one waits as well while the interpreter's lock is with one that the
    machine keeps from running.
    """
    total = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += int(stat.read_text().split()[1])
    return total / 1e6


def bare(port: int) -> None:
    """A server that does nothing but answer: what the machine alone keeps one waiting."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def written(directory: Path, upstream: FaultyUpstream) -> Path:
    """A prompts directory with one target a mode."""
    prompts = directory / "prompts"
    (prompts / "catalog").mkdir(parents=True)
    names = (*EXACT, *ROUGH, *LEFT)
    for name in names:
        text = TARGET.format(name=name, url=upstream.url(name))
        (prompts / "catalog" / f"{name}.md").write_text(text, encoding="utf-8")
    (prompts / "routing.yaml").write_text("default: ok\n", encoding="utf-8")
    loop = "{% for target in targets %}{{ target.id }}: {{ target.description }}{% endfor %}"
    (prompts / "router.md").write_text(loop, encoding="utf-8")
    return prompts


async def spent(base: str, key: str) -> float:
    """What `/metrics` says a key has spent."""
    async with aiohttp.ClientSession(base) as session, session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    found = [line for line in lines if line.startswith("llmrouter_key_spend_usd") and key in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def soak(options: argparse.Namespace) -> tuple[Tally, list[tuple[float, ...]]]:
    """The load; what came of it, and what the watcher saw (ms)."""
    tally, port = Tally(tame=options.tame), free_port()
    base = f"http://127.0.0.1:{port}"
    async with FaultyUpstream() as upstream:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store, redis_pid = f"disk:{directory / 'store'}", None
            if options.redis:
                redis_pid, store = stack.enter_context(redis(directory))
            environ = {
                "LLMROUTER_PROMPTS": str(written(directory, upstream)),
                "LLMROUTER_STORE": store,
                "LLMROUTER_API_KEYS": "exact:exact:pro,rough:rough:pro",
                "LLMROUTER_PUBLIC_DETAILS": "true",  # `/metrics` names keys
                "LLMROUTER_LOG_LEVEL": "ERROR",
            }
            serve = ["-m", "llmrouter", "serve", "--port", str(port)]
            started = asyncio.to_thread(
                stack.enter_context, running(serve, port, "/healthz", environ)
            )
            server = await started
            beside = free_port()
            module = [sys.executable, "-m", "benchmarks.soak"]
            idle = subprocess.Popen([*module, "--bare", str(beside)])  # noqa: ASYNC220 - at once
            stack.callback(idle.kill)
            watcher = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                [*module, "--watch", str(port), str(server.pid), str(beside)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            until = time.monotonic() + options.minutes * 60.0
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_count(upstream, server, tally, until))
                if redis_pid is not None:
                    group.create_task(pause(redis_pid, tally, until))
                for number in range(options.clients):
                    group.create_task(client(base, tally, random.Random(number), until))
            said, _ = await asyncio.to_thread(watcher.communicate, "q")
            await asyncio.sleep(2.0)  # the metrics of the last requests are written behind them
            count(upstream, tally)
            tally.expected_usd = sum(tally.hits[m] * bills for m, bills in EXACT.items()) * BILL_USD
            tally.spent_usd = await spent(base, "exact")
    return tally, [tuple(map(float, line.split())) for line in said.splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it and print what held; exit 1 where something did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--hour", dest="minutes", action="store_const", const=60.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--redis", action="store_true", help="keep the state in Redis and pause it")
    parser.add_argument("--tame", action="store_true", help="leave the hostile texts out")
    parser.add_argument("--watch", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.watch is not None:
        watch(*options.watch)
        return
    if options.bare is not None:
        bare(options.bare)
        return
    tally, seconds = uvloop.run(soak(options))
    silence = max((worst - kept for worst, kept, _ in seconds), default=0.0)
    half, last = halves(tally.resident_mb)
    checks = (
        ("requests not answered", str(len(tally.unanswered)), "0", not tally.unanswered),
        ("/healthz silent, ms", f"{silence:.0f}", "100",
         silence <= SILENCE_MS),
        ("memory at half time and at the end, MB", f"{half:.0f}, {last:.0f}", "+5% or 10 MB",
         last - half <= max(10.0, 0.05 * half)),
        ("spend of a key and what its upstream counted, USD",
         f"{tally.spent_usd:.3f}, {tally.expected_usd:.3f}", "0.01 apart",
         tally.expected_usd > 0 and abs(tally.spent_usd - tally.expected_usd) < 0.01),
    )  # fmt: skip
    store = f"Redis, paused {tally.pauses} times" if options.redis else "disk"
    title = f"{sum(tally.statuses.values())} requests in {options.minutes:g} minutes, {store}"
    table = Table(title=title, title_justify="left")
    for column in ("what", "measured", "at most", ""):
        table.add_column(column)
    for what, measured, most, held in checks:
        table.add_row(what, measured, most, "held" if held else "[bold red]NOT HELD[/]")
    worst = max(seconds, default=(0.0, 0.0, 0.0))
    table.add_row("slowest /healthz, of that kept waiting, ms", f"{worst[0]:.0f}, {worst[1]:.0f}")
    idle = max((beside for *_, beside in seconds), default=0.0)
    table.add_row("slowest answer of a bare server beside it, ms", f"{idle:.0f}")
    for status, times in sorted(tally.statuses.items()):
        table.add_row(f"answered {status}", str(times))
    console = Console()
    console.print(table)
    for line in tally.unanswered[:10]:
        console.print(line, markup=False)
    if not all(held for *_, held in checks):
        sys.exit(1)


def halves(values: Sequence[float]) -> tuple[float, float]:
    """The median of the third quarter of the readings, and of the last."""
    if len(values) < 8:
        return 0.0, 0.0
    quarter = len(values) // 4
    return statistics.median(values[2 * quarter : 3 * quarter]), statistics.median(
        values[3 * quarter :]
    )


if __name__ == "__main__":
    main()
