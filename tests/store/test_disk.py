"""Tests of the folder that others can write: nothing in it is ever run, and failure is a miss."""

from __future__ import annotations

import asyncio
import os
import pickle
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.disk import DROP_OLDEST, DiskLimits, DiskStore

MODE_BINARY, MODE_PICKLE = 2, 4


class Bomb:
    """Unpickling it creates the file it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def plant(folder: Path, sql: str, *values: object) -> None:
    """Write into the folder's database as an attacker would."""
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute(sql, values)
    connection.close()


INSERT = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, mode, filename, value)"
    " VALUES (?, ?, 0, NULL, 0, ?, ?, ?)"
)


async def test_a_planted_pickle_is_never_unpickled(tmp_path: Path) -> None:
    """Neither a value in the database, nor one in a file, nor a key runs code."""
    folder, proof = tmp_path / "store", tmp_path / "proof"
    store = DiskStore(folder)
    bomb = pickle.dumps(Bomb(proof))
    (folder / "bomb.val").write_bytes(bomb)
    plant(folder, INSERT, "cache:inline", 1, MODE_PICKLE, None, bomb)
    plant(folder, INSERT, "cache:file", 1, MODE_PICKLE, "bomb.val", None)
    plant(folder, INSERT, bomb, 0, 1, None, b"x")
    for key in ("cache:inline", "cache:file"):
        with pytest.raises(StoreFailed, match="did not write"):
            await store.get(key)
    with pytest.raises(StoreFailed, match="did not write"):
        list(store._cache)
    await store.close()
    assert not proof.exists()
    pickle.loads(bomb)  # noqa: S301 - shows that the bomb works
    assert proof.exists()


async def test_a_planted_file_name_reads_and_removes_nothing(tmp_path: Path) -> None:
    """A row that points outside the folder gives no contents, and its file stays."""
    folder, secret = tmp_path / "store", tmp_path / "secret"
    secret.write_bytes(b"secret")
    store = DiskStore(folder)
    plant(folder, INSERT, "cache:a", 1, MODE_BINARY, "../secret", None)
    with pytest.raises(StoreFailed, match="did not write"):
        await store.get("cache:a")
    await store.put("cache:a", b"mine", None)
    await store.delete("cache:a")
    await store.close()
    assert secret.read_bytes() == b"secret"


async def test_a_file_in_the_folders_place_is_store_failed(tmp_path: Path) -> None:
    """A path that cannot be a folder is one clear error."""
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        DiskStore(path)


def set_aside(folder: Path) -> list[bytes]:
    """What broken databases held that were given another name."""
    return [file.read_bytes() for file in folder.glob("cache.db.broken-*")]


async def test_a_corrupt_database_is_set_aside_and_a_fresh_one_serves(tmp_path: Path) -> None:
    """Bytes that are no database are kept under another name."""
    corrupt = b"this is not a database" * 1000
    (tmp_path / "cache.db").write_bytes(corrupt)
    store = DiskStore(tmp_path)
    await store.put("a", b"1", None)
    assert await store.get("a") == b"1"
    await store.close()
    assert set_aside(tmp_path) == [corrupt]


async def test_two_workers_agree_on_what_takes_a_broken_databases_place(tmp_path: Path) -> None:
    """What they write from then on is there for both: neither sets the other's aside."""
    one, two = DiskStore(tmp_path, shared=True), DiskStore(tmp_path, shared=True)
    await one.append("log", [b"lost"], 10)
    (tmp_path / "garbage").write_bytes(b"this is not a database" * 1000)
    (tmp_path / "garbage").replace(tmp_path / "cache.db")
    for number, store in enumerate((one, two, one)):
        await store.append("log", [b"%d" % number], 10, durable=True)
    for store in (one, two):
        assert (await store.tail("log", 10))[-3:] == [b"0", b"1", b"2"]
    assert len(set_aside(tmp_path)) <= 1  # SQLite may mend it from its write-ahead log
    await one.close()
    await two.close()


async def test_a_planted_setting_is_store_failed(tmp_path: Path) -> None:
    """A setting that this build does not know does not get through."""
    await DiskStore(tmp_path).close()
    plant(tmp_path, "INSERT INTO Settings VALUES ('disk_surprise', 1)")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        DiskStore(tmp_path)


async def test_a_database_that_breaks_while_open_fails_reads_and_writes(tmp_path: Path) -> None:
    """Reads and counters say so at once, a lost write is raised by the next one."""
    store = DiskStore(tmp_path)
    plant(tmp_path, "DROP TABLE Cache")
    with pytest.raises(StoreFailed):
        await store.get("a")
    with pytest.raises(StoreFailed):
        await store.increment("n", 1, 10)
    await store.put("a", b"1", None)
    with pytest.raises(StoreFailed, match="lost"):
        await store.flush()
    await store.put("a", b"1", None)
    await store.close()


async def test_a_write_is_readable_before_it_is_on_disk(tmp_path: Path) -> None:
    """A process always reads its own writes and deletions."""
    store = DiskStore(tmp_path)
    await store.put("a", b"1", None)
    assert await store.get("a") == b"1"
    await store.flush()
    await store.delete("a")
    assert await store.get("a") is None
    await store.flush()
    assert await store.get("a") is None
    await store.close()


async def test_writes_reach_the_disk_by_themselves(tmp_path: Path) -> None:
    """Nobody has to flush: another opening of the folder sees the value soon."""
    store, other = DiskStore(tmp_path), DiskStore(tmp_path)
    await store.put("a", b"1", None)
    for _ in range(300):
        if await other.get("a") is not None:
            break
        await asyncio.sleep(0.01)
    assert await other.get("a") == b"1"
    await store.close()
    await other.close()


async def test_a_shared_store_shows_a_write_to_others_when_it_returns(tmp_path: Path) -> None:
    """With several workers a decision made by one is known to all."""
    store, other = DiskStore(tmp_path, shared=True), DiskStore(tmp_path, shared=True)
    for number in range(20):
        await store.put(f"decision:{number}", b"1", 100.0)
        assert await other.get(f"decision:{number}") == b"1"
    await store.close()
    await other.close()


async def test_waiting_writes_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound a writer waits for the disk instead of filling memory."""
    store = DiskStore(tmp_path, limits=DiskLimits(pending=10))
    for number in range(200):
        await store.put(f"cache:{number}", b"x", None)
        assert len(store._pending) <= 11
    assert await store.get("cache:150") == b"x"
    await store.close()


async def test_too_many_waiting_jobs_are_refused(tmp_path: Path) -> None:
    """A disk that cannot keep up fails callers instead of queueing without end."""
    store = DiskStore(tmp_path, limits=DiskLimits(jobs=5))
    results = await asyncio.gather(
        *(store.increment("n", 1, 100.0) for _ in range(50)), return_exceptions=True
    )
    assert sum(isinstance(result, StoreFailed) for result in results) == 45
    await store.close()


async def test_the_folder_stays_within_its_size(tmp_path: Path) -> None:
    """Oldest values go first when the bound is reached."""
    limit = 2_000_000
    store = DiskStore(tmp_path, limits=DiskLimits(max_bytes=limit))
    for number in range(600):
        await store.put(f"cache:{number}", os.urandom(10_000), None)
        if number % 20 == 0:
            await store.flush()
    await store.flush()
    assert store._cache.volume() <= limit * 1.2
    assert await store.get("cache:0") is None
    assert await store.get("cache:599") is not None
    await store.close()


async def test_what_is_written_to_stay_outlives_a_full_folder(tmp_path: Path) -> None:
    """A value without a time to live is not pushed out by a cache that fills the folder."""
    store = DiskStore(tmp_path, limits=DiskLimits(max_bytes=1_000_000))
    await store.put("secret", b"the oldest value of all", None)
    for number in range(300):
        await store.put(f"cache:{number}", os.urandom(10_000), 3600.0)
        if number % 20 == 0:
            await store.flush()
    await store.flush()
    assert await store.get("cache:0") is None
    kept = [n for n in range(300) if await store.get(f"cache:{n}") is not None]
    assert kept == list(range(300 - len(kept), 300)), "the newest are kept"
    assert len(kept) > 50, "no more is dropped than must be"
    assert await store.get("secret") == b"the oldest value of all"
    await store.close()


async def test_finding_what_to_push_out_reads_an_index(tmp_path: Path) -> None:
    """A full folder of a million values is not sorted at every write."""
    store = DiskStore(tmp_path)
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {DROP_OLDEST}", (16,))]
    assert any("INDEX Cache_eviction" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    await store.close()


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    """Writing after close is an error, closing twice is not."""
    store = DiskStore(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StoreFailed, match="closed"):
        await store.put("a", b"1", None)


async def test_expired_values_are_swept(tmp_path: Path) -> None:
    """Their rows go when others are written, so a cache does not only grow."""
    now = [time.time() - 1000]
    store = DiskStore(tmp_path, clock=lambda: now[0])
    for number in range(10):
        await store.put(f"cache:{number}", b"x", 0.001)
    await store.flush()
    await asyncio.sleep(0.05)
    await store.put("cache:new", b"x", None)
    await store.flush()
    assert len(store._cache) == 1
    await store.close()


async def test_processes_count_together(tmp_path: Path) -> None:
    """Increments of several processes on one folder lose nothing."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from llmrouter.store.disk import DiskStore\n"
        "async def main():\n"
        "    store = DiskStore(Path(sys.argv[1]), shared=True)\n"
        "    for n in range(50):\n"
        "        await store.increment('n', 1, 1000)\n"
        "        await store.append('log', [b'%d' % n], 1000)\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path))
        for _ in range(3)
    ]
    assert [await child.wait() for child in children] == [0, 0, 0]
    store = DiskStore(tmp_path)
    assert await store.increment("n", 0, 1000) == 150
    assert len(await store.tail("log", 1000)) == 150
    await store.close()
