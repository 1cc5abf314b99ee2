"""The service as a process, as an operator runs it: its commands, its port, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.catalog.prompts_dir import written

START_S = 180.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(directory: Path, **over: str) -> dict[str, str]:
    """The environment of a service that keeps everything in `directory`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LLMROUTER_", "OTEL_"))}
    prompts = directory / "prompts"
    if not prompts.exists():
        written(prompts)
    return {
        **kept,
        "LLMROUTER_PROMPTS": str(prompts),
        "LLMROUTER_STORE": f"disk:{directory / 'store'}",
        **over,
    }


@dataclass
class Process:
    """A running command."""

    popen: subprocess.Popen[str]
    base: str
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def workers(self) -> set[int]:
        """The processes it started."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def ends(self) -> int:
        """Its exit status, once it ended."""
        return self.popen.wait(START_S)


@contextlib.contextmanager
def process(directory: Path, *arguments: str, workers: int = 1, **over: str) -> Iterator[Process]:
    """Run `llmrouter <arguments> --port …` until every worker serves; end it afterwards."""
    port = free_port()
    log = directory / "log"
    command = [sys.executable, "-m", "llmrouter", *arguments, "--port", str(port)]
    command += ["--workers", str(workers)]
    with log.open("w") as out:
        popen = subprocess.Popen(
            command,
            env=environment(directory, **over),
            cwd=directory,
            stdout=out,
            stderr=out,
            text=True,
        )
    started = Process(popen, f"http://127.0.0.1:{port}", log)
    try:
        _wait(started, workers)
        yield started
    finally:
        if popen.poll() is None:
            popen.terminate()
            try:
                popen.wait(START_S)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()


def _wait(started: Process, workers: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if started.popen.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{started.base}/readyz", timeout=5):  # noqa: S310
                if started.log.read_text().count("serving on") >= workers:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"it is not ready; it said:\n{started.log.read_text()}")
