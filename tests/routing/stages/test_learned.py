"""The learned stage: trusted answers, audits behind them, and a teacher for the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmrouter.domain.catalog import Learned
from llmrouter.domain.decision import Alternative, Audit, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import LearnedPrediction
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.stages.learned import AuditOptions, LearnedOnly, LearnedStage, WithEmbedding
from llmrouter.util.tasks import Background
from tests.fakes import a_catalog
from tests.routing.asking import Says, a_question, says

CATALOG = a_catalog(learned=Learned(audit_rate=0.25))
SURE = LearnedPrediction("small", 0.97, "math", (Alternative("large", 0.6),), trusted=True)
UNSURE = LearnedPrediction("small", 0.55, "math", (), trusted=False)


class Notes:
    """Preferences that propose one thing and keep what they are taught."""

    def __init__(self, proposal: LearnedPrediction | None) -> None:
        self.proposal = proposal
        self.lessons: list[tuple[LearnedPrediction | None, StageResult]] = []
        self.second: list[tuple[StageResult, StageResult]] = []
        self.asked = 0

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """The one thing."""
        self.asked += 1
        return self.proposal

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """Keep it."""
        self.lessons.append((proposal, verdict))
        return None if proposal is None else proposal.target == verdict.target

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """Keep that too."""
        self.second.append((first, second))
        return first.target == second.target


class Bench:
    """A preference stage with dice that the test throws."""

    def __init__(
        self,
        proposal: LearnedPrediction | None,
        *teacher: Any,
        dice: float = 0.9,
        second: Any = None,
    ) -> None:
        self.notes = Notes(proposal)
        self.audits: list[Audit] = []
        self.teacher = Says(*(teacher or (says("large"),)), name="llm")
        self.background = Background()
        again = None if second is None else Says(second, name="llm")
        behind = AuditOptions(self.background, again, self.audits.append, lambda: dice)
        self.stage = LearnedStage(self.notes, self.teacher, behind)

    async def decide(self, **over: Any) -> StageResult | None:
        """The verdict, with everything behind it done."""
        verdict = await self.stage.decide(a_question(**{"catalog": CATALOG, **over}))
        await self.background.close()
        return verdict


async def test_a_trusted_proposal_answers_alone() -> None:
    """Nobody is asked, nothing is cached, and the confidence is the proposal's."""
    bench = Bench(SURE)
    verdict = await bench.decide()
    assert verdict == StageResult(
        "small", Source.LEARNED, "learned from earlier math requests", 0.97, "math",
        (Alternative("large", 0.6),),
    )  # fmt: skip
    assert bench.teacher.asked == []
    assert bench.notes.lessons == []


@pytest.mark.parametrize(("dice", "audited"), [(0.0, True), (0.2499, True), (0.25, False)])
async def test_a_share_of_trusted_answers_is_audited(dice: float, audited: bool) -> None:
    """The caller gets the learned answer either way; the teacher's goes to the record."""
    bench = Bench(SURE, dice=dice)
    verdict = await bench.decide()
    assert verdict is not None
    assert verdict.source is Source.LEARNED
    assert bench.notes.lessons == ([(SURE, says("large"))] if audited else [])
    assert [(a.target, a.named, a.agreed, a.again) for a in bench.audits] == (
        [("small", "large", False, False)] if audited else []
    )


async def test_what_an_audit_cost_is_told() -> None:
    """Nobody else would know: no decision came of it."""
    said = replace(says("small"), cost_usd=0.25)
    bench = Bench(SURE, said, dice=0.0)
    await bench.decide()
    audit = bench.audits[0]
    assert (audit.cost_usd, audit.agreed, audit.task) == (0.25, True, "general")


@pytest.mark.parametrize(("dice", "asked"), [(0.2499, True), (0.25, False)])
async def test_the_router_llm_is_asked_again_now_and_then(dice: float, asked: bool) -> None:
    """In another way, behind the request; whether it agrees with itself goes to the record."""
    second = replace(says("small"), cost_usd=0.5)
    bench = Bench(UNSURE, dice=dice, second=second)
    assert await bench.decide() == says("large")
    assert bench.notes.second == ([(says("large"), second)] if asked else [])
    assert [(a.target, a.named, a.agreed, a.again, a.cost_usd) for a in bench.audits] == (
        [("large", "small", False, True, 0.5)] if asked else []
    )


@pytest.mark.parametrize("enabled", [True, False])
async def test_nobody_is_asked_again_while_there_is_no_choice_to_hold_against_it(
    enabled: bool,
) -> None:
    """Without a model, or with learning switched off, a second call would be spent for nothing."""
    bench = Bench(None if enabled else UNSURE, dice=0.0, second=says("small"))
    learned = replace(CATALOG.learned, enabled=enabled)
    assert await bench.decide(catalog=replace(CATALOG, learned=learned)) == says("large")
    assert (bench.notes.second, bench.audits) == ([], [])


async def test_a_second_call_that_fails_says_nothing() -> None:
    """It was counted where it happened."""
    bench = Bench(UNSURE, dice=0.0, second=RouterLLMFailed("timeout"))
    assert await bench.decide() == says("large")
    assert (bench.notes.second, bench.audits) == ([], [])


async def test_an_audit_without_an_answer_is_no_disagreement() -> None:
    """A router LLM that is down does not take trust away."""
    bench = Bench(SURE, RouterLLMFailed("connect"), dice=0.0)
    assert await bench.decide() is not None
    assert len(bench.teacher.asked) == 1
    assert bench.notes.lessons == []


@pytest.mark.parametrize("proposal", [None, UNSURE])
async def test_otherwise_the_teacher_answers_and_teaches(
    proposal: LearnedPrediction | None,
) -> None:
    """The lesson comes with what had been proposed, so that it is an exam too."""
    bench = Bench(proposal)
    assert await bench.decide() == says("large")
    assert bench.notes.lessons == [(proposal, says("large"))]


@pytest.mark.parametrize("said", [None, says("large", Source.CACHE), says("large", Source.DEFAULT)])
async def test_only_the_router_llm_s_own_verdict_is_a_lesson(said: StageResult | None) -> None:
    """Neither silence nor a repetition teaches."""
    bench = Bench(UNSURE, said)
    assert await bench.decide() == said
    assert bench.notes.lessons == []


async def test_the_teacher_s_failure_is_the_stage_s() -> None:
    """The router notes it and asks the next stage."""
    bench = Bench(UNSURE, RouterLLMFailed("timeout"))
    with pytest.raises(RouterLLMFailed):
        await bench.decide()
    assert bench.notes.lessons == []


async def test_switched_off_nothing_is_proposed() -> None:
    """Lessons are still kept, so that switching on does not start from nothing."""
    bench = Bench(SURE)
    verdict = await bench.decide(catalog=a_catalog(learned=Learned(enabled=False)))
    assert verdict == says("large")
    assert bench.notes.asked == 0
    assert bench.notes.lessons == [(None, says("large"))]


async def test_strategy_learned_is_the_trusted_proposal_or_nothing() -> None:
    """It never asks anybody else."""
    sure = await LearnedOnly(Notes(SURE)).decide(a_question())
    assert sure is not None
    assert (sure.target, sure.source) == ("small", Source.LEARNED)
    assert await LearnedOnly(Notes(UNSURE)).decide(a_question()) is None
    assert await LearnedOnly(Notes(None)).decide(a_question()) is None


async def test_the_text_is_made_ready_before_anybody_proposes() -> None:
    """What cannot be made ready is the inner stage's to do without."""
    order: list[str] = []

    async def prepare(context: RoutingContext) -> None:
        order.append(context.features.text)

    inner = Says(says("small"), name="learned")
    stage = WithEmbedding(inner, prepare)
    assert stage.name == "learned"
    assert await stage.decide(a_question()) == says("small")
    assert order == ["hi"]
    assert len(inner.asked) == 1
