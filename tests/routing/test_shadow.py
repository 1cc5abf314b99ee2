"""A strategy that decides alongside: it is counted, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.domain.background import Background
from llmrouter.domain.catalog import Learned
from llmrouter.domain.decision import Verdict
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.shadow import Shadow
from tests.fakes import RecordingObserver, a_catalog
from tests.routing.asking import Says, a_question, says


async def decided(
    live: Any, *shadows: Any, name: str | None = "rules"
) -> tuple[Verdict | None, list[tuple[str, float, dict[str, str]]]]:
    """The verdict, and what was counted once everything behind it is done."""
    observer, background = RecordingObserver(), Background()
    stages = [Says(said) for said in shadows]
    shadow = Shadow(Says(live), {"rules": stages}, observer, background)
    verdict = await shadow.decide(a_question(catalog=a_catalog(learned=Learned(shadow=name))))
    await background.close()
    return verdict, observer.counts


@pytest.mark.parametrize(
    ("shadows", "outcome"),
    [
        ([says("small")], "agreed"),
        ([says("large")], "disagreed"),
        ([None, says("small")], "agreed"),
        ([None], "abstained"),
        ([], "abstained"),
        ([RouterLLMFailed("timeout")], "failed"),
        ([ValueError("odd")], "failed"),
    ],
)
async def test_each_outcome_is_counted_and_the_live_verdict_stands(
    shadows: list[Any], outcome: str
) -> None:
    """Whatever the shadow says or does."""
    verdict, counts = await decided(says("small"), *shadows)
    assert verdict == says("small")
    assert counts == [("shadow", 1, {"strategy": "rules", "outcome": outcome})]


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
    shadow = Shadow(Says(None, name="learned"), {}, RecordingObserver(), Background())
    assert shadow.name == "learned"
