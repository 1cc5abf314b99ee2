"""CPU per request, beside a bare handler (A) and a bare proxy (B), tracing on.

A cached `/route` should cost at most 3 x A, a chat completion with a cached decision at most
2.5 x B. All servers run in one go on one machine; rounds alternate, the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.load import post, run
from benchmarks.processes import Server, free_port, running

PROMPT = (
    "Please read the following notes from our planning meeting and tell me which of the action "
    "items are still open, who owns them, and when they are due. "
) * 6


def measure(server: Server, request: bytes, count: int) -> float:
    """Milliseconds of CPU per request over `count` requests."""
    before = server.cpu_s()
    load = run(server.port, [request] * count)
    if set(load.statuses) != {200}:
        raise RuntimeError(f"unexpected answers: {load.statuses}")
    return (server.cpu_s() - before) * 1000 / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="per server and round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    ports = [free_port() for _ in range(5)]
    bare, proxy, sim, sink, ours = ports
    upstream = f"http://127.0.0.1:{sim}/v1"
    with ExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory())
        environ = {
            "LLMROUTER_STORE": f"disk:{store}",
            "LLMROUTER_DEMO_UPSTREAM": upstream,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
            "LLMROUTER_LOG_LEVEL": "ERROR",
        }
        start = stack.enter_context
        start(running(["-m", "llmrouter", "sim", "--port", str(sim), "--latency-scale", "0"], sim))
        start(running(["-m", "benchmarks.bare", "sink", str(sink)], sink))
        a = start(running(["-m", "benchmarks.bare", "constant", str(bare)], bare))
        b = start(
            running(
                ["-m", "benchmarks.bare", "proxy", str(proxy), f"{upstream}/chat/completions"],
                proxy,
            )
        )
        c = start(
            running(["-m", "llmrouter", "serve", "--port", str(ours)], ours, "/readyz", environ)
        )
        chat = orjson.dumps(
            {"model": "auto", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16}
        )
        cases = {
            "A: bare handler": (a, post(bare, "/route", chat)),
            "B: bare proxy": (b, post(proxy, "/v1/chat/completions", chat)),
            "/route, cached": (c, post(ours, "/route", chat)),
            "/v1/chat/completions, cached": (c, post(ours, "/v1/chat/completions", chat)),
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for server, request in cases.values():
            measure(server, request, 200)
        for _ in range(options.rounds):
            for name, (server, request) in cases.items():
                taken[name].append(measure(server, request, options.requests))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    table = Table(title="CPU per request, tracing on", title_justify="left")
    for column in ("what", "ms", "against", "ratio", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    names = list(cases)
    table.add_row(names[0], f"{medians[names[0]]:.3f}", "", "", "")
    table.add_row(names[1], f"{medians[names[1]]:.3f}", "", "", "")
    for name, base, most in ((names[2], names[0], 3.0), (names[3], names[1], 2.5)):
        ratio = statistics.median(x / y for x, y in zip(taken[name], taken[base], strict=True))
        table.add_row(name, f"{medians[name]:.3f}", base[0], f"{ratio:.2f}", f"{most}")
    Console().print(table)


if __name__ == "__main__":
    main()
