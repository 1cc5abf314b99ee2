"""Start-up to ready, and resident memory with 100,000 cached decisions, child processes included.

A fit of the learned model runs in a process of its own for some seconds: what it takes at most is a
line of its own, and with `--learned off` there must be none.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import orjson
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.load import post, run
from benchmarks.processes import Server, free_port, running

ROOT = Path(__file__).parents[1]


class Children(threading.Thread):
    """Looks ten times a second at what processes a server has started."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._over = threading.Event()
        self.most = 0
        self.resident_mb = 0.0

    def run(self) -> None:
        """Until it is stopped."""
        while not self._over.wait(0.1):
            with contextlib.suppress(OSError, ValueError):  # one may end while it is looked at
                children = self._server.children()
                self.most = max(self.most, len(children))
                self.resident_mb = max(
                    self.resident_mb, sum(child.resident_mb() for child in children)
                )

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--learned", choices=("on", "off"), default="on")
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
        prompts = Path(store) / "prompts"
        shutil.copytree(ROOT / "prompts", prompts)
        if options.learned == "off":
            routing = yaml.safe_load((prompts / "routing.yaml").read_text())
            routing["learned"] = {"enabled": False}
            (prompts / "routing.yaml").write_text(yaml.safe_dump(routing))
        environ["LLMROUTER_PROMPTS"] = str(prompts)
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
            watch = Children(server)
            watch.start()
            for start in range(0, options.decisions, 10_000):
                requests = [
                    post(port, "/route", orjson.dumps({"prompt": f"Question {n}: why is it so?"}))
                    for n in range(start, min(start + 10_000, options.decisions))
                ]
                for status, count in run(port, requests, connections=32).statuses.items():
                    statuses[status] = statuses.get(status, 0) + count
            full = server.resident_mb()
            watch.stop()
    table = Table(title="Footprint", title_justify="left")
    for column in ("what", "measured", "at most"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("start to ready, s", f"{statistics.median(starts):.2f}", "1.5")
    table.add_row("resident when idle, MB", f"{idle:.0f}", "")
    table.add_row(f"resident after {options.decisions} decisions, MB", f"{full:.0f}", "120")
    wanted = "0" if options.learned == "off" else ""
    table.add_row("child processes at once, at most", str(watch.most), wanted)
    table.add_row("resident of child processes, at most, MB", f"{watch.resident_mb:.0f}", "")
    table.add_row("answers", str(statuses), "")
    Console().print(table)


if __name__ == "__main__":
    main()
