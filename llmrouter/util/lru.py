"""What was worked out a moment ago, kept within a weight.

Many requests are the very bytes of an earlier one (a retry, a template, a poll, an evaluation run),
and reading them again yields the same frozen values. Only pure results belong here: dropping any
entry at any time must change nothing but the work. One entry may take a sixteenth of the whole,
so that a huge body cannot empty it; and who asks `came_before` first keeps nothing of what never
comes again, which would cost memory and the processor's caches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENTRY_BYTES: Final = 2048
"""What an entry weighs besides its bytes: about what the values made from a short request take."""


SEEN: Final = 2048
"""How many keys are known to have come once, at least; twice as many at most."""


class Recent(Generic[Key, Value]):
    """The newest values, together at most `limit` bytes. Confined to one event loop."""

    def __init__(self, limit: int = 2 * 1024 * 1024) -> None:
        self._limit = limit
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._young: set[int] = set()
        self._old: set[int] = set()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The value, or None."""
        entry = self._kept.get(key)
        return None if entry is None else entry[0]

    def came_before(self, key: Key) -> bool:
        """Whether `key` was asked about lately, as far as a hash tells."""
        name = hash(key)
        if name in self._young or name in self._old:
            return True
        self._young.add(name)
        if len(self._young) >= SEEN:
            self._old, self._young = self._young, set()
        return False

    def keep(self, key: Key, value: Value, size: int) -> None:
        """Keep a value made from `size` bytes; the oldest make room. Too big a one is left out."""
        weight = 2 * size + ENTRY_BYTES
        if weight > self._limit // 16:
            return
        replaced = self._kept.pop(key, None)
        if replaced is not None:
            self.weight -= replaced[1]
        self._kept[key] = value, weight
        self.weight += weight
        while self.weight > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self.weight -= freed
