"""Server processes under measurement: started, waited for, their CPU time and memory read.

CPU time comes from /proc (user and system, all threads), so a noisy neighbour changes the wall
clock and not the figure.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Server:
    """A running server process."""

    pid: int
    port: int
    ready_s: float

    def running_s(self) -> float:
        """Seconds on a processor so far, to the nanosecond, of the threads that live now."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def children(self) -> list[Server]:
        """The processes that it started and that live now, theirs included."""
        found: list[Server] = []
        for listed in Path(f"/proc/{self.pid}/task").glob("*/children"):
            for pid in listed.read_text().split():
                child = Server(int(pid), self.port, 0.0)
                found += [child, *child.children()]
        return found

    def resident_mb(self) -> float:
        """Resident memory, in MB of 10^6 bytes."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(
    command: Sequence[str], port: int, path: str = "/", environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start `python command…`, wait until `path` answers on `port`, stop it at the end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}{path}")
        yield Server(process.pid, port, time.perf_counter() - started)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # it hears no signal any more
            process.kill()
            process.wait()
            raise


def _wait(process: subprocess.Popen[bytes], url: str, limit_s: float = 240.0) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own server
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{url} did not answer within {limit_s} s")
