"""A store in a folder: diskcache (SQLite) beneath, shared by the workers of one machine.

diskcache pickles by default, so that anyone who can write the folder can run code here, and
it deletes and reads files whose names stand in its database. `BytesOnly` refuses both: values are
bytes inside the database, and nothing else is ever read, unpickled or removed.

Reads take tens of microseconds and run inline. Writes run in one thread, several to a transaction.
By default `put` returns at once and the value is committed some milliseconds later (a crash loses
those milliseconds; an error is raised by the next write); with `shared` it returns when the value
is committed, so that another process finds it. A commit outlives this process (SQLite's WAL with
`synchronous=NORMAL`); one that is `durable` is flushed to the device (`FULL`) and outlives the
machine's end as well. A full folder loses its oldest values, those
without a time to live only when no others are left.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from diskcache import Cache, Timeout

from llmrouter.errors import StoreFailed
from llmrouter.store.bytes_only import BytesOnly
from llmrouter.store.folder import file_id, is_broken, make_private, set_aside

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_EXPIRY: Final = struct.Struct("<d")
_ENDS: Final = struct.Struct("<qq")
_COUNTER: Final = struct.Struct("<d")
LINGER_S: Final = 0.01
"""How long writes gather before they are committed together, unless a caller waits for them."""
WRITE_ATTEMPTS: Final = 5
INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS Cache_eviction ON Cache (expire_time IS NULL, store_time)"
)
DROP_OLDEST: Final = (
    "DELETE FROM Cache WHERE rowid IN"
    " (SELECT rowid FROM Cache ORDER BY expire_time IS NULL, store_time LIMIT ?)"
)
FIELDS: Final = "SELECT key, value FROM Cache WHERE key > ? AND key < ? AND raw = 1"
SWEEP_ROWS: Final = 16
SWEEP_ROUNDS: Final = 1024


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """`max_bytes` bounds the database, `pending` the writes and `jobs` the calls that wait.

    SQLite's own page cache adds half a megabyte in each of two threads.
    """

    max_bytes: int = 1024 * 1024 * 1024
    pending: int = 10_000
    jobs: int = 1_000


class DiskStore:
    """Implements `Store`. Opening a folder that cannot be used raises StoreFailed.

    `clock` gives seconds since the epoch, the same for every process that shares the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shared: bool = False,
        limits: DiskLimits = DiskLimits(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._limits = limits
        self._clock = clock
        self._guard = threading.Lock()
        self._pending: dict[str, bytes | None] = {}
        self._writing: dict[str, bytes | None] = {}
        self._failure: Exception | None = None
        self._scheduled = False
        self._jobs = 0
        self._closed = False
        self._folder = folder
        self.problem: str | None = None
        self._cache: Any = None
        with _mapped(f"{folder} cannot be opened"):
            self._open_or_replace()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def _open_or_replace(self) -> None:
        """Open the database; a broken one is set aside, and a fresh one serves."""
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            set_aside(self._folder, error)
            self._open()

    def _open(self) -> None:
        make_private(self._folder)
        cache = Cache(
            str(self._folder),
            timeout=1.0,
            disk=BytesOnly,
            size_limit=self._limits.max_bytes,
            eviction_policy="none",  # see _sweep
            cull_limit=0,
            statistics=0,
            tag_index=0,
            sqlite_cache_size=128,
            sqlite_mmap_size=0,  # mapped pages count as resident memory
            sqlite_journal_mode="wal",
            sqlite_synchronous=1,
        )
        cache._sql(INDEX)
        self._cache, self._file = cache, file_id(self._folder)

    def _reopen_if_gone(self) -> None:
        """In the worker: a folder that was deleted or replaced is opened anew."""
        if file_id(self._folder) != self._file:
            log.error("%s was deleted or replaced: what it held is gone", self._folder)
            self._cache.close()
            self._open_or_replace()

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent or expired."""
        return _unframed(self._framed(key), self._clock())

    def _framed(self, key: str) -> bytes | None:
        for waiting in (self._pending, self._writing):
            if key in waiting:
                return waiting.get(key)
        with _mapped("the value cannot be read"):
            framed: bytes | None = self._cache.get(key)
        return framed

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value; see the module for when it is on disk."""
        expires_at = math.inf if ttl_s is None else self._clock() + ttl_s
        await self._accept(key, _EXPIRY.pack(expires_at) + value)

    async def delete(self, key: str) -> None:
        """Remove a value or a counter; absent is fine."""
        await self._accept(key, None)

    async def _accept(self, key: str, framed: bytes | None) -> None:
        self._check_open()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise StoreFailed(f"an earlier write was lost: {failure}") from failure
        with _mapped("not a key"):
            key.encode()  # one that SQLite cannot hold would take the whole batch with it
        with self._guard:
            self._pending[key] = framed
        if self._shared or len(self._pending) > self._limits.pending:
            await self.flush()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(LINGER_S, self._start_writing)

    def _start_writing(self) -> None:
        self._scheduled = False
        if not self._closed:
            self._worker.submit(self._write_pending)

    async def flush(self) -> None:
        """Wait until everything accepted so far is on disk. Raises StoreFailed."""
        await self._in_worker(lambda: None)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise StoreFailed(f"a write was lost: {failure}") from failure

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append to a log and drop its oldest entries beyond `keep`."""
        if entries:
            kept = [bytes(entry) for entry in entries[-keep:]] if keep > 0 else []
            job = lambda: self._append(f"log:{log}", kept, keep)  # noqa: E731 - wrapped below
            await self._in_worker(self._synced(job) if durable else job)

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """The `last` entries before the `skip` newest, oldest first; evicted ones are left out."""
        return await self._in_worker(lambda: self._tail(f"log:{log}", last, skip))

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter, atomically across processes; a new one lives `ttl_s`."""
        return await self._in_worker(lambda: self._increment(key, by, ttl_s))

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write one field of a table; None removes it."""
        key = f"table:{table}\x1f{field}"
        framed = None if value is None else _EXPIRY.pack(math.inf) + value
        if durable:
            await self._in_worker(self._synced(lambda: self._write({key: framed})))
        else:
            await self._accept(key, framed)

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table."""
        return await self._in_worker(lambda: self._fields(f"table:{table}\x1f"))

    async def close(self) -> None:
        """Write what waits and let go of the folder."""
        if self._closed:
            return
        try:
            await self.flush()
        except StoreFailed as failure:
            log.warning("closing the store: %s", failure)
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._worker, self._cache.close)
        self._worker.shutdown(wait=False)
        self._cache.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")

    async def _in_worker(self, job: Callable[[], Result]) -> Result:
        self._check_open()
        if self._jobs >= self._limits.jobs:
            raise StoreFailed(f"{self._jobs} jobs are waiting for the disk")
        self._jobs += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._after_writing, job)
        finally:
            self._jobs -= 1

    def _after_writing(self, job: Callable[[], Result]) -> Result:
        self._write_pending()
        try:
            with _mapped("the disk cannot be used"):
                self._reopen_if_gone()
                result = self._mended(job)
        except StoreFailed as failure:
            self.problem = str(failure)
            raise
        self.problem = None
        return result

    def _mended(self, job: Callable[[], Result]) -> Result:
        """The job; once more on a fresh database where this one turns out to be broken.

        Another worker may have set it aside already.
        """
        try:
            return job()
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            self._cache.close()
            if file_id(self._folder) == self._file:
                set_aside(self._folder, error)
            self._open()
            return job()

    def _synced(self, job: Callable[[], Result]) -> Callable[[], Result]:
        """The job with its commits flushed to the device, and all that were made before them."""

        def synced() -> Result:
            self._cache._sql("PRAGMA synchronous = FULL")
            try:
                return job()
            finally:
                with suppress(sqlite3.Error):
                    self._cache._sql("PRAGMA synchronous = NORMAL")

        return synced

    def _write_pending(self) -> None:
        """In the worker: commit what waits, in one transaction."""
        with self._guard:
            if not self._pending:
                return
            self._writing, self._pending = self._pending, {}
        try:
            for attempt in range(WRITE_ATTEMPTS):
                try:
                    self._reopen_if_gone()
                    self._mended(lambda: self._write(self._writing))
                    self.problem = None
                    break
                except Timeout:
                    if attempt == WRITE_ATTEMPTS - 1:
                        raise
        except (sqlite3.Error, OSError, Timeout, StoreFailed, TypeError, ValueError) as error:
            self._failure = error
            self.problem = str(error)
            log.warning("%d writes were lost: %s", len(self._writing), error)
        finally:
            with self._guard:
                self._writing = {}
        self._sweep()

    def _sweep(self) -> None:
        """In the worker, after a commit: drop what expired, then the oldest beyond the bound.

        Not diskcache's own culling: it runs inside the transaction, where dropped rows give no
        page back yet, so one batch of writes would empty a full folder. A failure is left to the
        next write, which meets it too; another process that writes now sweeps as well.
        """
        with suppress(sqlite3.Error, OSError, Timeout):
            self._cache.expire()
            for _ in range(SWEEP_ROUNDS):
                if self._cache.volume() <= self._limits.max_bytes:
                    return
                with self._cache.transact():
                    self._cache._sql(DROP_OLDEST, (SWEEP_ROWS,))

    def _write(self, batch: dict[str, bytes | None]) -> None:
        now = self._clock()
        with self._cache.transact():
            for key, framed in batch.items():
                if framed is None:
                    self._cache.delete(key)
                else:
                    expires_at = _EXPIRY.unpack_from(framed)[0]
                    lifetime_s = None if expires_at == math.inf else max(0.0, expires_at - now)
                    self._cache.set(key, framed, expire=lifetime_s)

    def _append(self, log_key: str, entries: list[bytes], keep: int) -> None:
        with self._cache.transact():
            first, end = self._ends(log_key)
            for entry in entries:
                self._cache.set(f"{log_key}:{end}", entry)
                end += 1
            while end - first > max(0, keep):
                self._cache.delete(f"{log_key}:{first}")
                first += 1
            self._cache.set(log_key, _ENDS.pack(first, end))
        self._sweep()

    def _tail(self, log_key: str, last: int, skip: int) -> list[bytes]:
        first, end = self._ends(log_key)
        places = range(max(first, end - skip - max(0, last)), end - skip)
        found = (self._cache.get(f"{log_key}:{place}") for place in places)
        return [entry for entry in found if entry is not None]

    def _fields(self, prefix: str) -> dict[str, bytes]:
        rows = self._cache._sql(FIELDS, (prefix, prefix + "\U0010ffff"))
        return {key.removeprefix(prefix): bytes(framed)[_EXPIRY.size :] for key, framed in rows}

    def _ends(self, log_key: str) -> tuple[int, int]:
        data = self._cache.get(log_key)
        if data is None:
            return 0, 0
        if len(data) != _ENDS.size:
            raise StoreFailed(f"{log_key} is damaged")
        first, end = _ENDS.unpack(data)
        return first, end

    def _increment(self, key: str, by: float, ttl_s: float) -> float:
        now = self._clock()
        with self._cache.transact():
            framed = self._cache.get(key)
            data = _unframed(framed, now)
            if framed is None or data is None or len(data) != _COUNTER.size:
                value, expires_at = by, now + ttl_s
            else:
                value = _COUNTER.unpack(data)[0] + by
                expires_at = _EXPIRY.unpack_from(framed)[0]
            framed = _EXPIRY.pack(expires_at) + _COUNTER.pack(value)
            self._cache.set(key, framed, expire=max(0.0, expires_at - now))
        return value


def _unframed(framed: bytes | None, now: float) -> bytes | None:
    """The value inside its frame, or None when there is none or its time is over."""
    if framed is None or len(framed) < _EXPIRY.size or now >= _EXPIRY.unpack_from(framed)[0]:
        return None
    return framed[_EXPIRY.size :]


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """SQLite's and the file system's errors as StoreFailed."""
    try:
        yield
    except (sqlite3.Error, OSError, Timeout, TypeError, ValueError) as error:
        raise StoreFailed(f"{what}: {error}") from error  # the last two: a damaged row or setting
