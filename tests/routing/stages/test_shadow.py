"""A strategy that decides alongside: it is compared, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.domain.catalog import Learned
from llmrouter.domain.decision import RoutingContext, ShadowComparison, StageResult
from llmrouter.domain.interfaces import QualityEstimate
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.stages.shadow import Shadow
from llmrouter.util.tasks import Background
from tests.fakes import a_catalog
from tests.routing.asking import Says, a_question, says

SMALL_USD = (100 * 1.0 + 50 * 2.0) / 1e6
LARGE_USD = 10 * SMALL_USD


async def decided(
    live: Any,
    *shadows: Any,
    name: str | None = "rules",
    prospects: tuple[QualityEstimate, ...] = (),
) -> tuple[StageResult | None, list[ShadowComparison]]:
    """The verdict, and what was noted once everything behind it is done."""
    notes: list[ShadowComparison] = []
    background = Background()
    strategies = {"rules": [Says(said) for said in shadows]}
    shadow = Shadow(Says(live), strategies, lambda _: prospects, notes.append, background)
    verdict = await shadow.decide(a_question(catalog=a_catalog(learned=Learned(shadow=name))))
    await background.close()
    return verdict, notes


@pytest.mark.parametrize(
    ("shadows", "outcome", "target"),
    [
        ([says("small")], "agreed", "small"),
        ([says("large")], "disagreed", "large"),
        ([None, says("small")], "agreed", "small"),
        ([says("gone"), says("large")], "disagreed", "large"),
        ([says("gone")], "abstained", None),
        ([None], "abstained", None),
        ([], "abstained", None),
        ([RouterLLMFailed("timeout")], "failed", None),
        ([ValueError("odd")], "failed", None),
    ],
)
async def test_each_outcome_is_noted_and_the_live_verdict_stands(
    shadows: list[Any], outcome: str, target: str | None
) -> None:
    """Whatever the shadow says or does; a target that may not serve is no choice."""
    verdict, (note,) = await decided(says("small"), *shadows)
    assert verdict == says("small")
    assert (note.strategy, note.outcome, note.live, note.target) == (
        "rules", outcome, "small", target,
    )  # fmt: skip


async def test_cost_and_estimated_quality_of_both_choices_are_told() -> None:
    """At the sizes of this request, with what the shadow itself took."""
    prospects = (QualityEstimate("small", 0.5, 0.1), QualityEstimate("large", 0.875, 0.1))
    _, (note,) = await decided(says("small"), says("large", cost_usd=0.25), prospects=prospects)
    assert note == ShadowComparison(
        "rules", "disagreed", "", "general", "small", pytest.approx(SMALL_USD), 0.5,
        "large", pytest.approx(LARGE_USD), 0.875, 0.25,
    )  # fmt: skip


async def test_without_a_model_no_quality_is_made_up() -> None:
    """Nor for a shadow that chose nothing."""
    _, (note,) = await decided(says("small"), says("large"))
    assert (note.live_quality, note.quality) == (None, None)
    known = (QualityEstimate("small", 0.5, 0.1),)
    _, (silent,) = await decided(says("small"), None, prospects=known)
    assert (silent.live_quality, silent.quality, silent.usd, silent.own_usd) == (0.5, None, None, 0)


async def test_without_a_shadow_nobody_is_asked() -> None:
    """The setting is off by default."""
    assert await decided(says("small"), says("large"), name=None) == (says("small"), [])


async def test_an_abstention_is_not_compared() -> None:
    """There is no choice to agree with."""
    assert await decided(None, says("large")) == (None, [])


async def test_the_live_stage_s_failure_is_its_own() -> None:
    """It goes through, and starts no comparison."""
    with pytest.raises(RouterLLMFailed):
        await decided(RouterLLMFailed("timeout"), says("large"))


async def test_the_name_is_the_live_stage_s() -> None:
    """Notes and metrics speak of who decides."""

    def nothing(_: RoutingContext) -> tuple[QualityEstimate, ...]:
        return ()

    shadow = Shadow(Says(None, name="learned"), {}, nothing, lambda _: None, Background())
    assert shadow.name == "learned"
