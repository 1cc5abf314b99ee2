"""Every accepted state of a prompts directory: who made it, when and how, and what it held.

A version is a small JSON file under `.history/versions/`, numbered from 1, that names the text of
each file by its hash; the texts lie under `.history/texts/`, each once. Nothing is written before
the first edit: until then the one version is what is on disk. The service records edits over HTTP,
promoted canaries, and valid files that somebody saved; the oldest of `KEPT` versions give way.

Whoever writes holds `locked`, so that workers of one directory write one version of one edit.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from llmrouter.catalog.loader import (
    MAX_BYTES,
    ROUTER,
    ROUTING,
    TARGETS,
    VERIFIER,
    catalog_paths,
)
from llmrouter.catalog.target_file import id_problem
from llmrouter.errors import NotFound

HISTORY: Final = ".history"
KEPT: Final = 200
"""How many versions of a directory are kept."""
_FIRST: Final = 1


@dataclass(frozen=True, slots=True)
class Author:
    """Who made an edit (a key's name, None where only the disk knows), and how.

    `how` is `http`, `file`, `canary`, `revert` or `undo`; `note` says of what.
    """

    by: str | None = None
    how: str = "file"
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One state. `at` is in seconds since the epoch; `files` maps paths to hashes of texts."""

    id: str
    at: float
    author: Author
    files: Mapping[str, str] = field(repr=False)

    def public(self, before: Version | None) -> dict[str, Any]:
        """As shown to callers, with what changed since the version before it."""
        old = self.files if before is None else before.files
        return {
            "version": self.id,
            "at": self.at,
            "by": self.author.by,
            "how": self.author.how,
            "note": self.author.note,
            "added": sorted(self.files.keys() - old.keys()),
            "changed": sorted(p for p in self.files if p in old and old[p] != self.files[p]),
            "removed": sorted(old.keys() - self.files.keys()),
        }


@dataclass(frozen=True, slots=True)
class EarlierText:
    """What a file held until `at`, when `version` replaced it; `text` None: there was no file."""

    version: str
    at: float
    text: str | None


def path_problem(path: str) -> str | None:
    """Why a path is no file of a catalog, or None."""
    if path in (ROUTING, ROUTER, VERIFIER):
        return None
    folder, _, name = path.rpartition("/")
    if folder != TARGETS or not name.endswith(".md"):
        allowed = f"{ROUTING}, {ROUTER}, {VERIFIER} or {TARGETS}/<id>.md"
        return f"{path[:100]!r} is no file of a catalog: write {allowed}"
    return id_problem(name.removesuffix(".md"))


def tag(text: str | None) -> str:
    """16 hex characters that change with every byte of a file's text."""
    return blake2b((text or "").encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def read_texts(directory: Path) -> dict[str, str]:
    """Every file of the catalog as it is on disk; what is no UTF-8 text or too long is left out."""
    texts = {}
    for path in catalog_paths(directory):
        with suppress(OSError, UnicodeDecodeError):
            if (directory / path).stat().st_size <= MAX_BYTES:
                texts[path] = (directory / path).read_bytes().decode()
    return texts


def listed(directory: Path) -> list[Version]:
    """Every version, oldest first; what is on disk where none is recorded."""
    recorded = [found for number in _numbers(directory) if (found := _read(directory, number))]
    if recorded:
        return recorded
    tree = _tree(read_texts(directory))
    times = [(directory / path).stat().st_mtime for path in tree if (directory / path).exists()]
    return [Version(str(_FIRST), max(times, default=0.0), Author(), tree)]


def newest(directory: Path) -> str:
    """The newest version's id."""
    return str(max(_numbers(directory), default=_FIRST))


def find(directory: Path, version: str | None) -> Version:
    """A version by its id; None is the newest. Raises NotFound."""
    versions = listed(directory)
    for one in versions:
        if one.id == (versions[-1].id if version is None else version):
            return one
    raise NotFound(
        f"there is no version {version!r}; there are {versions[0].id} to {versions[-1].id}",
        param="version",
        code="version_not_found",
    )


def texts_of(directory: Path, version: Version) -> dict[str, str]:
    """The texts of a version by path. Raises NotFound where one of them is gone."""
    now = read_texts(directory)
    texts = {}
    for path, digest in version.files.items():
        try:
            texts[path] = _text(directory, digest).read_bytes().decode()
        except OSError:
            if path not in now or tag(now[path]) != digest:
                message = f"the text of {path} in version {version.id} is gone"
                raise NotFound(message, code="version_not_found") from None
            texts[path] = now[path]
    return texts


def history(directory: Path, path: str) -> list[EarlierText]:
    """What a file held before each of its recorded edits, newest first."""
    versions = listed(directory)
    found = []
    for before, after in pairwise(versions):
        digest = before.files.get(path)
        if digest != after.files.get(path):
            try:
                text = None if digest is None else _text(directory, digest).read_bytes().decode()
            except OSError:
                continue
            found.append(EarlierText(after.id, after.at, text))
    return found[::-1]


def is_recorded(directory: Path) -> bool:
    """Whether any version was recorded."""
    return bool(_numbers(directory))


def record(directory: Path, texts: Mapping[str, str], author: Author) -> str:
    """Keep a state as the newest version unless it is that already; its id. Raises OSError.

    The caller holds `locked`.
    """
    numbers, tree = _numbers(directory), _tree(texts)
    if numbers and (last := _read(directory, numbers[-1])) and last.files == tree:
        return last.id
    number = numbers[-1] + 1 if numbers else _FIRST
    for path, digest in tree.items():
        if not _text(directory, digest).exists():
            write_file(_text(directory, digest), texts[path].encode())
    told = {
        "at": time.time(),
        "by": author.by,
        "how": author.how,
        "note": author.note,
        "files": tree,
    }
    write_file(_version(directory, number), orjson.dumps(told, option=orjson.OPT_INDENT_2))
    if len(numbers) >= KEPT:
        _prune(directory, [*numbers, number])
    return str(number)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` in place at once: a reader sees all of it or what was there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """No other process edits the directory meanwhile, as far as its file system has locks."""
    held = None
    try:
        with suppress(OSError):
            held = os.open(directory, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        if held is not None:
            os.close(held)


def _tree(texts: Mapping[str, str]) -> dict[str, str]:
    return {path: tag(texts[path]) for path in sorted(texts)}


def _numbers(directory: Path) -> list[int]:
    names = (directory / HISTORY / "versions").glob("*.json")
    return sorted(int(path.stem) for path in names if path.stem.isdecimal())


def _version(directory: Path, number: int) -> Path:
    return directory / HISTORY / "versions" / f"{number}.json"


def _text(directory: Path, digest: str) -> Path:
    return directory / HISTORY / "texts" / digest


def _read(directory: Path, number: int) -> Version | None:
    """A version, or None for a file that is none."""
    try:
        told = orjson.loads(_version(directory, number).read_bytes())
        author = Author(told["by"], told["how"], told["note"])
        return Version(str(number), float(told["at"]), author, dict(told["files"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _prune(directory: Path, numbers: list[int]) -> None:
    """Take away the versions beyond `KEPT`, and the texts that no version names any more."""
    for number in numbers[:-KEPT]:
        _version(directory, number).unlink(missing_ok=True)
    kept = {digest for one in listed(directory) for digest in one.files.values()}
    for path in (directory / HISTORY / "texts").iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)
