"""Sums of several workers: the same from each, and after a restart."""

from __future__ import annotations

import pytest

from llmrouter.errors import StoreFailed
from llmrouter.store.memory import MemoryStore
from llmrouter.usage.windows import HOURS, MERGE_AFTER_S, Key, UsageWindows

HOUR = 3600.0
NOW = 1_000_000 * HOUR


class Clock:
    """A clock that a test moves."""

    now = NOW

    def __call__(self) -> float:
        """The time."""
        return self.now


class Worker:
    """A worker's counters and its view of everyone's."""

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self.figures: dict[str, dict[Key, float]] = {"": {}}
        self.windows = UsageWindows(store, lambda: self.figures, clock=clock)

    async def count(self, key: Key, value: float, tenant: str = "") -> None:
        """Count, and write."""
        mine = self.figures.setdefault(tenant, {})
        mine[key] = mine.get(key, 0.0) + value
        await self.windows.flush()


class Down(MemoryStore):
    """A store that is down while it is told so."""

    down = False

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write, or fail."""
        if self.down:
            raise StoreFailed("down")
        await super().set_field(table, field, value)

    async def fields(self, table: str) -> dict[str, bytes]:
        """Read, or fail."""
        if self.down:
            raise StoreFailed("down")
        return await super().fields(table)


async def test_all_workers_show_the_sum_of_all() -> None:
    """Also one that starts later and has counted nothing."""
    store, clock = MemoryStore(), Clock()
    first, second = Worker(store, clock), Worker(store, clock)
    await first.count(("source", "llm"), 2)
    await second.count(("source", "llm"), 3)
    await second.count(("usd",), 0.25)
    restarted = Worker(store, clock)
    for worker in (first, second, restarted):
        total = await worker.windows.total("hour")
        assert total == {("source", "llm"): 5, ("usd",): 0.25}
        assert await worker.windows.total("fortnight") == total


async def test_a_tenant_has_its_own_sums() -> None:
    """Beside everyone's."""
    worker = Worker(MemoryStore(), Clock())
    await worker.count(("n",), 2, "acme")
    await worker.count(("n",), 5)
    assert await worker.windows.total("day", "acme") == {("n",): 2}
    assert await worker.windows.total("day") == {("n",): 5}
    assert await worker.windows.total("day", "nobody") == {}


async def test_a_series_has_every_piece_at_its_time() -> None:
    """Pieces without requests are there and empty; older ones fall out of the window."""
    clock = Clock()
    worker = Worker(MemoryStore(), clock)
    clock.now = NOW - 3 * HOUR
    await worker.count(("n",), 1)
    clock.now = NOW - 30 * 60
    await worker.count(("n",), 2)
    clock.now = NOW
    await worker.count(("n",), 4)
    hour = await worker.windows.series("hour")
    assert len(hour) == 60
    assert [(NOW - at, sums[("n",)]) for at, sums in hour if sums] == [(1800, 2), (0, 4)]
    day = await worker.windows.series("day")
    assert [(NOW - at, sums[("n",)]) for at, sums in day if sums] == [
        (3 * HOUR, 1), (HOUR, 2), (0, 4)
    ]  # fmt: skip
    assert sum(sums.get(("n",), 0) for _, sums in await worker.windows.series("fortnight")) == 7


async def test_hours_that_are_over_become_one_field_and_count_once() -> None:
    """However many workers wrote to them, and whoever merges."""
    store, clock = MemoryStore(), Clock()
    workers = [Worker(store, clock) for _ in range(4)]
    for worker in workers:
        await worker.count(("n",), 1)
    clock.now = NOW + HOUR + MERGE_AFTER_S + 1
    for worker in workers:
        assert await worker.windows.total("day") == {("n",): 4}
    assert len(await store.fields("usage:hours")) == 1
    clock.now = NOW + HOURS.keep_s + HOUR
    assert await workers[0].windows.total("day") == {}
    assert await store.fields("usage:hours") == {}


async def test_a_store_that_is_down_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What was counted meanwhile is shown, and written when the store is back."""
    store, clock = Down(), Clock()
    worker = Worker(store, clock)
    await worker.count(("n",), 1)
    store.down = True
    await worker.count(("n",), 2)
    assert await worker.windows.total("hour") == {("n",): 3}
    assert "usage not written" in caplog.text
    store.down = False
    await worker.windows.flush()
    assert await Worker(store, clock).windows.total("hour") == {("n",): 3}


async def test_a_field_of_another_build_counts_as_nothing() -> None:
    """It is passed over, and the rest is shown."""
    store, clock = MemoryStore(), Clock()
    worker = Worker(store, clock)
    await worker.count(("n",), 1)
    number = int(NOW // 60)
    await store.set_field("usage:minutes", f"{number}:odd", b"\x00")
    await store.set_field("usage:minutes", f"{number}:older", b"[1]")
    assert await worker.windows.total("hour") == {("n",): 1}
