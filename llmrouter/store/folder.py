"""The store's folder on disk: private to its user, and put right when its database is broken."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)
DATABASE: Final = "cache.db"
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def make_private(folder: Path) -> None:
    """Make the folder, readable by its user alone, with everything that is in it already.

    SQLite gives its journals the mode of the database, so that is made first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    os.close(os.open(folder / DATABASE, os.O_RDWR | os.O_CREAT, 0o600))
    for file in folder.iterdir():
        if file.is_file() and not file.is_symlink():
            file.chmod(0o600)


def is_broken(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is damaged, and not merely locked, full or read-only."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _BROKEN
    return "malformed" in str(error) or "not a database" in str(error)


def set_aside(folder: Path, error: Exception) -> None:
    """Give a broken database another name, so that a fresh one can be made in its place."""
    stamp = f"broken-{time.time_ns()}"
    for file in list(folder.glob(f"{DATABASE}*")):
        if ".broken-" not in file.name:
            file.rename(file.with_name(f"{file.name}.{stamp}"))
    log.error(
        "the store in %s is broken (%s): it is kept as *.%s, and a fresh one is used",
        folder,
        error,
        stamp,
    )


def file_id(folder: Path) -> tuple[int, int] | None:
    """Which file the database is; None where there is none."""
    try:
        found = (folder / DATABASE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
