"""Runs the service: sockets, worker processes, signals, and leaving without losing a request.

With several workers one process binds the socket and starts the others, which inherit it: they
share one accept queue, so a worker that leaves takes no waiting connection with it. SIGTERM drains
(readiness off, no new connections, running requests finish, and those that take too long get an
error that says so); a second one ends the wait. SIGHUP replaces workers one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import uvloop
from aiohttp import web

from llmrouter.api.http_errors import Runner
from llmrouter.api.load_shedding import LoadShedder
from llmrouter.bootstrap import METRICS_DIR, service
from llmrouter.settings import Settings, base_of
from llmrouter.util.tasks import Background, repeatedly

log = logging.getLogger(__name__)

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
SWITCH_S = 0.001
"""How long a thread that computes keeps the event loop waiting: a fifth of what is usual."""
MAPPED_BYTES = 64 * 1024
TRIM_S = 30.0  # between two times that freed memory goes back
START_LIMIT_S = 60.0  # a machine that has other things to do takes its time
AGAIN_S = 5.0  # until a worker that did not start is tried again
LAST_WORDS_S = 1.0  # for requests that were given up to answer
IDLE_S = 1.0  # how long a kept-alive connection may be quiet before leaving closes it
CRASHES = 10  # more unexpected worker exits than this end the service


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def run_worker(
    settings: Settings, listening: socket.socket, *, ready_fd: int | None = None
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT, then drain and return."""
    bound_malloc()
    sys.setswitchinterval(SWITCH_S)
    uvloop.run(_serve(settings, listening, ready_fd))


class _Asked:
    """What signals asked of a worker: to leave, and when asked again, to leave now.

    A worker of several leaves the terminal's signals to its parent.
    """

    def __init__(self, *, has_parent: bool) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._again)
        for terminal in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(terminal, self._ignore if has_parent else self._again)

    def _again(self) -> None:
        (self.now if self.stop.is_set() else self.stop).set()

    def _ignore(self) -> None:
        pass


async def _serve(settings: Settings, listening: socket.socket, ready_fd: int | None) -> None:
    asked = _Asked(has_parent=ready_fd is not None)
    async with service(settings) as built:
        returning = Background()
        returning.start(repeatedly(trim_malloc, TRIM_S), trim_malloc.__qualname__)
        runner = Runner(built.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        site = web.SockSite(runner, listening, backlog=2048)
        settle_garbage_collector()
        await site.start()
        where = (*listening.getsockname()[:2], base_of(settings.base_path))
        log.info("serving on http://%s:%d%s", *where)
        if ready_fd is not None:
            os.write(ready_fd, b"1")
            os.close(ready_fd)
        await asked.stop.wait()
        log.info("draining")
        built.admission.begin_leaving()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.now.wait(), settings.leave_s)
        await site.stop()
        if not await _at_rest(built.admission, runner, settings.drain_s, asked.now):
            await _give_up(built.admission)
        built.admission.begin_draining()
        await runner.cleanup()
        await returning.close(0.0)


def bound_malloc() -> None:
    """Let all threads allocate from one arena, and large blocks go back when they are freed.

    glibc gives each thread an arena of its own and returns little of it; the few threads here write
    batches and encode spans, and their arenas cost a service more memory than they save it time.
    It also learns from large blocks that were freed to keep the next ones on its heap, where a
    model that is replaced every few thousand requests leaves holes.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)


async def trim_malloc() -> None:
    """Give back what lies free between blocks in use, in a thread: a fit leaves holes."""
    with contextlib.suppress(OSError, AttributeError):
        await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)


def settle_garbage_collector() -> None:
    """Leave what start-up made out of every later collection, and collect less often.

    Requests retain little (a bounded ledger of decisions), so frequent full collections would walk
    the same live objects again and again; they were half of a cached decision's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


async def _give_up(admission: LoadShedder) -> None:
    """End what still runs, and let it say so."""
    log.warning("%d requests are not waited for any longer", admission.unfinished)
    await asyncio.wait(admission.give_up(), timeout=LAST_WORDS_S)


async def _at_rest(
    admission: LoadShedder, runner: web.AppRunner, limit_s: float, now: asyncio.Event
) -> bool:
    """Wait until nothing runs and nothing new can come, or until `limit_s` is over or `now` is set.

    False when something still runs.

    A kept-alive connection cannot be told to go while it is idle: closing it may cross with its
    next request, which would be lost. The next answer on it says `Connection: close`, so it is
    given `IDLE_S` to come for one.
    """
    started = quiet = time.monotonic()
    while (at := time.monotonic()) - started < limit_s and not now.is_set():
        if admission.unfinished:
            quiet = at
        elif not (runner.server and runner.server.connections) or at - quiet >= IDLE_S:
            return True
        await asyncio.sleep(0.02)
    return not admission.unfinished


def run_workers(listening: socket.socket, count: int, arguments: Sequence[str]) -> int:
    """Start `count` worker processes on one socket and keep that many alive. The exit status."""
    with tempfile.TemporaryDirectory(prefix="llmrouter-") as pages:
        os.environ[METRICS_DIR] = pages  # where the workers leave their metrics for each other
        return _run_fleet(listening, count, arguments)


def _run_fleet(listening: socket.socket, count: int, arguments: Sequence[str]) -> int:
    listening.set_inheritable(True)
    fleet = _Fleet(listening.fileno(), arguments)
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: fleet.ask_stop())
    signal.signal(signal.SIGHUP, lambda *_: fleet.ask_replace())
    for _ in range(count):
        if (failed := fleet.start()) is not None:
            fleet.stop()
            return failed
    return fleet.watch(listening)


class _Fleet:
    """The worker processes of one parent."""

    def __init__(self, fd: int, arguments: Sequence[str]) -> None:
        self._fd = fd
        self._arguments = list(arguments)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._stopping = False
        self._replacing = False
        self._crashes = 0

    def ask_stop(self) -> None:
        """Leave; when asked again, at once."""
        if self._stopping:
            for worker in (*self._workers, *self._leaving):
                worker.terminate()
        self._stopping = True

    def ask_replace(self) -> None:
        self._replacing = True

    def start(self) -> int | None:
        """Start one worker and wait until it serves; its exit status where it does not."""
        read_fd, write_fd = os.pipe()
        command = [sys.executable, "-m", "llmrouter", "serve", *self._arguments]
        command += ["--fd", str(self._fd), "--ready-fd", str(write_fd)]
        worker = subprocess.Popen(command, pass_fds=(self._fd, write_fd))  # noqa: S603 - ourselves
        os.close(write_fd)
        readable, _, _ = select.select([read_fd], [], [], START_LIMIT_S)
        serves = bool(readable) and os.read(read_fd, 1) == b"1"
        os.close(read_fd)
        if serves:
            self._workers.append(worker)
            return None
        if not readable:
            log.error("worker %d did not serve within %.0f s", worker.pid, START_LIMIT_S)
            worker.kill()
        return abs(worker.wait()) or 1

    def watch(self, listening: socket.socket) -> int:
        """Replace what dies until asked to stop, then stop all. 1 when workers keep crashing."""
        wanted, not_before = len(self._workers), 0.0
        while not self._stopping:
            self._leaving = [worker for worker in self._leaving if worker.poll() is None]
            for worker in [w for w in self._workers if w.poll() is not None]:
                self._workers.remove(worker)
                self._crashes += 1
                log.error("worker %d ended with status %s", worker.pid, worker.returncode)
            if len(self._workers) < wanted and time.monotonic() >= not_before:
                if self.start() is not None:
                    not_before = time.monotonic() + AGAIN_S
                if self._crashes > CRASHES or not self._workers:
                    self.stop()
                    return 1
            if self._replacing:
                self._replacing = False
                self._replace()
            time.sleep(0.1)
        listening.close()  # or the kernel would keep accepting connections that no worker serves
        self.stop()
        return 0

    def _replace(self) -> None:
        """A new worker for each one. Where the new one does not serve, the old ones go on.

        An old one drains beside the new ones, so its last stream delays no request.
        """
        for worker in list(self._workers):
            if self._stopping:
                return
            if self.start() is not None:
                log.error("a new worker does not serve, the old ones go on")
                return
            self._workers.remove(worker)
            self._leaving.append(worker)
            worker.terminate()

    def stop(self) -> None:
        """Ask every worker to drain, and wait for all."""
        self._stopping = True
        for worker in self._workers:
            worker.terminate()
        for worker in (*self._workers, *self._leaving):
            worker.wait()
