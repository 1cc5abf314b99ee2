"""What a fallback adds to the failed attempt's own time: `python -m benchmarks.fallback`.

The service runs as a process of its own in front of an upstream whose first target answers every
other request with 500; the second target always answers. So requests with one fallback and
requests without take turns, and the circuit stays closed. Printed are milliseconds of the wall
clock that belong to no attempt (from the answer's own account: whole less attempts), with and
without a fallback, and the service's CPU time for a request that falls back beside one that does
not (the failed call itself is in it).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
import uvloop
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, free_port, running

TARGET = """\
---
model: {name}
provider: openai
base_url: http://127.0.0.1:{port}/{name}/v1
price: {{input: 1, output: 2}}
context_window: 8000
---
The {name} one.
"""
ROUTING = "default: first\nrules:\n  - {name: all, when: {}, route: first}\n"
ROUTER = "{% for target in targets %}{{ target.id }}: {{ target.description }}\n{% endfor %}"
MOST_MS = 2.0


def upstream() -> web.Application:
    """`/first` fails every other request, `/second` and `/steady` never."""
    asked = {"count": 0}
    message = {"role": "assistant", "content": "An answer of a few words."}
    answer = orjson.dumps(
        {
            "id": "f-1",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16},
        }
    )

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        if request.match_info["name"] == "first":
            asked["count"] += 1
            if asked["count"] % 2:
                error = b'{"error": {"message": "oops", "type": "server_error"}}'
                return web.Response(status=500, body=error, content_type="application/json")
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_post("/{name}/v1/chat/completions", complete)
    return app


def prompts(directory: Path, port: int) -> Path:
    """A catalog of the two targets and of the one that never fails."""
    (directory / "catalog").mkdir()
    for name in ("first", "second", "steady"):
        text = TARGET.format(name=name, port=port)
        (directory / "catalog" / f"{name}.md").write_text(text, encoding="utf-8")
    (directory / "routing.yaml").write_text(ROUTING, encoding="utf-8")
    (directory / "router.md").write_text(ROUTER, encoding="utf-8")
    return directory


async def ask(server: Server, model: str, count: int) -> tuple[dict[int, list[float]], float]:
    """The milliseconds of no attempt, by number of attempts; CPU seconds a request."""
    added: dict[int, list[float]] = {}
    body = {"model": model, "messages": [{"role": "user", "content": "Say a few words."}]}
    body["router"] = {"allow": [model] if model != "auto" else ["first", "second"]}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        before = server.running_s()
        for _ in range(count):
            async with session.post("/complete", json=body) as response:
                router = orjson.loads(await response.read())["router"]
            attempts = router["attempts"]
            own_ms = sum(attempt["latency_ms"] for attempt in attempts)
            added.setdefault(len(attempts), []).append(router["latency_ms"] - own_ms)
        return added, (server.running_s() - before) / count


async def measured(server: Server, count: int) -> tuple[dict[int, list[float]], float, float]:
    """The milliseconds added, CPU seconds of a request without a fallback, and of one with."""
    await ask(server, "auto", 100)
    await ask(server, "steady", 100)
    added, mixed_s = await ask(server, "auto", count)
    _, plain_s = await ask(server, "steady", count)
    return added, plain_s, 2 * mixed_s - plain_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; exit 1 where a fallback adds MOST_MS or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve is not None:
        uvloop.install()
        web.run_app(upstream(), host="127.0.0.1", port=options.serve, print=None, access_log=None)
        return
    sim, ours = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryDirectory() as store,
        running(["-m", "benchmarks.fallback", "--serve", str(sim)], sim),
    ):
        environ = {
            "LLMROUTER_STORE": f"disk:{store}",
            "LLMROUTER_PROMPTS": str(prompts(Path(directory), sim)),
            "LLMROUTER_LOG_LEVEL": "ERROR",
        }
        serve = ["-m", "llmrouter", "serve", "--port", str(ours)]
        with running(serve, ours, "/readyz", environ) as server:
            added, plain_s, fallback_s = uvloop.run(measured(server, options.requests))
    table = Table(title="What a fallback adds", title_justify="left")
    for column in ("what", "without", "with one", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    plain, fallen = sorted(added[1]), sorted(added[2])
    table.add_row("requests", str(len(plain)), str(len(fallen)), "")
    for name, share in (("of no attempt, p50, ms", 0.5), ("of no attempt, p99, ms", 0.99)):
        values = [ranked[int(share * (len(ranked) - 1))] for ranked in (plain, fallen)]
        table.add_row(name, *(f"{value:.3f}" for value in values), f"{MOST_MS:.0f}")
    table.add_row("CPU of a request, ms", f"{plain_s * 1e3:.2f}", f"{fallback_s * 1e3:.2f}", "")
    Console().print(table)
    if statistics.median(fallen) >= MOST_MS:
        sys.exit(1)


if __name__ == "__main__":
    main()
