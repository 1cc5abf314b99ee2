"""Requests lost while replicas restart, under load: none.

Two workers on one socket in front of the simulator. Clients keep connections alive and send routed
calls, completions and streams without a pause; meanwhile SIGHUP replaces both workers, again and
again, and SIGTERM ends the service at last. Prints what was sent, what was answered whole, and how
often workers were replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import free_port, running

MESSAGES = [{"role": "user", "content": "Say something about the weather."}]
CALLS = {
    "/route": ("/route", {"prompt": "Say something about the weather."}),
    "completion": ("/v1/chat/completions", {"model": "auto", "messages": MESSAGES}),
    "stream": ("/v1/chat/completions", {"model": "auto", "messages": MESSAGES, "stream": True}),
}


@dataclass
class Tally:
    """What was sent, what came back whole, and what did not."""

    sent: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    closed: int = 0
    ended: bool = False


async def client(base: str, kind: str, tally: Tally) -> None:
    """One caller with one connection, until told to end."""
    path, body = CALLS[kind]
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        while not tally.ended:
            tally.sent[kind] += 1
            try:
                async with session.post(base + path, json=body) as response:
                    text = await response.text()
                    whole = kind != "stream" or text.endswith("data: [DONE]\n\n")
                    if response.status == 200 and whole:
                        tally.whole[kind] += 1
                    else:
                        tally.errors.append(f"{kind}: {response.status} {text[-200:]}")
                    tally.closed += response.headers.get("Connection", "").lower() == "close"
            except aiohttp.ClientError as error:
                tally.errors.append(f"{kind}: {error!r}")
            await asyncio.sleep(0.005)


def workers(pid: int) -> set[str]:
    """The parent's children."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


async def replaced(pid: int, before: set[str], count: int) -> None:
    """Wait until none of the old workers is left."""
    while True:
        now = workers(pid)
        if len(now) == count and not now & before:
            return
        await asyncio.sleep(0.05)


async def load(pid: int, base: str, rounds: int, each: int) -> tuple[Tally, float]:
    """Clients of every kind while workers are replaced `rounds` times."""
    tally, started = Tally(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for kind in CALLS:
            for _ in range(each):
                group.create_task(client(base, kind, tally))
        for _ in range(rounds):
            await asyncio.sleep(1.0)
            before = workers(pid)
            os.kill(pid, signal.SIGHUP)
            await replaced(pid, before, len(before))
        await asyncio.sleep(1.0)
        tally.ended = True
    return tally, time.monotonic() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that workers are replaced")
    parser.add_argument("--clients", type=int, default=4, help="of each kind")
    options = parser.parse_args(arguments)
    sim, port = free_port(), free_port()
    with ExitStack() as stack:
        start = stack.enter_context
        environ = {
            "LLMROUTER_DEMO_UPSTREAM": f"http://127.0.0.1:{sim}/v1",
            "LLMROUTER_STORE": f"disk:{start(tempfile.TemporaryDirectory())}",
            "LLMROUTER_LOG_LEVEL": "ERROR",
        }
        start(running(["-m", "llmrouter", "sim", "--port", str(sim)], sim))
        command = ["-m", "llmrouter", "serve", "--workers", "2", "--port", str(port)]
        server = start(running(command, port, "/readyz", environ))
        base = f"http://127.0.0.1:{port}"
        tally, seconds = uvloop.run(load(server.pid, base, options.rounds, options.clients))
    title = f"{options.rounds} x 2 workers replaced in {seconds:.0f} s under load"
    table = Table(title=title, title_justify="left")
    for column in ("what", "sent", "answered whole", "lost"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for kind in CALLS:
        sent, whole = tally.sent[kind], tally.whole[kind]
        table.add_row(kind, str(sent), str(whole), str(sent - whole))
    console = Console()
    console.print(table)
    console.print(f"connections closed with their answer: {tally.closed}")
    for error in tally.errors[:10]:
        console.print(error)
    raise SystemExit(1 if tally.errors else 0)


if __name__ == "__main__":
    main()
