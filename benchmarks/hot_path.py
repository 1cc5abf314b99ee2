"""CPU per request, beside a bare handler (A) and a bare proxy (B), tracing on.

A cached `/route` should cost at most 3 x A, a chat completion with a cached decision at most
2.5 x B. All servers run in one go on one machine; rounds alternate, the median counts.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.load import post, run
from benchmarks.processes import Server, free_port, running

SHIPPED = Path(__file__).parents[1] / "prompts"
PROMPT = (
    "Please read the following notes from our planning meeting and tell me which of the action "
    "items are still open, who owns them, and when they are due. "
) * 6


def spelt(number: int) -> str:
    """The prompt, its first letters in one of 4,096 mixtures of case: other bytes, one decision."""
    letters = list(PROMPT)
    places = [place for place, letter in enumerate(PROMPT) if letter.isalpha()][:12]
    for bit, place in enumerate(places):
        letters[place] = letters[place].upper() if number >> bit & 1 else letters[place].lower()
    return "".join(letters)


def body(prompt: str) -> bytes:
    """A chat-completions body."""
    message = {"role": "user", "content": prompt}
    return orjson.dumps({"model": "auto", "messages": [message], "max_tokens": 16})


def one_format(directory: Path) -> Path:
    """The shipped prompts with every target in the callers' own format, as B relays it.

    Translation has a figure of its own (`translation_cost`).
    """
    made = directory / "prompts"
    shutil.copytree(SHIPPED, made)
    for path in made.glob("catalog/*.md"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(x for x in lines if not x.startswith(("protocol:", "auth:"))))
    return made


def measure(server: Server, requests: list[bytes], count: int) -> float:
    """Milliseconds of CPU per request over `count` requests, drawn from `requests` in turn."""
    before = server.running_s()
    load = run(server.port, list(itertools.islice(itertools.cycle(requests), count)))
    if set(load.statuses) != {200}:
        raise RuntimeError(f"unexpected answers: {load.statuses}")
    return (server.running_s() - before) * 1000 / count


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
        prompts = one_format(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        environ = {
            "LLMROUTER_PROMPTS": str(prompts),
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
        same, varied = [body(PROMPT)], [body(spelt(number)) for number in range(4096)]

        def ask(port: int, path: str, bodies: list[bytes]) -> list[bytes]:
            return [post(port, path, one) for one in bodies]

        cases = {
            "A: bare handler": (a, ask(bare, "/route", same)),
            "B: bare proxy": (b, ask(proxy, "/v1/chat/completions", same)),
            "/route, cached": (c, ask(ours, "/route", varied)),
            "/route, cached, the very same bytes": (c, ask(ours, "/route", same)),
            "completion, cached": (c, ask(ours, "/v1/chat/completions", varied)),
            "completion, cached, the very same bytes": (c, ask(ours, "/v1/chat/completions", same)),
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for server, requests in cases.values():
            measure(server, requests, 200)
        for _ in range(options.rounds):
            for name, (server, requests) in cases.items():
                taken[name].append(measure(server, requests, options.requests))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    table = Table(title="CPU per request, tracing on", title_justify="left")
    for column in ("what", "ms", "against", "ratio", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    names = list(cases)
    table.add_row(names[0], f"{medians[names[0]]:.3f}", "", "", "")
    table.add_row(names[1], f"{medians[names[1]]:.3f}", "", "", "")
    limits = [(name, names[0], 3.0) for name in names[2:4]]
    limits += [(name, names[1], 2.5) for name in names[4:]]
    for name, base, most in limits:
        ratio = statistics.median(x / y for x, y in zip(taken[name], taken[base], strict=True))
        table.add_row(name, f"{medians[name]:.3f}", base[0], f"{ratio:.2f}", f"{most}")
    Console().print(table)


if __name__ == "__main__":
    main()
