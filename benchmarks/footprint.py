"""Start-up to ready, and resident memory with 100,000 cached decisions."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.load import post, run
from benchmarks.processes import free_port, running


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args(arguments)
    starts: list[float] = []
    sim = free_port()
    with (
        tempfile.TemporaryDirectory() as store,
        running(["-m", "llmrouter", "sim", "--port", str(sim), "--latency-scale", "0"], sim),
    ):
        environ = {
            "LLMROUTER_STORE": f"disk:{store}",
            "LLMROUTER_DEMO_UPSTREAM": f"http://127.0.0.1:{sim}/v1",
            "LLMROUTER_LOG_LEVEL": "ERROR",
        }
        for _ in range(options.starts):
            port = free_port()
            command = ["-m", "llmrouter", "serve", "--port", str(port)]
            with running(command, port, "/readyz", environ) as server:
                starts.append(server.ready_s)
        port = free_port()
        command = ["-m", "llmrouter", "serve", "--port", str(port)]
        with running(command, port, "/readyz", environ) as server:
            idle = server.resident_mb()
            statuses: dict[int, int] = {}
            for start in range(0, options.decisions, 10_000):
                requests = [
                    post(port, "/route", orjson.dumps({"prompt": f"Question {n}: why is it so?"}))
                    for n in range(start, min(start + 10_000, options.decisions))
                ]
                for status, count in run(port, requests, connections=32).statuses.items():
                    statuses[status] = statuses.get(status, 0) + count
            full = server.resident_mb()
    table = Table(title="Footprint", title_justify="left")
    for column in ("what", "measured", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("start to ready, s", f"{statistics.median(starts):.2f}", "1.5")
    table.add_row("resident when idle, MB", f"{idle:.0f}", "")
    table.add_row(f"resident after {options.decisions} decisions, MB", f"{full:.0f}", "120")
    table.add_row("answers", str(statuses), "")
    Console().print(table)


if __name__ == "__main__":
    main()
