"""Runs the service: sockets, worker processes, signals, and leaving without losing a request.

With several workers one process binds the socket and starts the others, which inherit it: they
share one accept queue, so a worker that leaves takes no waiting connection with it. SIGTERM drains
(readiness off, no new connections, running requests finish); SIGHUP replaces workers one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import uvloop
from aiohttp import web

from llmrouter.bootstrap import Service, service
from llmrouter.settings import Settings

log = logging.getLogger(__name__)

M_ARENA_MAX = -8  # malloc.h


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def run_worker(
    settings: Settings, listening: socket.socket, *, ready_fd: int | None = None
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT, then drain and return."""
    bound_malloc_arenas()
    uvloop.run(_serve(settings, listening, ready_fd))


async def _serve(settings: Settings, listening: socket.socket, ready_fd: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop.set)
    async with service(settings) as built:
        runner = web.AppRunner(
            built.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        site = web.SockSite(runner, listening, backlog=2048)
        settle_garbage_collector()
        await site.start()
        log.info("serving on http://%s:%d", *listening.getsockname()[:2])
        if ready_fd is not None:
            os.write(ready_fd, b"1")
            os.close(ready_fd)
        await stop.wait()
        await _drain(settings, built, site)
        await runner.cleanup()


def bound_malloc_arenas() -> None:
    """Let all threads allocate from one arena.

    glibc gives each thread its own and returns little of it; the few threads here write batches and
    encode spans, and their arenas cost a service more memory than they save it time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def settle_garbage_collector() -> None:
    """Leave what start-up made out of every later collection, and collect less often.

    Requests retain little (a bounded ledger of decisions), so frequent full collections would walk
    the same live objects again and again; they were half of a cached decision's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


async def _drain(settings: Settings, built: Service, site: web.SockSite) -> None:
    log.info("draining")
    admission = built.admission
    admission.begin_leaving()
    await asyncio.sleep(settings.leave_s)
    await site.stop()
    deadline = time.monotonic() + settings.drain_s
    await asyncio.sleep(min(0.2, settings.drain_s))
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await admission.idle()
    except TimeoutError:
        log.warning(
            "%d requests were still running after %s s", admission.running, settings.drain_s
        )
    admission.begin_draining()


def run_workers(listening: socket.socket, count: int, arguments: Sequence[str]) -> int:
    """Start `count` worker processes on one socket and keep that many alive. The exit status."""
    listening.set_inheritable(True)
    fleet = _Fleet(listening.fileno(), arguments)
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: fleet.ask_stop())
    signal.signal(signal.SIGHUP, lambda *_: fleet.ask_replace())
    for _ in range(count):
        fleet.start()
    return fleet.watch()


class _Fleet:
    """The worker processes of one parent."""

    def __init__(self, fd: int, arguments: Sequence[str]) -> None:
        self._fd = fd
        self._arguments = list(arguments)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopping = False
        self._replacing = False
        self._crashes = 0

    def ask_stop(self) -> None:
        self._stopping = True

    def ask_replace(self) -> None:
        self._replacing = True

    def start(self) -> subprocess.Popen[bytes]:
        """Start one worker and wait until it serves."""
        read_fd, write_fd = os.pipe()
        command = [sys.executable, "-m", "llmrouter", "serve", *self._arguments]
        command += ["--fd", str(self._fd), "--ready-fd", str(write_fd)]
        worker = subprocess.Popen(command, pass_fds=(self._fd, write_fd))  # noqa: S603 - ourselves
        os.close(write_fd)
        os.read(read_fd, 1)
        os.close(read_fd)
        self._workers.append(worker)
        return worker

    def watch(self) -> int:
        """Replace what dies until asked to stop, then stop all. 1 when workers keep crashing."""
        while not self._stopping:
            for worker in [w for w in self._workers if w.poll() is not None]:
                self._workers.remove(worker)
                self._crashes += 1
                log.error("worker %d ended with status %s", worker.pid, worker.returncode)
                if self._crashes > 10:
                    self._stop(self._workers)
                    return 1
                self.start()
            if self._replacing:
                self._replacing = False
                for worker in list(self._workers):
                    self.start()
                    self._workers.remove(worker)
                    self._stop([worker])
            time.sleep(0.1)
        self._stop(self._workers)
        return 0

    def _stop(self, workers: Sequence[subprocess.Popen[bytes]]) -> None:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
