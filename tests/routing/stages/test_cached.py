"""Tests of the decision cache: what it serves, what it shares, and what it never keeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmrouter.domain.chat import RouterOptions
from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.features import Features
from llmrouter.domain.serialization import CachedResult, decode_cached, encode_cached
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.routing.stages.cached import Cached, CachePolicy
from llmrouter.store.memory import MemoryStore
from llmrouter.util.tasks import Background
from tests.fakes import a_catalog, a_request

TTL_S = 100.0
LLM = StageResult(
    "large",
    Source.LLM,
    "needs care",
    confidence=0.8,
    task="code",
    alternatives=(Alternative("small", 0.2),),
    cacheable=True,
    cost_usd=0.001,
)


def context(fingerprint: str = "f" * 32, **over: Any) -> RoutingContext:
    """A question under a fingerprint; `cache` sets the mode."""
    options = RouterOptions(cache=over.pop("cache", "use"))
    features = Features(fingerprint, "c" * 32, "hi", "", 1, 1, frozenset(), 1, False, False)
    values: dict[str, Any] = {
        "request": a_request(options=options),
        "features": features,
        "catalog": a_catalog(),
        "eligible": ("small", "large"),
    }
    return RoutingContext(**{**values, **over})


class Scripted:
    """A stage that answers what it is told to, when it is told to."""

    name = "llm"

    def __init__(self) -> None:
        self.answer: StageResult | Exception | None = LLM
        self.calls = 0
        self.ended = 0
        self.gate: asyncio.Event | None = None

    async def decide(self, asked: RoutingContext) -> StageResult | None:
        """The scripted answer, once the gate is open."""
        self.calls += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Broken(MemoryStore):
    """A store that cannot be used."""

    async def get(self, key: str) -> bytes | None:
        """Fails."""
        raise StoreFailed("down")

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Fails."""
        raise StoreFailed("down")


@dataclass
class Bench:
    """A cache around a scripted stage, with a clock that the test moves."""

    inner: Scripted = field(default_factory=Scripted)
    store: MemoryStore = field(default_factory=MemoryStore)
    background: Background = field(default_factory=Background)
    outcomes: list[str] = field(default_factory=list)
    now: float = 1_000_000.0

    def cache(self, **policy: Any) -> Cached:
        """A cache with nothing in memory."""
        chosen = CachePolicy(
            ttl_s=TTL_S, observe=self.outcomes.append, clock=lambda: self.now, **policy
        )
        return Cached(self.inner, self.store, key_of, self.background, chosen)

    async def settle(self) -> None:
        """Let everything in the background finish."""
        for _ in range(1000):
            if not len(self.background):
                return
            await asyncio.sleep(0)
        raise AssertionError("the background does not come to rest")


def key_of(fingerprint: str, revision: str, eligible: tuple[str, ...]) -> str:
    """A readable stand-in for the keyed hash."""
    return repr((fingerprint, revision, eligible))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A fresh bench, its background ended afterwards."""
    made = Bench()
    yield made
    await made.background.close(grace_s=0)


async def test_a_hit_says_where_it_came_from(bench: Bench) -> None:
    """The second answer is the first one's, from `cache`, naming source and reason, for free."""
    cache = bench.cache()
    assert await cache.decide(context()) == LLM
    hit = await cache.decide(context())
    assert hit is not None
    assert (hit.source, hit.target, hit.confidence, hit.task) == (
        Source.CACHE,
        "large",
        0.8,
        "code",
    )
    assert "llm" in hit.reason
    assert "needs care" in hit.reason
    assert (hit.cacheable, hit.cost_usd) == (False, 0.0)
    assert bench.inner.calls == 1
    assert bench.outcomes == ["miss", "hit"]


async def test_a_hit_in_memory_awaits_nothing(bench: Bench) -> None:
    """The coroutine of a hot lookup ends on its first step, without the event loop."""
    cache = bench.cache()
    await cache.decide(context())
    with pytest.raises(StopIteration) as ended:
        cache.decide(context()).send(None)
    assert ended.value.value.source is Source.CACHE


async def test_an_entry_survives_in_the_store(bench: Bench) -> None:
    """Another process, or this one after a restart, finds it there."""
    await bench.cache().decide(context())
    await bench.settle()
    hit = await bench.cache().decide(context())
    assert hit is not None
    assert hit.source is Source.CACHE
    assert bench.inner.calls == 1
    assert bench.outcomes == ["miss", "hit"]


@pytest.mark.parametrize(
    "other",
    [
        context("0" * 32),
        context(catalog=a_catalog(version="v2")),
        context(catalog=a_catalog(policy_version="p2")),
        context(catalog=a_catalog(prompt_version="r2")),
        context(eligible=("large",)),
    ],
)
async def test_another_request_catalog_or_candidate_set_is_another_entry(
    bench: Bench, other: RoutingContext
) -> None:
    """Every part of the key counts, in memory and in the store."""
    cache = bench.cache()
    await cache.decide(context())
    await cache.decide(other)
    await bench.settle()
    assert bench.inner.calls == 2
    await bench.cache().decide(other)
    assert bench.inner.calls == 2


async def test_a_stale_entry_is_served_while_one_call_renews_it(bench: Bench) -> None:
    """After the time to live, callers still get an answer at once, and one refresh runs."""
    cache = bench.cache()
    await cache.decide(context())
    bench.now += TTL_S
    bench.inner.gate = asyncio.Event()
    bench.inner.answer = replace(LLM, target="small")
    for _ in range(5):
        stale = await cache.decide(context())
        assert stale is not None
        assert stale.target == "large"
        await asyncio.sleep(0)
    assert bench.inner.calls == 2
    bench.inner.gate.set()
    await bench.settle()
    fresh = await cache.decide(context())
    assert fresh is not None
    assert fresh.target == "small"
    assert bench.outcomes == ["miss", *["stale"] * 5, "hit"]


async def test_a_stale_entry_of_the_store_is_renewed_too(bench: Bench) -> None:
    """Staleness is the entry's own, wherever it is found."""
    await bench.cache().decide(context())
    await bench.settle()
    bench.now += TTL_S
    again = bench.cache()
    await again.decide(context())
    await bench.settle()
    await again.decide(context())
    assert bench.inner.calls == 2
    assert bench.outcomes == ["miss", "stale", "hit"]


async def test_a_failed_renewal_keeps_the_stale_entry(bench: Bench) -> None:
    """A bad minute of the router LLM does not empty the cache."""
    cache = bench.cache()
    await cache.decide(context())
    bench.now += TTL_S
    bench.inner.answer = RouterLLMFailed("timeout")
    await cache.decide(context())
    await bench.settle()
    still = await cache.decide(context())
    assert still is not None
    assert still.target == "large"


async def test_twice_the_time_to_live_is_the_end(bench: Bench) -> None:
    """Then the entry is a miss, in memory and in the store."""
    await bench.cache().decide(context())
    cache = bench.cache()
    await cache.decide(context())
    bench.now += 2 * TTL_S
    await cache.decide(context())
    await bench.cache().decide(context())
    assert bench.outcomes == ["miss", "hit", "miss", "hit"]
    assert bench.inner.calls == 2


async def test_off_neither_reads_nor_writes(bench: Bench) -> None:
    """`cache: off` leaves no trace."""
    cache = bench.cache()
    await cache.decide(context(cache="off"))
    await cache.decide(context(cache="off"))
    assert bench.inner.calls == 2
    assert len(cache) == len(bench.store) == 0
    assert bench.outcomes == ["off", "off"]


async def test_refresh_decides_afresh_and_replaces(bench: Bench) -> None:
    """`cache: refresh` ignores the entry and leaves a new one."""
    cache = bench.cache()
    await cache.decide(context())
    bench.inner.answer = replace(LLM, target="small")
    renewed = await cache.decide(context(cache="refresh"))
    assert renewed is not None
    assert (renewed.target, renewed.source) == ("small", Source.LLM)
    await bench.settle()
    for reader in (cache, bench.cache()):
        hit = await reader.decide(context())
        assert hit is not None
        assert hit.target == "small"
    assert bench.outcomes == ["miss", "off", "hit", "hit"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        replace(LLM, cacheable=False),
        replace(LLM, source=Source.DEFAULT),
        replace(LLM, source=Source.CACHE),
        replace(LLM, target="invented"),
    ],
)
async def test_what_must_not_be_cached_is_not(bench: Bench, answer: StageResult | None) -> None:
    """Abstentions, free verdicts, defaults and targets that are not eligible pass through."""
    bench.inner.answer = answer
    cache = bench.cache()
    assert await cache.decide(context()) == answer
    assert await cache.decide(context()) == answer
    await bench.settle()
    assert bench.inner.calls == 2
    assert len(cache) == len(bench.store) == 0


async def test_identical_requests_share_one_call(bench: Bench) -> None:
    """A crowd at a cold entry costs one inner call."""
    bench.inner.gate = asyncio.Event()
    cache = bench.cache()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(cache.decide(context())) for _ in range(20)]
        await asyncio.sleep(0.01)
        bench.inner.gate.set()
    assert [task.result() for task in waiting] == [LLM] * 20
    assert bench.inner.calls == 1


async def test_different_requests_do_not_wait_for_each_other(bench: Bench) -> None:
    """Sharing is by key."""
    cache = bench.cache()
    await asyncio.gather(*(cache.decide(context(f"{n:032x}")) for n in range(5)))
    assert bench.inner.calls == 5


async def test_a_waiter_that_leaves_does_not_end_it_for_the_others(bench: Bench) -> None:
    """The first caller's disconnect is not the second one's failure."""
    bench.inner.gate = asyncio.Event()
    cache = bench.cache()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(cache.decide(context())) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        bench.inner.gate.set()
    assert first.cancelled()
    assert second.result() == LLM
    assert (bench.inner.calls, bench.inner.ended) == (1, 0)


async def test_a_call_that_nobody_waits_for_is_ended(bench: Bench) -> None:
    """When the last waiter leaves, its call is freed at once, and the next one works."""
    bench.inner.gate = asyncio.Event()
    cache = bench.cache()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await cache.decide(context())
    await bench.settle()
    assert bench.inner.ended == 1
    bench.inner.gate.set()
    assert await cache.decide(context()) == LLM


async def test_a_call_ended_from_outside_abstains(bench: Bench) -> None:
    """When the service closes, a request that waits is not cancelled with the call: it moves on."""
    bench.inner.gate = asyncio.Event()
    cache = bench.cache()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(cache.decide(context()))
        await asyncio.sleep(0.01)
        await bench.background.close(grace_s=0)
    assert waiting.result() is None
    assert bench.inner.ended == 1
    bench.inner.gate = None
    assert await cache.decide(context()) == LLM, "nothing of it was cached"


async def test_a_failure_reaches_everyone_and_is_not_cached(bench: Bench) -> None:
    """Each waiter hears of it, and the next request tries again."""
    bench.inner.answer = RouterLLMFailed("refusal")
    cache = bench.cache()
    results = await asyncio.gather(
        *(cache.decide(context()) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [RouterLLMFailed] * 5
    assert bench.inner.calls == 1
    bench.inner.answer = LLM
    assert await cache.decide(context()) == LLM


async def test_a_broken_store_is_a_miss(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Requests are answered, failures counted, and logged once a minute."""
    bench.store = Broken()
    cache = bench.cache(entries=1)
    with caplog.at_level(logging.WARNING):
        for number in range(4):
            assert await cache.decide(context(f"{number:032x}")) == LLM
            await bench.settle()
        assert len(caplog.records) == 1
        bench.now += 61
        await cache.decide(context())
        assert len(caplog.records) == 2
    assert bench.outcomes.count("error") == 10
    hit = await cache.decide(context())
    assert hit is not None
    assert hit.source is Source.CACHE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95",
        b"[]",
        b'["verdict", 99, []]',
        b'["verdict", 1]',
        encode_cached(CachedResult(replace(LLM, target="gone"), 1e6, 2e6, 3e6)),
        encode_cached(CachedResult(LLM, 1.0, 2.0, 3.0)),
    ],
)
async def test_a_bad_entry_is_decided_afresh_and_replaced(bench: Bench, data: bytes) -> None:
    """Corrupt, foreign, ineligible and expired entries never reach a caller."""
    asked = context()
    name = f"cache:{key_of(asked.features.fingerprint, asked.catalog.revision, asked.eligible)}"
    await bench.store.put(name, data, None)
    assert await bench.cache().decide(asked) == LLM
    await bench.settle()
    stored = await bench.store.get(name)
    assert stored is not None
    assert decode_cached(stored).verdict == LLM


async def test_memory_is_bounded(bench: Bench) -> None:
    """What is pushed out of memory is still in the store."""
    cache = bench.cache(entries=3)
    for number in range(10):
        await cache.decide(context(f"{number:032x}"))
    await bench.settle()
    assert len(cache) == 3
    await cache.decide(context(f"{0:032x}"))
    assert bench.inner.calls == 10


async def test_a_full_background_leaves_requests_to_themselves(bench: Bench) -> None:
    """When nothing more may run behind, each request does its own work and still caches."""
    bench.background = Background(limit=0)
    cache = bench.cache()
    assert await cache.decide(context()) == LLM
    hit = await bench.cache().decide(context())
    assert hit is not None
    assert hit.source is Source.CACHE
