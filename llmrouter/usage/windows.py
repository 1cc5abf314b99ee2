"""Sums over the last hour, day and fortnight, shared by all workers and kept over restarts.

Each worker counts for itself and never waits. Every second it adds the difference since the last
time to the current minute and hour and writes both to the store under its own name, so that two
workers never write the same field. Readers add all fields up. The first worker to claim a finished
hour merges its fields into one.

A figure is a float under a key, a tuple of words: `("source", "llm")`. Figures only grow, and add
up over workers and time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

Key = tuple[str, ...]
Figures = Mapping[Key, float]
Read = Callable[[], Mapping[str, Figures]]
"""A worker's figures since it started, by tenant; "" is everyone."""
HOUR_S: Final = 3600.0
MERGE_AFTER_S: Final = 300.0
"""How long after its end an hour is merged: later than any worker still writes to it."""
MERGED: Final = "all"
_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely figures are kept: `step_s` seconds a bucket, for `keep_s` seconds."""

    name: str
    step_s: float
    keep_s: float


MINUTES: Final = Resolution("minutes", 60.0, 2 * HOUR_S)
HOURS: Final = Resolution("hours", HOUR_S, 16 * 24 * HOUR_S)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, shown in `points` pieces."""

    resolution: Resolution
    points: int
    point_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.points * self.point_s


WINDOWS: Final[Mapping[str, Window]] = {
    "hour": Window(MINUTES, 60, 60.0),
    "day": Window(HOURS, 24, HOUR_S),
    "fortnight": Window(HOURS, 56, 6 * HOUR_S),
}


@dataclass(slots=True)
class _Bucket:
    number: int
    sums: dict[str, dict[Key, float]]


class UsageWindows:
    """One set of figures. `name` keeps its tables apart; confined to one event loop."""

    def __init__(
        self,
        store: Store,
        read: Read,
        name: str = "usage",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._read = read
        self._name = name
        self._clock = clock
        self._worker = secrets.token_hex(4)
        self._last: dict[str, dict[Key, float]] = {}
        self._open: dict[str, _Bucket] = {}
        self._unwritten: dict[tuple[str, str], bytes] = {}
        self._parsed: dict[tuple[str, str], tuple[bytes, dict[str, dict[Key, float]]]] = {}
        self._flushing = asyncio.Lock()

    async def run(self, every_s: float = 1.0) -> None:
        """Write every second until cancelled, then once more."""
        await repeatedly(self.flush, every_s)

    async def flush(self) -> None:
        """Write what changed. What cannot be written waits for the next time."""
        async with self._flushing:
            now = self._clock()
            grown = self._grown()
            if grown:
                for resolution in (MINUTES, HOURS):
                    self._add(resolution, now, grown)
            try:
                for table, field in list(self._unwritten):
                    await self._store.set_field(table, field, self._unwritten[table, field])
                    del self._unwritten[table, field]
            except StoreFailed as failure:
                log.warning("usage not written: %s", failure)

    async def series(self, window: str, tenant: str = "") -> list[tuple[float, dict[Key, float]]]:
        """Each piece's start (seconds since the epoch) and sums, oldest first.

        A tenant of "" is everyone. Raises KeyError for an unknown window.
        """
        asked = WINDOWS[window]
        end = (self._clock() // asked.point_s + 1) * asked.point_s
        start = end - asked.length_s
        pieces: list[dict[Key, float]] = [{} for _ in range(asked.points)]
        for at, sums in await self._buckets(asked.resolution):
            place = int((at - start) // asked.point_s)
            if 0 <= place < asked.points:
                _sum(pieces[place], sums.get(tenant, {}))
        return [(start + number * asked.point_s, piece) for number, piece in enumerate(pieces)]

    async def total(self, window: str, tenant: str = "") -> dict[Key, float]:
        """The sum over a window."""
        out: dict[Key, float] = {}
        for _, sums in await self.series(window, tenant):
            _sum(out, sums)
        return out

    async def hours(self, tenant: str = "") -> list[tuple[float, dict[Key, float]]]:
        """The start and sums of every hour that is kept, in no order, each as often as written."""
        found = await self._buckets(HOURS)
        return [(at, sums[tenant]) for at, sums in found if tenant in sums]

    def _grown(self) -> dict[str, dict[Key, float]]:
        grown: dict[str, dict[Key, float]] = {}
        for tenant, figures in self._read().items():
            last = self._last.get(tenant, {})
            more = {
                key: value - last.get(key, 0.0)
                for key, value in figures.items()
                if value != last.get(key, 0.0)
            }
            if more:
                grown[tenant] = more
                self._last[tenant] = dict(figures)
        return grown

    def _add(self, resolution: Resolution, now: float, grown: dict[str, dict[Key, float]]) -> None:
        number = int(now // resolution.step_s)
        bucket = self._open.get(resolution.name)
        if bucket is None or bucket.number != number:
            bucket = self._open[resolution.name] = _Bucket(number, {})
        for tenant, figures in grown.items():
            _sum(bucket.sums.setdefault(tenant, {}), figures)
        table = f"{self._name}:{resolution.name}"
        self._unwritten[table, f"{number}:{self._worker}"] = _packed(bucket.sums)

    async def _buckets(
        self, resolution: Resolution
    ) -> list[tuple[float, dict[str, dict[Key, float]]]]:
        """Everyone's buckets, this worker's unwritten ones included. A dead store shows its own."""
        await self.flush()
        table = f"{self._name}:{resolution.name}"
        try:
            fields = await self._store.fields(table)
        except StoreFailed as failure:
            log.warning("usage not read: %s", failure)
            fields = {f: value for (t, f), (value, _) in self._parsed.items() if t == table}
            if (own := self._open.get(resolution.name)) is not None:
                fields[f"{own.number}:{self._worker}"] = _packed(own.sums)
        fields.update({f: value for (t, f), value in self._unwritten.items() if t == table})
        now = self._clock()
        out = []
        for field, value in fields.items():
            parsed = self._parsed.get((table, field))
            if parsed is None or parsed[0] != value:
                parsed = self._parsed[table, field] = value, _unpacked(value)
            out.append((int(field.partition(":")[0]) * resolution.step_s, parsed[1]))
        for known in [k for k in self._parsed if k[0] == table and k[1] not in fields]:
            del self._parsed[known]
        await self._tidy(resolution, table, fields, now)
        return out

    async def _tidy(
        self, resolution: Resolution, table: str, fields: Mapping[str, bytes], now: float
    ) -> None:
        """Remove what is too old; merge hours that are over into one field each.

        A crash between writing the merged field and removing its parts counts that hour's parts
        twice; the other order would lose them.
        """
        parts: dict[int, list[str]] = {}
        try:
            for field in fields:
                number = int(field.partition(":")[0])
                if now - number * resolution.step_s > resolution.keep_s:
                    await self._store.set_field(table, field, None)
                elif now - (number + 1) * resolution.step_s > MERGE_AFTER_S:
                    parts.setdefault(number, []).append(field)
            for number, several in parts.items():
                if len(several) < 2 or resolution is MINUTES:
                    continue
                claim = f"{table}:merge:{number}:{len(several)}"
                if await self._store.increment(claim, 1, HOUR_S) == 1:
                    await self._merge(table, number, several)
        except StoreFailed as failure:
            log.warning("usage not merged: %s", failure)

    async def _merge(self, table: str, number: int, several: Iterable[str]) -> None:
        sums: dict[str, dict[Key, float]] = {}
        for field in several:
            for tenant, figures in self._parsed[table, field][1].items():
                _sum(sums.setdefault(tenant, {}), figures)
        await self._store.set_field(table, f"{number}:{MERGED}", _packed(sums))
        for field in several:
            if field != f"{number}:{MERGED}":
                await self._store.set_field(table, field, None)


def _sum(into: dict[Key, float], more: Figures) -> None:
    for key, value in more.items():
        into[key] = into.get(key, 0.0) + value


def _packed(sums: Mapping[str, Figures]) -> bytes:
    return orjson.dumps(
        {
            tenant: {_SEPARATOR.join(key): value for key, value in figures.items()}
            for tenant, figures in sums.items()
        }
    )


def _unpacked(value: bytes) -> dict[str, dict[Key, float]]:
    """What can be read; a field of another build counts as nothing."""
    try:
        return {
            str(tenant): {tuple(key.split(_SEPARATOR)): float(one) for key, one in figures.items()}
            for tenant, figures in orjson.loads(value).items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        log.debug("usage that cannot be read: %s", error)
        return {}
