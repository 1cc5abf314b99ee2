"""Feeds each target's calibration with what came of its answers, and keeps it in the store.

Outcomes come from a cascade's own signals (judge, checks, schema, samples that agree) at once, and
later from the caller: feedback, the same question again, "that's wrong". For those it is
kept for a day, under the decision's id, how sure the served answer had been. A request only ever
notes something here; reading and writing the store is done behind it, in rounds.

Workers and replicas share one record: each round adds what is new to what is stored and takes the
sum over. Two that write at once may lose a round of one. A store that fails costs nothing but
sharing: what is new waits, and what was read stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from llmrouter.domain.interfaces import Store
from llmrouter.domain.target import Target
from llmrouter.errors import StoreFailed
from llmrouter.execution.cascade.confidence_calibration import Calibration
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

ConfidenceSignals = Mapping[str, float]
"""How sure an answer was of itself (0..1), by measure: `confidence`, `margin`."""

RECORD = "confidence:record"
VERSION = 1
SERVED_TTL_S = 24 * 3600.0
PENDING = 1024
"""Notes that wait for a round; beyond it the oldest go."""
RATING_WEIGHT = 2.0
"""The weight of a caller's feedback, beside a signal of the cascade's own."""


class Record(Protocol):
    """What verification asks of it and tells it. Nothing here waits."""

    def probability(self, target: Target, measure: str, reading: float) -> float:
        """What a target's own reading is worth: the probability (0..1) that its answer is good."""
        ...

    def verified(self, target: Target, readings: ConfidenceSignals, good: bool) -> None:
        """What the other signals found of an answer with these readings."""
        ...

    def served(self, decision_id: str, target: Target, readings: ConfidenceSignals) -> None:
        """Which answer a decision's caller got."""
        ...


class NoRecord:
    """A Record that learns nothing: a reading is the probability itself."""

    def probability(self, target: Target, measure: str, reading: float) -> float:
        """The reading."""
        return reading

    def verified(self, target: Target, readings: ConfidenceSignals, good: bool) -> None:
        """Nothing."""

    def served(self, decision_id: str, target: Target, readings: ConfidenceSignals) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class _Served:
    decision_id: str
    name: str
    readings: ConfidenceSignals


@dataclass(frozen=True, slots=True)
class _Rated:
    decision_id: str
    good: float


class StoredRecord:
    """Implements Record on a store. `run` is to be started once; confined to one event loop."""

    def __init__(self, store: Store, every_s: float = 2.0) -> None:
        self._store = store
        self._every_s = every_s
        self._shared = Calibration()  # as last stored, with what is new
        self._fresh = Calibration()  # what is not stored yet
        self._stored: bytes | None = None  # as last read or written
        self._pending: deque[_Served | _Rated] = deque(maxlen=PENDING)

    def probability(self, target: Target, measure: str, reading: float) -> float:
        """What a target's own reading is worth: the probability (0..1) that its answer is good."""
        return self._shared.probability(_name(target), measure, reading)

    def verified(self, target: Target, readings: ConfidenceSignals, good: bool) -> None:
        """What the other signals found of an answer with these readings; counts at once."""
        self._learn(_name(target), readings, float(good), 1.0)

    def served(self, decision_id: str, target: Target, readings: ConfidenceSignals) -> None:
        """Which answer a decision's caller got."""
        if readings:
            self._pending.append(_Served(decision_id, _name(target), readings))

    def observe_feedback(self, decision_id: str, score: float) -> None:
        """What the caller thought of the answer, -1..1; counts once a decision."""
        self._pending.append(_Rated(decision_id, (score + 1.0) / 2.0))

    def evidence(self) -> dict[tuple[str, str], float]:
        """How many outcomes each target's curves rest on, by target and measure."""
        return {
            (name.partition("@")[0], measure): curve.evidence
            for (name, measure), curve in list(self._shared.curves.items())
        }

    async def run(self) -> None:
        """Take the stored record over, then a round every `every_s` seconds until cancelled."""
        await self.work()
        await repeatedly(self.work, self._every_s)

    async def work(self) -> None:
        """One round: notes of served answers and ratings, then the record itself."""
        try:
            while self._pending:
                await self._take(self._pending.popleft())
            await self._exchange()
        except StoreFailed as failure:
            log.warning("confidence is not shared for now: %s", failure)

    async def _take(self, note: _Served | _Rated) -> None:
        key = f"confidence:served:{note.decision_id}"
        try:
            if isinstance(note, _Served):
                value = orjson.dumps([note.name, dict(note.readings)])
                await self._store.put(key, value, SERVED_TTL_S)
            elif (kept := await self._store.get(key)) is not None:
                await self._store.delete(key)
                name, readings = orjson.loads(kept)
                self._learn(name, readings, note.good, RATING_WEIGHT)
        except StoreFailed:
            if len(self._pending) < PENDING:
                self._pending.appendleft(note)
            raise

    def _learn(self, name: str, readings: ConfidenceSignals, good: float, weight: float) -> None:
        self._shared.add(name, readings, good, weight)
        self._fresh.add(name, readings, good, weight)

    async def _exchange(self) -> None:
        """Add what is new to what is stored, and take the sum over."""
        fresh, self._fresh = self._fresh, Calibration()
        try:
            packed = await self._store.get(RECORD)
            if packed == self._stored and not fresh.curves:
                return
            summed, repacked = await asyncio.to_thread(_sum, packed, fresh)
            if fresh.curves:
                await self._store.put(RECORD, repacked, None)
            self._stored = repacked if fresh.curves else packed
        except StoreFailed:
            fresh.merge(self._fresh)
            self._fresh = fresh
            raise
        summed.merge(self._fresh)  # what was learned meanwhile
        self._shared = summed


def _sum(packed: bytes | None, fresh: Calibration) -> tuple[Calibration, bytes]:
    """What is stored and what is new, together; as it is and as it is stored."""
    summed = Calibration() if packed is None else _unpacked(packed)
    summed.merge(fresh)
    return summed, orjson.dumps([VERSION, summed.dump()])


def _unpacked(packed: bytes) -> Calibration:
    try:
        version, dumped = orjson.loads(packed)
        if version != VERSION:
            raise ValueError(f"version {version} is not {VERSION}")
        return Calibration.load(dumped)
    except (ValueError, TypeError) as error:
        log.warning("the stored confidence record cannot be read, a new one begins: %s", error)
        return Calibration()


def _name(target: Target) -> str:
    """A target whose model was replaced starts anew."""
    return f"{target.id}@{target.model}"
