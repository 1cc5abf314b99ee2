"""What differs between two versions of a prompts directory: text by text, and field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from io import StringIO
from pathlib import Path
from typing import Any

from llmrouter.catalog import versions
from llmrouter.catalog.diff import Change, changes
from llmrouter.catalog.loader import load
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import CatalogInvalid


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file that differs: `added`, `changed` or `removed`, and the unified diff."""

    path: str
    kind: str
    diff: str


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Two versions by id, the files that differ, and the fields of targets, rules and settings.

    `changes` is empty where one of them is no valid catalog for this program any more; `problem`
    says so.
    """

    older: str
    newer: str
    files: tuple[FileDiff, ...]
    changes: tuple[Change, ...]
    problem: str | None = None

    def public(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "from": self.older,
            "to": self.newer,
            "files": [{"path": one.path, "kind": one.kind, "diff": one.diff} for one in self.files],
            "changes": [one.public() for one in self.changes],
            "problem": self.problem,
        }


def diff(directory: Path, older: str, newer: str | None) -> VersionDiff:
    """The difference of two versions; None is the newest. Raises NotFound."""
    one, other = versions.find(directory, older), versions.find(directory, newer)
    old, new = versions.texts_of(directory, one), versions.texts_of(directory, other)
    found: tuple[Change, ...] = ()
    problem = None
    try:
        found = changes(_loaded(one.id, old), _loaded(other.id, new))
    except CatalogInvalid as invalid:
        problem = str(invalid)
    return VersionDiff(one.id, other.id, tuple(_files(old, new)), found, problem)


def _loaded(version: str, texts: Mapping[str, str]) -> Catalog:
    return load(Path(f"version {version}"), None, texts)


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[FileDiff]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before != after:
            kind = "added" if before is None else "removed" if after is None else "changed"
            yield FileDiff(path, kind, unified(path, before or "", after or ""))


def unified(path: str, before: str, after: str) -> str:
    """The unified diff of two texts."""
    old, new = (StringIO(text, newline="\n").readlines() for text in (before, after))
    lines = unified_diff(old, new, path, path)
    missing = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + missing for line in lines)
