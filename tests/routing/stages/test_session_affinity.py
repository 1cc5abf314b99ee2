"""Sessions: what stays, what moves and for how much, and whose a session is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmrouter.domain.catalog import Sessions
from llmrouter.domain.chat import ANONYMOUS, Caller, RouterOptions
from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.target import Price
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.routing.stages.session_affinity import SessionAffinity, SessionState, consider_switch
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_target
from tests.routing.asking import Says, a_question, says, some_features

ON = Sessions(enabled=True, ttl_s=60.0, min_gain=0.1)
SMALL = a_target("small", price=Price(1.0, 2.0, cached_input=0.1))
LARGE = a_target("large", price=Price(10.0, 20.0, cached_input=1.0))
CATALOG = a_catalog(SMALL, LARGE, sessions=ON)


def turn(number: int = 1, caller: Caller = ANONYMOUS, **over: Any) -> RoutingContext:
    """The n-th user turn of a conversation with 1000 tokens behind it."""
    session = over.pop("session", None)
    values: dict[str, Any] = {"turns": number, "input_tokens": 1000, "output_tokens": 100}
    for name in ("continuation", "conversation"):
        if name in over:
            values[name] = over.pop(name)
    context = a_question(
        features=some_features(**values), caller=caller, **{"catalog": CATALOG, **over}
    )
    options = RouterOptions(session=session)
    return replace(context, request=replace(context.request, options=options))


@dataclass
class Bench:
    """A session around a scripted stage."""

    inner: Says = field(default_factory=lambda: Says(says("small")))
    store: MemoryStore = field(default_factory=MemoryStore)

    async def decide(self, context: RoutingContext) -> StageResult:
        """The session's verdict."""
        verdict = await SessionAffinity(self.inner, self.store).decide(context)
        assert verdict is not None
        return verdict

    def then(self, *script: StageResult | Exception | None) -> None:
        """What the inner stage says from now on."""
        self.inner.script = list(script)


def better(by: float, target: str = "large", other: str = "small") -> StageResult:
    """A verdict for `target`, which is better than `other` by so much."""
    scores = Alternative(target, 0.5 + by), Alternative(other, 0.5)
    return says(target, confidence=0.5 + by, alternatives=scores)


async def test_off_it_is_not_there() -> None:
    """The inner stage answers, nothing is written."""
    bench = Bench()
    plain = a_catalog(SMALL, LARGE)
    assert await bench.decide(turn(catalog=plain)) == says("small")
    bench.then(says("large"))
    assert (await bench.decide(turn(catalog=plain))).target == "large"


async def test_the_first_turn_is_decided_afresh_and_remembered() -> None:
    """The same turn again (a retry, a poll) stays without asking anybody."""
    bench = Bench()
    assert await bench.decide(turn()) == says("small")
    bench.then(says("large"))
    again = await bench.decide(turn())
    assert (again.target, again.source) == ("small", Source.SESSION)
    assert again.reason == "no new user turn in the session"
    assert len(bench.inner.asked) == 1


async def test_a_tool_result_never_re_routes() -> None:
    """Nor does an observation, whatever its number of turns."""
    bench = Bench()
    await bench.decide(turn(1))
    bench.then(better(0.5))
    kept = await bench.decide(turn(5, continuation=True))
    assert (kept.target, kept.reason) == ("small", "a tool result never re-routes a session")


async def test_a_conversation_is_another_than_the_next() -> None:
    """Without a name it is known by its opening."""
    bench = Bench()
    await bench.decide(turn(conversation="a" * 32))
    bench.then(says("large"))
    assert (await bench.decide(turn(conversation="b" * 32))).target == "large"


async def test_a_named_session_is_its_name() -> None:
    """Whatever the opening was; and a name is not a conversation."""
    bench = Bench()
    await bench.decide(turn(session="s", conversation="a" * 32))
    bench.then(says("large"))
    assert (await bench.decide(turn(session="s", conversation="b" * 32))).target == "small"
    assert (await bench.decide(turn(session="t", conversation="a" * 32))).target == "large"
    assert (await bench.decide(turn(conversation="a" * 32))).target == "large"


async def test_tenants_are_apart() -> None:
    """The same name under another key's tenant is another session."""
    bench = Bench()
    await bench.decide(turn(caller=Caller("a", tenant="a"), session="s"))
    bench.then(says("large"))
    assert (await bench.decide(turn(caller=Caller("b", tenant="b"), session="s"))).target == "large"
    assert (await bench.decide(turn(caller=Caller("a", tenant="a"), session="s"))).target == "small"


async def test_a_target_that_may_not_serve_is_left() -> None:
    """Eligibility comes before loyalty, for tool results too."""
    bench = Bench()
    await bench.decide(turn())
    bench.then(says("large"))
    moved = await bench.decide(turn(continuation=True, eligible=("large",)))
    assert moved.target == "large"
    assert (await bench.decide(turn(2, eligible=("small", "large")))).target == "large"


@pytest.mark.parametrize(("gain", "pays"), [(0.17, False), (0.18, True)])
def test_a_move_up_by_hand(gain: float, pays: bool) -> None:
    """1000 in, 100 out. Staying: 1000 * 0.1 + 100 * 2 = $0.0003; moving: $0.012; extra $0.0117.

    The cache saves three quarters of a turn's price on both ($0.0003 of $0.0012, $0.003 of $0.012),
    so the gain must reach 0.1 * 1.75.
    """
    move = consider_switch(SMALL, better(gain), turn(2))
    assert move.extra_usd == pytest.approx(0.0117)
    assert move.gain == pytest.approx(gain)
    assert move.pays is pays


@pytest.mark.parametrize(("gain", "pays"), [(0.17, False), (0.18, True)])
def test_a_move_between_equals_costs_the_lost_cache(gain: float, pays: bool) -> None:
    """Staying $0.0003, a twin without a cache $0.0012: small's three quarters are what is lost."""
    twin = a_target("large", price=Price(1.0, 2.0))
    context = turn(2, catalog=a_catalog(SMALL, twin, sessions=ON))
    move = consider_switch(SMALL, better(gain), context)
    assert move.extra_usd == pytest.approx(0.0009)
    assert move.pays is pays


def test_where_nobody_caches_the_gain_alone_decides() -> None:
    """No cache is lost, so `min_gain` is all it takes."""
    plain = a_catalog(a_target("small"), a_target("large", price=Price(3, 6)), sessions=ON)
    context = turn(2, catalog=plain)
    assert consider_switch(plain.targets["small"], better(0.125), context).pays
    assert not consider_switch(plain.targets["small"], better(0.0625), context).pays


def test_free_targets_have_no_cache_to_lose() -> None:
    """And no division by nothing."""
    free = a_catalog(a_target("small", price=Price(0, 0)), LARGE, sessions=ON)
    assert consider_switch(free.targets["small"], better(0.2), turn(2, catalog=free)).pays


@pytest.mark.parametrize(("sure", "pays"), [(0.55, False), (0.6, True), (None, False)])
def test_a_sure_choice_without_scores_gains_what_it_leaves_over(
    sure: float | None, pays: bool
) -> None:
    """Sure by 0.6 leaves at most 0.4 to the current one: a gain of 0.2; no numbers, no gain."""
    assert consider_switch(SMALL, says("large", confidence=sure), turn(2)).pays is pays


def test_moving_down_pays_when_it_is_cheaper_uncached_and_no_worse() -> None:
    """Large cached is 1000 * 1 + 100 * 20 = $0.003; small uncached $0.0012: cheaper by $0.0018."""
    same = consider_switch(LARGE, better(0.0, "small", "large"), turn(2))
    assert same.extra_usd == pytest.approx(-0.0018)
    assert same.pays
    worse = consider_switch(LARGE, better(-0.01, "small", "large"), turn(2))
    assert not worse.pays


def test_a_cheaper_choice_needs_no_numbers() -> None:
    """The stage chose it at this catalog's trade-off, and it saves money although re-read."""
    assert consider_switch(LARGE, says("small", confidence=0.2), turn(2)).pays
    assert consider_switch(LARGE, says("small"), turn(2)).pays


async def test_a_new_turn_moves_when_it_pays_and_says_for_what() -> None:
    """And the session is where it moved to afterwards."""
    bench = Bench(Says(says("large")))
    await bench.decide(turn(1))
    bench.then(better(0.1, "small", "large"))
    moved = await bench.decide(turn(2))
    assert moved.target == "small"
    assert moved.reason == "moved from 'large': gain 0.10 against $-0.001800 a turn; a test"
    assert moved.source is Source.LLM
    assert (await bench.decide(turn(2))).reason == "no new user turn in the session"


async def test_a_new_turn_stays_when_moving_does_not_pay() -> None:
    """It says what was considered, what it cost to consider, and counts the turn as seen."""
    bench = Bench()
    await bench.decide(turn(1))
    bench.then(replace(better(0.125), cost_usd=0.002))
    kept = await bench.decide(turn(2))
    assert (kept.target, kept.source, kept.cost_usd) == ("small", Source.SESSION, 0.002)
    assert kept.reason == "the session stays: 'large' would gain 0.12 for $0.011700 a turn"
    assert kept.alternatives == better(0.125).alternatives
    await bench.decide(turn(2))
    assert len(bench.inner.asked) == 2


@pytest.mark.parametrize("said", [None, RouterLLMFailed("timeout"), ValueError("odd")])
async def test_a_turn_that_nobody_could_judge_stays(said: Any) -> None:
    """A bad minute of the router LLM does not tear a conversation away from its cache."""
    bench = Bench()
    await bench.decide(turn(1))
    bench.then(said)
    kept = await bench.decide(turn(2))
    assert kept.target == "small"
    assert kept.reason == "the session stays, no stage had a view of the new turn"


async def test_an_ineligible_view_of_a_new_turn_is_no_move() -> None:
    """An invented name has no price and goes nowhere."""
    bench = Bench()
    await bench.decide(turn(1))
    bench.then(says("gpt-99"))
    assert (await bench.decide(turn(2))).target == "small"


async def test_an_abstention_starts_no_session() -> None:
    """Where nothing was decided there is nothing to stay on."""
    session = SessionAffinity(Says(None, says("large")), MemoryStore())
    assert await session.decide(turn()) is None
    assert await session.decide(turn()) == says("large")


class Down(MemoryStore):
    """A store that is down."""

    async def get(self, key: str) -> bytes | None:
        """Fails."""
        raise StoreFailed("down")

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Fails."""
        raise StoreFailed("down")


async def test_a_store_that_is_down_costs_a_fresh_decision(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Never a request; the log tells."""
    bench = Bench(store=Down())
    with caplog.at_level(logging.WARNING):
        assert await bench.decide(turn()) == says("small")
        assert await bench.decide(turn()) == says("small")
    assert "session not read: down" in caplog.text
    assert "session not written: down" in caplog.text


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'[2,"small",1,null]', b"[1,2,3,4]", b'[1,"small","x",null]', b"\xff"],
)
def test_what_another_hand_wrote_is_no_session(data: bytes) -> None:
    """It is as if it were not there."""
    assert SessionState.decode(data) is None


def test_a_stay_survives_the_store() -> None:
    """And a task that is none becomes none."""
    assert SessionState.decode(SessionState("small", 3, "code").encode()) == SessionState(
        "small", 3, "code"
    )
    assert SessionState.decode(b'[1,"small",3,7]') == SessionState("small", 3, None)
