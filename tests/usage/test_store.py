"""The running accounts: they add up, outlive a restart, and every worker sees all of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Feedback
from llmrouter.errors import StoreFailed
from llmrouter.store.memory import MemoryStore
from llmrouter.usage.drift import DAY
from llmrouter.usage.store import KEYS, OTHER, UsageStore
from tests.fakes import a_decision
from tests.routing.asking import a_question

NOW = 100 * DAY


class Frail(MemoryStore):
    """A store that can be down, for writing or for reading."""

    def __init__(self, writes: bool = True, reads: bool = True) -> None:
        super().__init__()
        self.writes, self.reads = writes, reads

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write, or fail."""
        if not self.writes:
            raise StoreFailed("down")
        await super().set_field(table, field, value)

    async def fields(self, table: str) -> dict[str, bytes]:
        """Read, or fail."""
        if not self.reads:
            raise StoreFailed("down")
        return await super().fields(table)


class Clock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """The time."""
        return self.now


def execution(cost: float = 0.5, *outcomes: str) -> Completion:
    """An execution at small with attempts that cost 0.1 each."""
    attempts = tuple(Attempt("small", o, "", 1.0, 0.1) for o in outcomes or ("ok",))
    return Completion("small", attempts, cost, 1.0, "stop")


def serve(books: UsageStore, score: float | None = None, task: str = "code", **over: Any) -> None:
    """One request from decision to rating."""
    decision = a_decision("small", task=task, router_cost_usd=0.25, **over)
    books.decided(decision, a_question())
    books.completed(decision, execution(0.5, "rejected", "ok"))
    if score is not None:
        books.observe_feedback(decision, Feedback("d-1", score))


async def test_everything_is_on_the_account() -> None:
    """Before anything is written: decision, execution, judge, rejection, audit, rating."""
    books = UsageStore(MemoryStore(), clock=Clock())
    serve(books, 1.0)
    books.audited(("", "code", "small"), 0.0625)
    found = (await books.snapshot())["code"]["small"]
    assert found["now"] == {
        "requests": 1, "spent_usd": pytest.approx(0.8125), "usd_per_request": pytest.approx(0.8125),
        "served_usd": 0.1, "router_usd": 0.25, "audits_usd": 0.0625, "embeddings_usd": 0.0,
        "judge_usd": pytest.approx(0.3),
        "rejected_usd": 0.1, "quality": 1.0, "rated": 1, "acceptance": 0.5,
        "quality_per_usd": pytest.approx(1 / 0.8125),
    }  # fmt: skip
    assert found["before"]["requests"] == 0


async def test_a_restart_and_another_worker_see_last_week() -> None:
    """What was written is everybody's and counts once; a fall since then is flagged."""
    store, clock = MemoryStore(), Clock()
    first, second = UsageStore(store, clock=clock), UsageStore(store, clock=clock)
    clock.now = NOW - 3 * DAY
    for _ in range(40):
        serve(first, 1.0)
    await first.flush()
    clock.now = NOW
    for _ in range(30):
        serve(second, -1.0)
    await second.flush()
    await first.flush()
    serve(first, -1.0)
    await first.flush()
    restarted = UsageStore(store, clock=clock)
    await restarted.flush()
    for books, today in ((first, 31), (second, 31), (restarted, 31)):
        found = (await books.snapshot())["code"]["small"]
        assert (found["now"]["requests"], found["before"]["requests"]) == (today, 40)
        quality = {"what": "quality", "when": "now", "before": 1.0, "now": 0.0}
        assert found["falls"] == [quality]


async def test_a_store_that_is_down_costs_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """The sums wait and are shown all the same, and the log says so."""
    store = Frail(writes=False)
    books = UsageStore(store, clock=Clock())
    serve(books)
    with caplog.at_level(logging.WARNING):
        await books.flush()
    assert "usage not written" in caplog.text
    serve(books)
    assert (await books.snapshot())["code"]["small"]["now"]["requests"] == 2
    store.writes = True
    await books.flush()
    fresh = UsageStore(store, clock=Clock())
    await fresh.flush()
    assert (await fresh.snapshot())["code"]["small"]["now"]["requests"] == 2


async def test_a_tenant_sees_its_own() -> None:
    """And who sees everyone sees the sum."""
    books = UsageStore(MemoryStore(), clock=Clock())
    serve(books, tenant="acme")
    serve(books, tenant="acme")
    serve(books, tenant="other")
    await books.flush()
    for tenant, count in (("acme", 2), ("other", 1), ("", 3)):
        found = (await books.snapshot(tenant))["code"]["small"]
        assert found["now"]["requests"] == count
    assert await books.snapshot("nobody") == {}


async def test_callers_cannot_make_accounts_without_end() -> None:
    """Tasks are theirs to name; past a number they share one account."""
    books = UsageStore(MemoryStore(), clock=Clock())
    for number in range(KEYS + 50):
        books.decided(a_decision("small", task=f"task {number}"), a_question())
    found = await books.snapshot()
    assert len(found) == KEYS + 1
    assert found[OTHER]["small"]["now"]["requests"] == 50


async def test_a_failing_read_leaves_what_was_known() -> None:
    """Nothing is forgotten because one look failed."""
    books = UsageStore(Frail(reads=False), clock=Clock())
    serve(books)
    await books.flush()
    assert (await books.snapshot())["code"]["small"]["now"]["requests"] == 1
