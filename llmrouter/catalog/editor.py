"""One edit of one target's file: checked whole, put in place at once, and undone as easily.

Why it exists: the service and `llmrouter catalog undo` must edit the same way. What a file held
before an edit lies under `.history/<id>/`, beside the catalog and never loaded with it.

What it refuses: an edit with which the catalog could not serve, an id that is a path, and an edit
of something other than what the editor has read. Reading, checking and replacing are one step for
every process on the directory: a lock on it is held meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from llmrouter.catalog.loader import TARGETS, Overrides, load, read_directory
from llmrouter.catalog.target_file import id_problem
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import (
    CatalogInvalid,
    LLMRouterError,
    NotFound,
    PreconditionFailed,
    Problem,
)

HISTORY: Final = ".history"
KEPT: Final = 20
"""How many earlier versions of a target's file are kept."""
ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Edit:
    """The new text of target `name`; None takes its file away.

    `seen` is what the editor knows of it: tags of its file (`tag`) or versions of the catalog,
    ANY for a file that is there, and an empty set for one that is not. None: it may be anything.
    """

    name: str
    text: str | None
    seen: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file held until `at` (seconds since the epoch); `text` None: there was no file."""

    version: str
    at: float
    text: str | None


def tag(text: str | None) -> str:
    """16 hex characters that change with every byte of a file's text."""
    return blake2b((text or "").encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def read(directory: Path, name: str) -> str | None:
    """The text of a target's file as it is on disk, or None where there is none."""
    return None if id_problem(name) else _read(_path(directory, name))


def put(
    directory: Path, edit: Edit, serving: str | None = None, overrides: Overrides | None = None
) -> Catalog:
    """Check the whole catalog with the edit in it, put it in place, and return that catalog.

    `serving` is the catalog's version that an editor may have `seen`. Raises CatalogInvalid and
    changes nothing where the edit does not fit, PreconditionFailed where the file is another by
    now, NotFound for a file that should go and is not there, LLMRouterError when the disk refuses.
    """
    path = _path(directory, edit.name)
    if (wrong := id_problem(edit.name)) is not None:
        raise CatalogInvalid((Problem(str(path), 1, wrong),))
    try:
        data = None if edit.text is None else edit.text.encode()
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        problem = Problem(str(path), line, "not text: it has lone surrogates")
        raise CatalogInvalid((problem,)) from None
    try:
        with _alone(directory):
            _check_seen(edit, _read(path), serving)
            if data is None and not path.exists():
                raise _no_target(edit.name)
            catalog = load(directory, overrides, {f"{TARGETS}/{edit.name}.md": edit.text})
            _replace(path, data, directory / HISTORY / edit.name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"{TARGETS}/{edit.name}.md cannot be written: {reason}"
        raise LLMRouterError(message, code="catalog_not_writable") from error
    return catalog


def put_all(
    directory: Path, files: Mapping[str, str], overrides: Overrides | None = None
) -> Catalog:
    """Make these texts, by path, the whole directory, and return its catalog. Raises as `put`.

    What target files held before is kept like that of single edits.
    """
    try:
        with _alone(directory):
            edits: dict[str, str | None] = dict.fromkeys(read_directory(directory, {})[0])
            edits.update(files)
            catalog = load(directory, overrides, edits)
            for name, text in edits.items():
                path = directory / name
                if text != _read(path):
                    path.parent.mkdir(exist_ok=True)
                    kept = directory / HISTORY / path.stem
                    _replace(path, None if text is None else text.encode(), kept)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"the catalog cannot be written: {reason}"
        raise LLMRouterError(message, code="catalog_not_writable") from error
    return catalog


def history(directory: Path, name: str) -> list[Saved]:
    """What the file held before each of its last edits, newest first."""
    if id_problem(name):
        return []
    return [
        Saved(path.stem, int(path.stem) / 1e9, text or None)
        for path in sorted((directory / HISTORY / name).glob("*.md"), reverse=True)
        if path.stem.isdecimal() and (text := _read(path)) is not None
    ]


def undoing(directory: Path, edit: Edit, version: str | None = None) -> Edit:
    """The edit that brings back `version`, by default what the file held before its last edit.

    It is an edit like any other, so it can be undone. The text of `edit` says nothing. Raises
    NotFound.
    """
    versions = history(directory, edit.name)
    for saved in versions:
        if version is None or saved.version == version:
            return replace(edit, text=saved.text)
    if not versions:
        raise NotFound(
            f"no edit of {edit.name!r} is known, so there is nothing to undo", code="no_history"
        )
    known = ", ".join(saved.version for saved in versions)
    raise NotFound(
        f"{edit.name!r} has no version {version!r}; there are: {known}",
        param="version",
        code="version_not_found",
    )


def _path(directory: Path, name: str) -> Path:
    return directory / TARGETS / f"{name}.md"


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _no_target(name: str) -> NotFound:
    return NotFound(f"there is no {TARGETS}/{name}.md", code="target_not_found")


def _check_seen(edit: Edit, current: str | None, serving: str | None) -> None:
    if edit.seen is None:
        return
    holds = {serving} if current is None else {ANY, tag(current), serving}
    if edit.seen & holds or (not edit.seen and current is None):
        return
    if not edit.seen:
        message = f"{TARGETS}/{edit.name}.md is there already"
    elif current is None:
        message = f"there is no {TARGETS}/{edit.name}.md any more"
    else:
        message = (
            f"{TARGETS}/{edit.name}.md was edited since you read it; it is at {tag(current)!r} "
            "now: read it again, then edit"
        )
    raise PreconditionFailed(message)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other process edits the directory meanwhile."""
    held = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then editors are on their own
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _replace(path: Path, data: bytes | None, kept: Path) -> None:
    """Keep what is there, an empty file for nothing, and put `data` in its place."""
    there = path.exists()
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{time.time_ns()}.md").write_bytes(path.read_bytes() if there else b"")
    for old in sorted(kept.glob("*.md"))[:-KEPT]:
        old.unlink()
    if data is None:
        path.unlink()
    else:
        _write(path, data, path.stat().st_mode & 0o777 if there else 0o644)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: Path, data: bytes, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
