"""Real prompts through `/route` and `/complete` of a running service, twice.

    python -m benchmarks.real_input --data DIR [--base http://127.0.0.1:8080] [--prompts 300]

The second pass must be answered from the cache. Prints decisions by source, hit rate, router
calls, errors and latencies of each pass, and exits 1 when something is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table


def prompts_in(directory: Path, count: int) -> list[str]:
    """`count` different prompts, drawn evenly from every `*.dev.jsonl.gz`, in a fixed order."""
    files = sorted(directory.glob("*.dev.jsonl.gz"))
    if not files:
        raise SystemExit(f"no *.dev.jsonl.gz in {directory}")
    chosen: list[str] = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            every = list(dict.fromkeys(orjson.loads(line)["prompt"] for line in lines))
        random.Random(0).shuffle(every)
        chosen += every[: -(-count // len(files))]
    return list(dict.fromkeys(chosen))[: max(count, 1)]


async def one_pass(
    session: aiohttp.ClientSession, path: str, prompts: Sequence[str]
) -> tuple[Counter[str], Counter[int], list[float]]:
    """Send every prompt once, four at a time: sources, statuses, milliseconds."""
    sources: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    taken: list[float] = []
    gate = asyncio.Semaphore(4)

    async def one(prompt: str) -> None:
        async with gate:
            started = time.perf_counter()
            async with session.post(path, json={"prompt": prompt, "max_tokens": 64}) as answer:
                await answer.read()
                taken.append((time.perf_counter() - started) * 1000)
                statuses[answer.status] += 1
                sources[answer.headers.get("x-llmrouter-source", "none")] += 1

    await asyncio.gather(*(one(prompt) for prompt in prompts))
    return sources, statuses, taken


async def router_calls(session: aiohttp.ClientSession) -> float:
    """How often the router LLM has been called, from `/metrics`."""
    async with session.get("/metrics") as answer:
        text = await answer.text()
    found = re.findall(r"^llmrouter_router_calls_total(?:\{[^}]*\})? ([0-9.e+]+)$", text, re.M)
    return sum(float(value) for value in found)


async def measure(options: argparse.Namespace) -> bool:
    """Run both passes on both paths; whether all was well."""
    prompts = prompts_in(options.data, options.prompts)
    table = Table(title=f"{len(prompts)} real prompts, twice", title_justify="left")
    for column in ("call", "pass", "by source", "hits", "router calls", "errors", "p50 ms", "p99"):
        table.add_column(column)
    all_healthy = True
    async with aiohttp.ClientSession(options.base) as session:
        paths = ["/route", "/complete"] if not options.route_only else ["/route"]
        seen = False
        for path in paths:
            for number in (1, 2):
                before = await router_calls(session)
                sources, statuses, taken = await one_pass(session, path, prompts)
                calls = await router_calls(session) - before
                hits = sources["cache"] / len(prompts)
                errors = sum(n for status, n in statuses.items() if status >= 400)
                all_healthy &= errors == 0 and (not seen or options.route_only or hits >= 0.99)
                seen = True
                table.add_row(
                    path,
                    str(number),
                    ", ".join(f"{k} {v}" for k, v in sources.most_common()),
                    f"{hits:.1%}",
                    f"{calls:.0f}",
                    str(errors),
                    f"{statistics.median(taken):.1f}",
                    f"{statistics.quantiles(taken, n=100)[98]:.1f}",
                )
    Console().print(table)
    return all_healthy


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run, exit 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of outcome files")
    parser.add_argument("--base", default="http://127.0.0.1:8080")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--route-only", action="store_true")
    sys.exit(0 if asyncio.run(measure(parser.parse_args(arguments))) else 1)


if __name__ == "__main__":
    main()
