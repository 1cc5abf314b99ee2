"""Reads outcome files: for each prompt, the grade and the cost of each target's answer.

Published data sets and exports of a user's own journal share one row shape: `{"id", "task",
"prompt", "outcomes": {target: 0..1}, "costs": {target: USD}}`, one JSON object a line, plain or
gzipped. Rows may lack outcomes, or hold them for some targets only. A row that does not fit is an
error with its file and line: a dropped row would change every figure after it.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from llmrouter.errors import Problem

_KEYS = frozenset({"id", "task", "prompt", "outcomes", "costs"})
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json.gz", ".ndjson", ".ndjson.gz")


class BadInput(ValueError):
    """A file that cannot be evaluated; `problem` says where and what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt. `outcomes` in 0..1 and `costs` in USD are per target, each possibly empty.

    `task` may be "" (unknown).
    """

    id: str | int
    prompt: str
    task: str = ""
    outcomes: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one file, in its order. `name` is the file's stem."""

    name: str
    rows: tuple[Row, ...]
    path: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target with an outcome in any row, sorted."""
        return tuple(sorted({target for row in self.rows for target in row.outcomes}))

    @property
    def graded(self) -> tuple[Row, ...]:
        """The rows that have outcomes."""
        return tuple(row for row in self.rows if row.outcomes)


def read(path: Path) -> Dataset:
    """Reads one file, `.gz` or not. Raises `BadInput` for a missing, broken or empty one."""
    rows: list[Row] = []
    seen: dict[str | int, int] = {}
    for number, line in _lines(path):
        row = _row(path, number, line)
        if row.id in seen:
            raise _bad(path, number, f"id {row.id!r} stands already in line {seen[row.id]}")
        seen[row.id] = number
        rows.append(row)
    if not rows:
        raise _bad(path, 1, "the file holds no rows")
    return Dataset(stem(path), tuple(rows), str(path))


def read_all(paths: Sequence[Path]) -> tuple[Dataset, ...]:
    """Reads several files; names are made distinct, so that a report never mixes two sets."""
    sets: list[Dataset] = []
    names: set[str] = set()
    for path in paths:
        one = read(path)
        name, number = one.name, 2
        while name in names:
            name, number = f"{one.name} ({number})", number + 1
        names.add(name)
        sets.append(Dataset(name, one.rows, one.path))
    return tuple(sets)


def stem(path: Path) -> str:
    """The file's name without what it ends in: `nine-models.dev` of `nine-models.dev.jsonl.gz`."""
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return path.stem or path.name


def _bad(path: Path, line: int, message: str) -> BadInput:
    return BadInput(Problem(str(path), line, message))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield number, line
    except FileNotFoundError:
        raise _bad(path, 1, "no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _bad(path, number + 1, f"cannot be read: {detail}") from error


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _bad(path, number, f"not a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise _bad(path, number, f"a row is a JSON object, not {_kind(value)}")
    for key, held in value.items():
        meant = key.lower() if key.lower() in _KEYS else f"{key}s"
        if (
            key not in _KEYS
            and meant not in value
            and meant in _KEYS
            and (key.lower() == meant or isinstance(held, dict))
        ):
            raise _bad(path, number, f"unknown key {key!r}: did you mean {meant!r}?")
    prompt = value.get("prompt")
    if not isinstance(prompt, str):
        raise _bad(path, number, f'"prompt" must be a string, not {_kind(prompt)}')
    identity = value.get("id")
    if isinstance(identity, bool) or not isinstance(identity, (str, int)):
        raise _bad(path, number, f'"id" must be a string, not {_kind(identity)}')
    task = value.get("task")
    if task is not None and not isinstance(task, str):
        raise _bad(path, number, f'"task" must be a string, not {_kind(task)}')
    outcomes = _numbers(path, number, value, "outcomes", 1.0)
    costs = _numbers(path, number, value, "costs", math.inf)
    return Row(identity, prompt, task or "", outcomes, costs)


def _numbers(
    path: Path, number: int, row: Mapping[str, Any], key: str, top: float
) -> dict[str, float]:
    """The `{target: number}` under `key`; a target whose value is null is left out."""
    found = row.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _bad(path, number, f'"{key}" must be an object of numbers, not {_kind(found)}')
    out: dict[str, float] = {}
    for target, value in found.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _bad(path, number, f'"{key}" of {target!r} must be a number, not {_kind(value)}')
        if not 0 <= value <= top or math.isinf(value):
            bounds = "0..1" if top == 1.0 else "0 or more"
            raise _bad(path, number, f'"{key}" of {target!r} is {value}: expected {bounds}')
        out[target] = float(value)
    return out


def _kind(value: object) -> str:
    names = {type(None): "missing", bool: "a boolean", int: "a number", float: "a number"}
    names |= {str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
