"""The judgement cache: what it serves, what it shares, and what it never keeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmrouter.domain.interfaces import Judged
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.serialization import CachedJudgement, encode_judgement
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.judging.cache import CachePolicy, JudgementCache
from llmrouter.store.memory import MemoryStore
from llmrouter.util.tasks import Background

TTL_S = 100.0
KEY = ("subject", "judge")
FIRST = Judgement({"a": 0.5, "b": 0.9}, "code", 0.3, protocol="chat", model="m")
LATER = Judgement({"c": 0.7}, protocol="chat", model="m")


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
    """A cache, what it asks, and a clock that the test moves."""

    store: MemoryStore = field(default_factory=MemoryStore)
    background: Background = field(default_factory=Background)
    outcomes: list[str] = field(default_factory=list)
    now: float = 1_000_000.0
    answer: Judgement | Exception = FIRST
    calls: int = 0
    ended: int = 0
    gate: asyncio.Event | None = None

    def cache(self, **policy: Any) -> JudgementCache:
        """A cache with nothing in memory."""
        chosen = CachePolicy(TTL_S, observe=self.outcomes.append, clock=lambda: self.now, **policy)
        return JudgementCache(self.store, lambda *key: repr(key), self.background, chosen)

    async def ask(self) -> Judged:
        """The scripted judgement, once the gate is open."""
        self.calls += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return Judged(self.answer, 0.001)

    async def settle(self) -> None:
        """Let everything in the background finish."""
        for _ in range(1000):
            if not len(self.background):
                return
            await asyncio.sleep(0)
        raise AssertionError("the background does not come to rest")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A fresh bench, its background ended afterwards."""
    made = Bench()
    yield made
    await made.background.close(grace_s=0)


async def found(cache: JudgementCache) -> tuple[Judgement | None, str]:
    """What is known under the one key."""
    entry, outcome = await cache.find(KEY)
    return None if entry is None else entry.judgement, outcome


async def test_a_judgement_is_known_afterwards_in_memory_and_in_the_store(bench: Bench) -> None:
    """Another process with the same store knows it too."""
    cache = bench.cache()
    assert await found(cache) == (None, "miss")
    judged = await cache.share(KEY, bench.ask)
    assert judged == Judged(FIRST, 0.001)
    await bench.settle()
    assert await found(cache) == (FIRST, "hit")
    assert await found(bench.cache()) == (FIRST, "hit")


async def test_a_hit_in_memory_awaits_nothing(bench: Bench) -> None:
    """The coroutine of a hot lookup ends on its first step, without the event loop."""
    cache = bench.cache()
    cache.keep(KEY, FIRST)
    with pytest.raises(StopIteration) as ended:
        cache.find(KEY).send(None)
    assert ended.value.value[1] == "hit"


async def test_a_partial_judgement_joins_what_is_known_and_grows_no_older(bench: Bench) -> None:
    """The others' probabilities stay, and so does the time at which all is renewed."""
    cache = bench.cache()
    before = cache.keep(KEY, FIRST)
    bench.now += 50
    bench.answer = LATER
    await cache.share(KEY, bench.ask, partial=True)
    await bench.settle()
    judgement, _ = await found(bench.cache())
    assert judgement is not None
    assert judgement.probabilities == {"a": 0.5, "b": 0.9, "c": 0.7}
    assert (judgement.task, judgement.difficulty) == ("code", 0.3)
    after = cache.near(KEY)
    assert after is not None
    assert after.fresh_until == before.fresh_until


async def test_another_judge_s_word_does_not_join(bench: Bench) -> None:
    """Probabilities compare within one server and model alone."""
    cache = bench.cache()
    cache.keep(KEY, FIRST)
    other = Judgement({"c": 0.7}, protocol="decisions", model="m")
    assert cache.keep(KEY, other, partial=True).judgement == other


async def test_a_stale_judgement_serves_until_twice_its_time(bench: Bench) -> None:
    """From memory and from the store alike."""
    cache = bench.cache()
    await cache.share(KEY, bench.ask)
    await bench.settle()
    bench.now += TTL_S + 1
    assert (await found(cache))[1] == "stale"
    assert (await found(bench.cache()))[1] == "stale"
    bench.now += TTL_S
    assert await found(cache) == (None, "miss")
    assert await found(bench.cache()) == (None, "miss")


async def test_one_call_renews_behind_the_requests(bench: Bench) -> None:
    """However many ask for it; what it gives is fresh again."""
    cache = bench.cache()
    cache.keep(KEY, LATER)
    bench.now += TTL_S + 1
    for _ in range(3):
        cache.renew(KEY, bench.ask)
    await bench.settle()
    assert bench.calls == 1
    assert await found(cache) == (FIRST, "hit")


async def test_a_failed_renewal_keeps_the_stale_judgement(bench: Bench) -> None:
    """An old one is better than none."""
    cache = bench.cache()
    cache.keep(KEY, FIRST)
    bench.now += TTL_S + 1
    bench.answer = RouterLLMFailed("timeout")
    cache.renew(KEY, bench.ask)
    await bench.settle()
    assert await found(cache) == (FIRST, "stale")


async def test_identical_requests_share_one_call(bench: Bench) -> None:
    """All get the one answer; a question about some targets alone is another call."""
    cache = bench.cache()
    every = [cache.share(KEY, bench.ask) for _ in range(5)]
    answers = await asyncio.gather(*every, cache.share(KEY, bench.ask, partial=True))
    assert [judged.judgement for judged in answers if judged is not None] == [FIRST] * 6
    costs = [judged.cost_usd for judged in answers if judged is not None]
    assert costs == [0.001, 0.0, 0.0, 0.0, 0.0, 0.001]  # each call is on one bill
    assert bench.calls == 2


async def test_a_waiter_that_leaves_does_not_end_it_for_the_others(bench: Bench) -> None:
    """A client that disconnects costs nobody else the answer."""
    cache, bench.gate = bench.cache(), asyncio.Event()
    one = asyncio.ensure_future(cache.share(KEY, bench.ask))
    two = asyncio.ensure_future(cache.share(KEY, bench.ask))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    bench.gate.set()
    assert await two == Judged(FIRST, 0.001)
    assert (bench.calls, bench.ended) == (1, 0)


async def test_a_call_that_nobody_waits_for_is_ended(bench: Bench) -> None:
    """Its tokens would be spent for nobody."""
    cache, bench.gate = bench.cache(), asyncio.Event()
    waiting = asyncio.ensure_future(cache.share(KEY, bench.ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await bench.settle()
    assert (bench.calls, bench.ended) == (1, 1)


async def test_a_call_ended_from_outside_abstains(bench: Bench) -> None:
    """Whoever still waits goes on to the next stage."""
    cache, bench.gate = bench.cache(), asyncio.Event()
    waiting = asyncio.ensure_future(cache.share(KEY, bench.ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await bench.background.close(grace_s=0)
    assert await waiting is None


async def test_a_failure_reaches_everyone_and_is_not_kept(bench: Bench) -> None:
    """The next request asks again."""
    cache, bench.answer = bench.cache(), RouterLLMFailed("http", "500")
    every = [cache.share(KEY, bench.ask) for _ in range(3)]
    answers = await asyncio.gather(*every, return_exceptions=True)
    assert [type(one) for one in answers] == [RouterLLMFailed] * 3
    assert await found(cache) == (None, "miss")


async def test_a_broken_store_is_a_miss_that_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Judgements of this process still serve."""
    bench.store = Broken()
    cache = bench.cache()
    with caplog.at_level(logging.WARNING):
        assert await found(cache) == (None, "error")
        assert await found(cache) == (None, "error")
        await cache.share(KEY, bench.ask)
        await bench.settle()
    assert bench.outcomes == ["error"]
    assert len(caplog.records) == 1
    assert await found(cache) == (FIRST, "hit")


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"[]", b'["judgement",9]'])
async def test_a_bad_entry_is_no_judgement(bench: Bench, data: bytes) -> None:
    """What a disk or another build left there is never half read."""
    await bench.store.put(f"judgement:{(*KEY, ())!r}", data, None)
    assert await found(bench.cache()) == (None, "error")


async def test_memory_is_bounded(bench: Bench) -> None:
    """The least lately used leave; the store has them."""
    cache = bench.cache(entries=2)
    for name in "abc":
        cache.keep((name, "judge"), FIRST)
    assert len(cache) == 2
    assert cache.near(("a", "judge")) is None


async def test_a_full_background_leaves_requests_to_themselves(bench: Bench) -> None:
    """Nothing is refused; the call is just not shared."""
    bench.background = Background(limit=0)
    assert await bench.cache().share(KEY, bench.ask) == Judged(FIRST, 0.001)


def test_what_is_stored_is_json_with_a_version() -> None:
    """No pickle, and nothing of the request."""
    stored = encode_judgement(CachedJudgement(FIRST, 1.0, 2.0, 3.0))
    assert stored.startswith(b'["judgement",1,')
