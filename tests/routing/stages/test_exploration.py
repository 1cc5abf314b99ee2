"""Exploration: who is explored, how likely each target is, and what it may cost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Catalog, Learned, Sessions
from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import QualityEstimate
from llmrouter.domain.target import Price
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.routing.stages.exploration import (
    DAY_S,
    FLOOR,
    Budget,
    Exploration,
    exploration_distribution,
    explored,
    sample,
)
from llmrouter.store.memory import MemoryStore
from llmrouter.util.tasks import Background
from tests.fakes import RecordingObserver, a_catalog, a_target
from tests.routing.asking import Says, a_question, says, some_features

NAMES = ("small", "medium", "large")
LEARNED = Learned(explore_rate=0.25, explore_budget_usd_per_day=100.0)


def three(learned: Learned = LEARNED, **over: Any) -> Catalog:
    """A catalog of three, of which small is the cheapest and large the dearest."""
    prices = (Price(1.0, 2.0), Price(2.0, 4.0), Price(10.0, 20.0))
    targets = [a_target(n, price=price) for n, price in zip(NAMES, prices, strict=True)]
    return a_catalog(*targets, learned=learned, **over)


def asked(catalog: Catalog | None = None, **over: Any) -> RoutingContext:
    """A question to three targets."""
    return a_question(catalog=catalog or three(), **{"eligible": NAMES, **over})


class Bench:
    """Exploration around a stage, with dice, a clock and a store of its own."""

    def __init__(
        self, *script: StageResult | Exception | None, dice: Any = None, inner: Any = None
    ) -> None:
        self.background, self.observer = Background(), RecordingObserver()
        self.store, self.now = MemoryStore(), 0.0
        self.dice = dice or random.Random(7).random
        self.prospects: tuple[QualityEstimate, ...] = ()
        self.inner = Says(*script) if inner is None else inner
        self.explore = self.another()

    def another(self) -> Exploration:
        """One more process on the same store."""
        budget = Budget(self.store, self.background, lambda: self.now)
        return Exploration(self.inner, lambda _: self.prospects, budget, self.observer, self.dice)

    async def said(self, context: RoutingContext | None = None) -> StageResult:
        """The verdict, once what it left to do behind it is done."""
        verdict = await self.explore.decide(context or asked())
        await asyncio.sleep(0)
        assert verdict is not None
        return verdict


def always(value: float) -> Any:
    """Dice that always show the same."""
    return lambda: value


async def test_switched_off_the_verdict_passes_as_it_is() -> None:
    """The default rate is 0: the very object, and no dice are thrown."""
    verdict = says("small")
    bench = Bench(verdict, dice=None)
    bench.explore._dice = None  # type: ignore[assignment]  # throwing it would raise
    assert await bench.said(asked(three(Learned()))) is verdict
    assert verdict.propensity == 1.0


async def test_where_the_choice_stands_its_propensity_is_what_exploring_leaves() -> None:
    """Nothing else about the verdict changes."""
    verdict = says("small", confidence=0.9)
    assert await Bench(verdict, dice=always(0.25)).said() == replace(verdict, propensity=0.75)


async def test_an_explored_verdict_says_so() -> None:
    """Source, reason, propensity; the choice becomes the first alternative and pays its way."""
    scores = (
        Alternative("small", 0.9, 0.7),
        Alternative("large", 0.8, 0.9),
        Alternative("medium", 0.4, 0.6),
    )
    chosen = says("small", confidence=0.7, alternatives=scores, cost_usd=0.01)
    bench = Bench(chosen, dice=always(0.2))
    verdict = await bench.said()
    assert verdict.target == "medium"
    assert verdict.source is Source.LEARNED  # the router LLM's own choice would become a label
    assert verdict.reason.startswith("exploring: 'medium' serves 12.50% of such requests")
    assert "chosen was 'small' (a test)" in verdict.reason
    assert verdict.alternatives == scores
    assert (verdict.confidence, verdict.cost_usd) == (0.6, 0.01)
    assert verdict.propensity == pytest.approx(0.25 * 0.5)
    assert bench.observer.counts == [("explored", 1, {"target": "medium"})]


async def test_propensities_are_the_frequencies() -> None:
    """Over many requests each target serves as often as its propensity says."""
    bench = Bench(says("small"))
    bench.prospects = (QualityEstimate("medium", 0.5, 0.3), QualityEstimate("large", 0.6, 0.05))
    served: Counter[str] = Counter()
    claimed: dict[str, float] = {}
    for _ in range(20_000):
        verdict = await bench.said()
        served[verdict.target] += 1
        assert claimed.setdefault(verdict.target, verdict.propensity) == verdict.propensity
    assert sum(claimed.values()) == pytest.approx(1.0)
    for name in NAMES:
        assert served[name] / 20_000 == pytest.approx(claimed[name], abs=0.01)
    assert claimed["medium"] > claimed["large"]  # the doubtful one is tried more often


CASCADE = says("small", source=Source.LLM, cascade=True)
MIDWAY = some_features(turns=2)


@pytest.mark.parametrize(
    ("verdict", "over"),
    [
        (says("small", Source.RULES), {}),
        (says("small", Source.SESSION), {}),
        (says("small", Source.DEFAULT), {}),
        (says("small", Source.PINNED), {}),
        (CASCADE, {}),
        (says("small"), {"eligible": ("small",)}),
        (says("gone"), {}),
        (says("small"), {"features": some_features(continuation=True)}),
        (says("small"), {"features": MIDWAY, "catalog": three(sessions=Sessions(enabled=True))}),
        (says("small"), {"catalog": three(replace(LEARNED, enabled=False))}),
        (says("small"), {"catalog": three(replace(LEARNED, explore_budget_usd_per_day=0.001))}),
    ],
)  # fmt: skip
async def test_what_is_never_explored(verdict: StageResult, over: dict[str, Any]) -> None:
    """The verdict stands with a propensity of 1, whatever the dice would say."""
    assert await Bench(verdict, dice=always(0.0)).said(asked(**over)) is verdict


async def test_a_conversation_may_be_explored_where_sessions_are_off() -> None:
    """Each turn is then decided afresh anyway."""
    verdict = await Bench(says("small"), dice=always(0.0)).said(asked(features=MIDWAY))
    assert verdict.propensity < 0.5


async def test_abstentions_and_failures_are_the_inner_stage_s() -> None:
    """There is nothing to explore."""
    assert await Bench(None, dice=always(0.0)).explore.decide(asked()) is None
    with pytest.raises(RouterLLMFailed):
        await Bench(RouterLLMFailed("timeout")).explore.decide(asked())


async def test_a_cached_choice_is_explored_and_stays_the_cached_choice() -> None:
    """The entry is the choice; its standing verdict is one object, as the gateway looks for."""
    inner = Says(says("small", Source.CACHE))  # a repeated choice is one object
    bench = Bench(inner=inner, dice=always(0.0))
    first = await bench.said()
    assert first.target == "medium"
    bench.explore._dice = always(0.9)
    standing = [await bench.said() for _ in range(3)]
    assert [(v.target, v.source, v.propensity) for v in standing] == [
        ("small", Source.CACHE, 0.75)
    ] * 3
    assert standing[0] is standing[1] is standing[2]
    assert len(inner.asked) == 4


async def test_a_changed_rate_changes_a_cached_choice_s_propensity() -> None:
    """An edit of the settings counts at once."""
    verdict = says("small", Source.CACHE)
    bench = Bench(verdict, dice=always(0.9))
    assert (await bench.said()).propensity == 0.75
    slower = three(replace(LEARNED, explore_rate=0.1))
    assert (await bench.said(asked(slower))).propensity == 0.9


def of(usd: float) -> RoutingContext:
    """A question whose dearest answer costs $0.002, with a budget."""
    return asked(three(replace(LEARNED, explore_budget_usd_per_day=usd)))


async def test_the_budget_is_never_exceeded_and_opens_again_next_day() -> None:
    """Medium's answer costs $0.0004 and large's $0.002, which must still be paid for."""
    bench = Bench(says("small"), dice=always(0.0))
    verdicts = [await bench.said(of(0.004)) for _ in range(9)]
    assert [v.target for v in verdicts] == ["medium"] * 6 + ["small"] * 3
    assert {v.propensity for v in verdicts[6:]} == {1.0}
    assert await bench.store.increment("explore:0", 0.0, 1.0) == pytest.approx(6 * 0.0004)
    bench.now = DAY_S
    assert (await bench.said(of(0.004))).target == "medium"


async def test_the_budget_survives_a_restart_and_is_shared() -> None:
    """A process that starts learns what the others have spent."""
    bench = Bench(says("small"), dice=always(0.0))
    for _ in range(6):
        await bench.said(of(0.004))
    bench.explore = bench.another()
    first, *rest = [(await bench.said(of(0.004))).target for _ in range(4)]
    assert rest == ["small"] * 3
    assert first == "medium"  # nobody waits for the store to say what is left


class Down(MemoryStore):
    """A store that is down."""

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Fails."""
        raise StoreFailed("down")


async def test_a_store_that_is_down_leaves_the_process_its_own_count() -> None:
    """The budget holds all the same."""
    bench = Bench(says("small"), dice=always(0.0))
    bench.store = Down()
    bench.explore = bench.another()
    verdicts = [await bench.said(of(0.004)) for _ in range(9)]
    assert [v.target for v in verdicts] == ["medium"] * 6 + ["small"] * 3


PROSPECTS = st.lists(
    st.builds(
        QualityEstimate, st.sampled_from(["a", "b", "c", "d"]), st.floats(0, 1), st.floats(0, 1)
    ),
    max_size=4,
)


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=2, unique=True), PROSPECTS)
def test_odds_are_a_distribution_with_a_floor(
    eligible: list[str], prospects: list[QualityEstimate]
) -> None:
    """Whoever is eligible: everyone but the choice, and nobody near zero."""
    likely = exploration_distribution(eligible[0], eligible, prospects)
    assert list(likely) == eligible[1:]
    assert sum(likely.values()) == pytest.approx(1.0)
    assert min(likely.values()) >= FLOOR / (len(eligible) - 1) - 1e-12


@given(st.floats(0, 1, exclude_max=True))
def test_a_draw_is_of_the_distribution(at: float) -> None:
    """The part of 0..1 that a name owns is its share."""
    likely = {"a": 0.2, "b": 0.5, "c": 0.3}
    assert sample(likely, at) == ("a" if at < 0.2 else "b" if at < 0.7 else "c")


def test_rounding_leaves_nobody_undrawn() -> None:
    """Shares that sum to a hair less than 1 still give a name."""
    assert sample({"a": 0.5, "b": 0.4999}, 0.99999) == "b"


def test_without_scores_an_explored_verdict_has_no_confidence() -> None:
    """Nothing is made up."""
    verdict = explored(says("small", confidence=0.9), "large", 0.1)
    assert verdict.confidence is None
    assert verdict.alternatives == (Alternative("small", 0.9, 0.9),)
