"""A bounded memory of graded requests, searched by nearest neighbours in sub-linear time.

The outcome of a near-identical request is the best evidence there is, and it counts at once, long
before the next fit. An entry keeps each grade beside the estimate made without it, so neighbours
correct an estimate by their residuals: where the model was right they change nothing, and a grade
of one target says nothing about the others.

The memory holds no text. It never grows past `capacity` (the oldest entry leaves), and a search
looks at no more than `SCAN` entries, in the `PROBES` nearest lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Ints
from llmrouter.learning.model.int8 import products
from llmrouter.learning.model.neighbour_correction import EDGES, NeighbourCorrection

PROBES = 3
SCAN = 640
NEIGHBOURS = 32
MISSING = 255
_FAINT = 20.0
"""A neighbour whose weight is less than e to the minus this is as good as none."""
_LEVELS = np.float32(254)
_KEY = np.float32(127)
_BAND = np.float32(0.01)
"""Cosines this close are equally near: keys are kept in steps of 1/127."""
_SAME = np.float32(0.90)
"""Cosine of sketches from which two requests count as one, reworded at most."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the nearest entries say, per target.

    `moves` float32 [T] is how far they move an estimate. `support` float32 [T] counts graded
    entries, each for how near it is. `nearest` is the highest cosine found, 0 where none is, and
    `any` tells whether one is near enough to say anything: without, the rest is zero.
    """

    moves: Floats
    support: Floats
    nearest: float
    any: bool


class KnnMemory:
    """Entries in a ring, each in one inverted list; keys are int8 unit vectors.

    Bytes per entry: width + 2 * columns + 9. `lists` float32 [L, width] are the lists' centres.
    `sharpness` is how fast a neighbour's weight falls with 1 - cosine.
    """

    def __init__(self, centres: Floats, columns: int, capacity: int, sharpness: float) -> None:
        self.centres = centres
        self.capacity = capacity
        self.sharpness = sharpness
        # A slot is written before it is read: room that is not filled yet takes no memory.
        self.keys = np.empty((capacity, centres.shape[1]), np.int8)
        self.grades = np.empty((capacity, columns), np.uint8)
        self.bases = np.empty((capacity, columns), np.uint8)
        self.weights = np.empty(capacity, np.float32)
        self.fitted = np.empty(capacity, np.bool_)
        self.home = np.empty(capacity, np.int32)
        self.added = 0
        self._lists: list[NDArray[np.int32]] = [np.zeros(8, np.int32) for _ in range(len(centres))]
        self._sizes = [0] * len(centres)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self, key: Floats, grades: Floats, bases: Floats, weight: float, *, fitted: bool = False
    ) -> None:
        """Adds one entry: unit `key`, `grades` [T] in 0..1 (NaN: not graded), `bases` [T].

        `fitted`: the estimator has been fitted on it.
        """
        slot = self.added % self.capacity
        if self.added >= self.capacity:
            self._drop(slot)
        known = ~np.isnan(grades)
        self.keys[slot] = np.rint(key * _KEY)
        self.grades[slot] = MISSING
        self.grades[slot, : len(grades)][known] = np.rint(np.clip(grades[known], 0, 1) * _LEVELS)
        self.bases[slot] = 0
        self.bases[slot, : len(bases)] = np.rint(np.clip(bases, 0, 1) * _LEVELS)
        self.weights[slot] = weight
        self.fitted[slot] = fitted
        self._file(slot, int(np.argmax(self.centres @ key)))
        self.added += 1

    def look(self, key: Floats, correction: NeighbourCorrection) -> Neighbours:
        """The evidence of the nearest entries to the unit `key`."""
        slots, close = self._closeness(key)
        nearest = float(np.maximum.reduce(close)) if len(close) else 0.0
        faint = float(_SAME) - _FAINT / self.sharpness
        least = faint if correction.flat else min(faint, float(EDGES[0]))
        if not len(close) or nearest < least:
            nothing = np.zeros(self.grades.shape[1], np.float32)
            return Neighbours(nothing, nothing, nearest, any=False)
        slots, close = self._nearest(slots, close, least)
        residual, given, weight = self._evidence(slots)
        kernel = np.exp(np.minimum(close - _SAME, 0) * np.float32(self.sharpness)) * weight
        if correction.flat:
            weight = kernel
        gained = weight * correction.of(close, self.fitted.take(slots))
        moves = (gained @ residual) / (weight @ given + np.float32(correction.shrink))
        return Neighbours(moves, kernel @ given, nearest, any=True)

    def pulls(self, key: Floats, shrink: float) -> Iterator[tuple[int, int, Floats, Floats]]:
        """What a `NeighbourCorrection` learns from, before an entry under the unit `key` is added:
        (kind, band, pull [T], whether targets are known [T]) where there are neighbours.
        """
        slots, close = self._closeness(key)
        slots, close = self._nearest(slots, close, float(EDGES[0]))
        band = EDGES.searchsorted(close, side="right") - 1
        kind = (~self.fitted.take(slots)).astype(np.int64)
        for which, number in set(zip(kind.tolist(), band.tolist(), strict=True)):
            residual, given, weight = self._evidence(slots[(kind == which) & (band == number)])
            known = weight @ given
            yield which, number, (weight @ residual) / (known + np.float32(shrink)), known

    def _nearest(
        self, slots: NDArray[np.int32], close: Floats, least: float
    ) -> tuple[NDArray[np.int32], Floats]:
        """The nearest entries with a cosine of `least` or more, at most `NEIGHBOURS`."""
        near = (close >= least).nonzero()[0]
        if len(near) > NEIGHBOURS:
            near = close.argpartition(-NEIGHBOURS)[-NEIGHBOURS:]
        return slots.take(near), close.take(near)

    def _evidence(self, slots: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
        """Residuals [k, T] (0: not graded), which are graded [k, T], and what each is worth [k]."""
        grades = self.grades.take(slots, axis=0)
        given = (grades != MISSING).astype(np.float32)
        residual = (grades.astype(np.float32) - self.bases.take(slots, axis=0)) * given
        residual *= np.float32(1 / _LEVELS)
        return residual, given, self.weights.take(slots)

    def same(self, key: Floats, least: float) -> Floats:
        """Mean grades [T] of entries that are the unit `key`'s request, -1 where there is none.

        Entries worth less than `least` are passed over. Of those near enough the nearest count
        alone: where the request itself is known, others that only look like it say nothing.
        """
        slots, close = self._closeness(key)
        near = (close >= _SAME) & (self.weights.take(slots) >= least)
        slots, close = slots[near], close[near]
        slots = slots[close >= close.max(initial=0) - _BAND]
        grades = self.grades.take(slots, axis=0)
        given = grades != MISSING
        count = given.sum(axis=0)
        total = np.where(given, grades, 0).sum(axis=0, dtype=np.float32)
        mean = total / (np.maximum(count, 1) * _LEVELS)
        return np.where(count > 0, mean, -1).astype(np.float32)

    def widen(self, columns: int) -> None:
        """Makes room for `columns` targets in all."""
        if columns > self.grades.shape[1]:
            self.grades = self._widened(self.grades, columns, MISSING)
            self.bases = self._widened(self.bases, columns, 0)

    def _closeness(self, key: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Entries that may be near the unit `key`, and the cosine of each."""
        slots = self._candidates(key)
        close = products(self.keys, slots, key)
        close *= np.float32(1 / 127)
        return slots, close

    def _widened(self, narrow: NDArray[np.uint8], columns: int, fill: int) -> NDArray[np.uint8]:
        wide = np.empty((self.capacity, columns), np.uint8)
        filled, known = len(self), narrow.shape[1]
        wide[:filled, :known] = narrow[:filled]
        wide[:filled, known:] = fill
        return wide

    def _candidates(self, key: Floats) -> NDArray[np.int32]:
        """The newest entries of the nearest lists, nearest first, as far as `SCAN` goes."""
        near = self.centres @ key
        parts, room = [], SCAN
        for _ in range(min(PROBES, len(near))):
            number = int(near.argmax())
            near[number] = -np.inf
            end = self._sizes[number]
            size = min(end, room)
            if size:
                parts.append(self._lists[number][end - size : end])
                room -= size
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def _file(self, slot: int, number: int) -> None:
        size = self._sizes[number]
        if size == len(self._lists[number]):
            grown = np.zeros(size * 2, np.int32)
            grown[:size] = self._lists[number]
            self._lists[number] = grown
        self._lists[number][size] = slot
        self._sizes[number] = size + 1
        self.home[slot] = number

    def _drop(self, slot: int) -> None:
        number, entries = int(self.home[slot]), self._lists[int(self.home[slot])]
        size = self._sizes[number]
        at = int(np.flatnonzero(entries[:size] == slot)[0])
        entries[at : size - 1] = entries[at + 1 : size].copy()
        self._sizes[number] = size - 1

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The filled part, oldest entry first, for storage."""
        order = self._order()
        return {
            "centres": self.centres,
            "keys": self.keys[order],
            "grades": self.grades[order],
            "bases": self.bases[order],
            "weights": self.weights[order],
            "fitted": self.fitted[order],
            "home": self.home[order],
        }

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fills an empty memory with stored entries. Raises `ValueError` where they do not fit."""
        count = len(arrays["keys"])
        homes = arrays["home"].astype(np.int32)
        if count > self.capacity or (
            count and not 0 <= homes.min() <= homes.max() < len(self.centres)
        ):
            raise ValueError("the stored memory does not fit its own settings")
        for name in ("keys", "grades", "bases", "weights"):
            getattr(self, name)[:count] = arrays[name]
        self.fitted[:count] = arrays.get("fitted", np.ones(count, np.bool_))
        self.home[:count] = homes
        order = np.argsort(homes, kind="stable").astype(np.int32)
        bounds = np.searchsorted(homes[order], np.arange(len(self.centres) + 1)).tolist()
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            if start < end:
                self._lists[number] = order[start:end].copy()
                self._sizes[number] = end - start
        self.added = count

    def _order(self) -> Ints:
        start = self.added % self.capacity if self.added > self.capacity else 0
        return (np.arange(len(self)) + start) % self.capacity
