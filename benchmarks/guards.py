"""What the guards add to a completion with a cached decision: keys, limits, budgets.

The same service twice, in front of the same simulator: open, and with keys, a quota of requests,
one of tokens and a spend budget (the bound on load is in both). CPU per request, many short rounds
in turn, so that whatever else runs here meets both; medians count. The guards should add at most
20%.

With `--store` the guarded service counts somewhere else, for instance in Redis.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from benchmarks.hot_path import PROMPT, body, spelt
from benchmarks.load import post, run
from benchmarks.processes import Server, free_port, running

KEY = "bench-key-0123456789"
LIMITS = "bench requests=6000000/m tokens=6000000000/h spend_usd=100000/d"
PATH = "/v1/chat/completions"


def measure(server: Server, requests: list[bytes], count: int) -> float:
    """Milliseconds of CPU per request."""
    before = server.running_s()
    load = run(server.port, list(itertools.islice(itertools.cycle(requests), count)))
    if set(load.statuses) != {200}:
        raise RuntimeError(f"unexpected answers: {load.statuses}")
    return (server.running_s() - before) * 1000 / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="per service and round")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--store", help="the guarded service's store [default: a folder]")
    options = parser.parse_args(arguments)
    sim, plain, guarded = (free_port() for _ in range(3))
    with ExitStack() as stack:
        start = stack.enter_context
        folder = start(tempfile.TemporaryDirectory())
        environ = {
            "LLMROUTER_DEMO_UPSTREAM": f"http://127.0.0.1:{sim}/v1",
            "LLMROUTER_LOG_LEVEL": "ERROR",
            "LLMROUTER_STORE": f"disk:{folder}/plain",
        }
        guards = {
            "LLMROUTER_STORE": options.store or f"disk:{folder}/guarded",
            "LLMROUTER_API_KEYS": f"bench:{KEY}:pro",
            "LLMROUTER_ADMIN_KEY": "bench-admin-0123456789",
            "LLMROUTER_KEY_LIMITS": LIMITS,
        }
        start(running(["-m", "llmrouter", "sim", "--port", str(sim), "--latency-scale", "0"], sim))

        def serve(port: int, more: dict[str, str]):  # type: ignore[no-untyped-def]
            command = ["-m", "llmrouter", "serve", "--port", str(port)]
            return start(running(command, port, "/readyz", {**environ, **more}))

        bodies = [body(spelt(number)) for number in range(4096)]
        same = [body(PROMPT)]
        key = {"Authorization": f"Bearer {KEY}"}
        a, b = serve(plain, {}), serve(guarded, guards)
        cases = {
            "different bytes": [
                (a, [post(plain, PATH, one) for one in bodies]),
                (b, [post(guarded, PATH, one, key) for one in bodies]),
            ],
            "the very same bytes": [
                (a, [post(plain, PATH, one) for one in same]),
                (b, [post(guarded, PATH, one, key) for one in same]),
            ],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for pair in cases.values():
            for server, requests in pair:
                measure(server, requests, 500)
        for _ in range(options.rounds):
            for name, (open_, held) in cases.items():
                taken[name].append(
                    (measure(*open_, options.requests), measure(*held, options.requests))
                )
    table = Table(title="CPU of a completion with a cached decision", title_justify="left")
    for column in ("what", "open, ms", "guarded, ms", "adds", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, pairs in taken.items():
        plain_ms, guarded_ms = (statistics.median(side) for side in zip(*pairs, strict=True))
        adds = f"{guarded_ms / plain_ms - 1.0:+.0%}"
        table.add_row(name, f"{plain_ms:.3f}", f"{guarded_ms:.3f}", adds, "+20%")
    Console().print(table)


if __name__ == "__main__":
    main()
