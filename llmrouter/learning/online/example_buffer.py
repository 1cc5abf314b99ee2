"""The training examples held for the next fit, with a bound on each caller's share.

Grades come from callers, and a caller may be wrong about everything. The newest examples are held;
a key's share of them is bounded per task and kind. Feedback and repeated questions of one key are a
tenth at most, and a handful where there is little. Verified answers of one key are a tenth at most
and router LLM labels of its requests at most as many as all others together, both only where there
are other keys. So one key's flood can neither outvote the others nor push them out.

The content is not judged. Each operation takes constant time.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from llmrouter.learning.online.training_example import ExampleKind, TrainingExample

Name = TypeVar("Name", bound=Hashable)

ENOUGH = 30
"""Lessons of other keys from which on there are others to protect."""
LIKE = 256
"""Lessons in a row that are squeezed against the same one."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A key's lessons of one kind: `share` of them and the others' together, `least` in any case.

    `alone`: bound also where there are no others, by all else that is held for the task.
    """

    share: float
    least: int
    alone: bool = False


CAPS = {
    ExampleKind.WORD: Cap(0.1, 3, alone=True),
    ExampleKind.OUTCOME: Cap(0.1, 3),
    ExampleKind.LABEL: Cap(0.5, ENOUGH),
}


class Tally:
    """How many lessons each key has for each task."""

    def __init__(self) -> None:
        self._of_task: Counter[str] = Counter()
        self._of_key: Counter[tuple[str, str]] = Counter()
        self._of_kind: Counter[tuple[str, str, ExampleKind]] = Counter()

    def count(self, kept: StoredExample, by: int) -> None:
        """Adds (1) or takes away (-1) one lesson."""
        _add(self._of_task, kept.task, by)
        _add(self._of_key, (kept.task, kept.key), by)
        _add(self._of_kind, (kept.task, kept.key, kept.kind), by)

    def mine(self, task: str, key: str, kind: ExampleKind) -> int:
        """How many lessons of a kind `key` has for a task."""
        return self._of_kind[task, key, kind]

    def limit(self, task: str, key: str, kind: ExampleKind) -> float:
        """How many lessons of a kind `key` may have for a task; infinite where nothing bounds."""
        cap, whole = CAPS[kind], self._of_task[task]
        base = whole - self._of_key[task, key]
        if base < ENOUGH:
            if not cap.alone:
                return math.inf
            base = whole - self.mine(task, key, kind)
        return max(cap.least, int(base * cap.share / (1 - cap.share)))


@dataclass(frozen=True, slots=True)
class StoredExample:
    """A lesson as it is held, beside what is counted of it and who wrote it down.

    `squeezed` against another lesson, `like`, which many share: they have most of their form in
    common.
    """

    squeezed: bytes
    like: bytes
    task: str
    key: str
    kind: ExampleKind
    author: str
    number: int

    def packed(self) -> bytes:
        """The lesson without its exam, which no fit reads."""
        return zlib.decompressobj(zdict=self.like).decompress(self.squeezed)


class ExampleBuffer:
    """The newest lessons that were admitted, at most `most`, packed: a fit wants bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: deque[StoredExample] = deque()
        self._tally = Tally()
        self._like = b""
        self._alike = 0

    def __len__(self) -> int:
        return len(self._kept)

    def admits(self, task: str, key: str, kind: ExampleKind) -> bool:
        """Whether one more lesson of `key` stays within its part of a task."""
        return self._tally.mine(task, key, kind) < self._tally.limit(task, key, kind)

    def add(self, lesson: TrainingExample) -> None:
        """Holds a lesson; the oldest leaves where there is no room."""
        whose = lesson.task, lesson.key, lesson.kind
        packed = replace(lesson, comparison=None).to_bytes()
        squeezed, like = self._squeezed(packed)
        kept = StoredExample(squeezed, like, *whose, lesson.author, lesson.number)
        self._kept.append(kept)
        self._tally.count(kept, 1)
        if len(self._kept) > self.most:
            self._tally.count(self._kept.popleft(), -1)

    def _squeezed(self, packed: bytes) -> tuple[bytes, bytes]:
        """The lesson, squeezed, and what it was squeezed against: one of the lessons before."""
        if not self._like or self._alike >= LIKE:
            self._like, self._alike = packed, 0
        self._alike += 1
        squeezer = zlib.compressobj(1, zdict=self._like)
        return squeezer.compress(packed) + squeezer.flush(), self._like

    def after(self, seen: Mapping[str, int]) -> list[StoredExample]:
        """What was written down after the number that `seen` has for its author, oldest first."""
        return [one for one in self._kept if one.number > seen.get(one.author, 0)]

    def all(self) -> list[StoredExample]:
        """What is held now, oldest first."""
        return list(self._kept)


def cap_per_caller(every: Sequence[StoredExample]) -> list[StoredExample]:
    """The lessons, oldest first, without those beyond their key's part, its newest kept.

    Several workers admit each on its own; together they may let in more than one would. Takes
    microseconds a lesson, so where requests are served it belongs in a thread.
    """
    kept, taken, whole = [], Tally(), Tally()
    for one in every:
        whole.count(one, 1)
    for one in reversed(every):
        whose = one.task, one.key, one.kind
        if taken.mine(*whose) < whole.limit(*whose):
            taken.count(one, 1)
            kept.append(one)
    return kept[::-1]


def _add(counter: Counter[Name], name: Name, by: int) -> None:
    counter[name] += by
    if not counter[name]:
        del counter[name]
