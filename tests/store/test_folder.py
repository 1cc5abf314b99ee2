"""Tests of the store's folder: who may read it, and what happens when it breaks."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.disk import DiskStore


def modes(folder: Path) -> set[int]:
    """The permissions of the files in a folder."""
    return {file.stat().st_mode & 0o777 for file in folder.iterdir() if file.is_file()}


async def test_folder_and_files_are_its_users_alone(tmp_path: Path) -> None:
    """The database, its journals and what an earlier version left readable."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    (folder / "left").write_bytes(b"x")
    store = DiskStore(folder)
    await store.put("a", b"1", None)
    await store.flush()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes(folder) == {0o600}
    assert len(list(folder.iterdir())) >= 3
    await store.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
async def test_a_broken_database_is_set_aside_at_the_start(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts with a fresh one, says so loudly, and the broken one is kept."""
    store = DiskStore(tmp_path)
    await store.append("log", [bytes(2000)] * 200, 1000)
    await store.close()
    database = tmp_path / "cache.db"
    data = database.read_bytes()
    database.write_bytes(b"no database" * 500 if damage == "garbage" else data[: len(data) // 3])
    with caplog.at_level(logging.ERROR):
        fresh = DiskStore(tmp_path)
        assert await fresh.tail("log", 10) == []
    await fresh.put("a", b"1", None)
    await fresh.flush()
    assert await fresh.get("a") == b"1"
    assert list(tmp_path.glob("cache.db.broken-*"))  # noqa: ASYNC240 - a look at a test's folder
    assert "is broken" in caplog.text
    await fresh.close()


async def test_a_database_that_breaks_while_it_serves_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Writes after the damage are kept by a fresh database."""
    store = DiskStore(tmp_path)
    await store.append("log", [bytes(2000)] * 200, 1000)
    await store.flush()
    for journal in ("cache.db", "cache.db-wal"):
        with (tmp_path / journal).open("r+b") as file:
            file.write(b"\xff" * 40_000)
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            try:
                await store.append("log", [b"%d" % number], 1000)
            except StoreFailed:
                continue
    assert await store.tail("log", 1) == [b"2"]
    assert store.problem is None
    await store.close()


async def test_a_deleted_folder_is_noticed_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was in it is gone, which is told; what comes then is kept."""
    folder = tmp_path / "store"
    store = DiskStore(folder)
    await store.put("a", b"1", None)
    await store.flush()
    shutil.rmtree(folder)
    with caplog.at_level(logging.ERROR):
        await store.put("b", b"2", None)
        await store.flush()
    assert "was deleted" in caplog.text
    assert await store.get("b") == b"2"
    await store.close()
    again = DiskStore(folder)
    assert await again.get("b") == b"2"
    await again.close()


async def test_a_full_disk_is_told_and_forgotten_when_there_is_room(tmp_path: Path) -> None:
    """A write that cannot be kept fails, `problem` says why; the next one that can clears it."""
    store = DiskStore(tmp_path)
    await store.append("log", [b"1"], 10)
    pages = await store._in_worker(
        lambda: store._cache._sql("PRAGMA page_count").fetchone()[0]  # type: ignore[no-any-return]
    )
    await store._in_worker(
        lambda: store._cache._sql(f"PRAGMA max_page_count={pages}").fetchone()  # type: ignore[no-any-return]
    )
    with pytest.raises(StoreFailed, match="full"):
        await store.append("log", [bytes(500_000)], 10)
    assert store.problem is not None
    await store._in_worker(
        lambda: store._cache._sql("PRAGMA max_page_count=1000000").fetchone()  # type: ignore[no-any-return]
    )
    await store.append("log", [b"2"], 10)
    assert store.problem is None
    assert await store.tail("log", 10) == [b"1", b"2"]
    await store.close()
