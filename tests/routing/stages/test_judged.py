"""The judged stage: known judgements, the learned model, and the router LLM, in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Catalog, Learned, RouterLLM
from llmrouter.domain.decision import Alternative, Audit, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import (
    CallPrice,
    Found,
    Judged,
    LearnedPrediction,
    QualityEstimate,
    TargetEstimate,
)
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Price
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.stages.judged import JudgedStage, Judging, LearnedOnly
from llmrouter.routing.utility import Utility
from llmrouter.routing.worth import Worth
from llmrouter.util.tasks import Background
from tests.fakes import a_catalog, a_target
from tests.routing.asking import a_question

TARGETS = (
    a_target("small"),
    a_target("medium", price=Price(4.0, 8.0)),
    a_target("large", price=Price(10.0, 20.0)),
    a_target("huge", price=Price(30.0, 60.0)),
)
CHANCES = {"small": 0.3, "medium": 0.6, "large": 0.9, "huge": 0.95}
CATALOG = a_catalog(
    *TARGETS, router=RouterLLM("judge", "http://j/v1"), learned=Learned(audit_rate=0.25)
)
NAMES = tuple(CATALOG.targets)


def judgement_of(catalog: Catalog = CATALOG, **over: Any) -> Judgement:
    """What a router LLM says of the catalog's targets."""
    chances = {text_key(one): CHANCES[one.id] for one in catalog.targets.values()}
    values: dict[str, Any] = {"task": "code", "difficulty": 0.4, "protocol": "chat", "model": "m"}
    return Judgement(chances, **{**values, **over})


class Known:
    """Implements Judgements over one request, as the stored ones do."""

    def __init__(self, known: Judgement | None = None, outcome: str = "hit") -> None:
        self.known = known
        self.outcome = outcome
        self.says: Judgement | Exception | None = judgement_of()
        self.asked: list[RoutingContext] = []
        self.renewed = 0
        self.completed: list[list[str]] = []
        self.fresh_until = 1e12

    async def find(self, context: RoutingContext) -> Found:
        """The one judgement."""
        if self.known is None:
            return Found(None, "miss")
        return Found(self.known, self.outcome, self.fresh_until)

    async def ask(self, context: RoutingContext) -> Judged | None:
        """The scripted one, known from then on."""
        self.asked.append(context)
        if isinstance(self.says, Exception):
            raise self.says
        if self.says is None:
            return None
        self.known = self.says
        return Judged(self.says, 0.002)

    def price(self, context: RoutingContext) -> CallPrice | None:
        """A dear call."""
        return CallPrice(10.0, 1.0, 0.0)

    def renew(self, context: RoutingContext) -> None:
        """Counted."""
        self.renewed += 1

    def complete(self, context: RoutingContext, known: Judgement) -> None:
        """Kept."""
        self.completed.append([one.id for one in known.missing(context.targets())])


class Plain:
    """An estimator that takes the judgement, then the learned estimate, then one half."""

    def __init__(self) -> None:
        self.version = 0

    def estimates(
        self,
        context: RoutingContext,
        judgement: Judgement | None,
        learned: Sequence[QualityEstimate],
    ) -> tuple[TargetEstimate, ...]:
        """One a target."""
        said = {} if judgement is None else judgement.probabilities
        expected = {one.target: one.quality for one in learned}
        found = []
        for one in context.targets():
            chance = said.get(text_key(one), expected.get(one.id, 0.5))
            found.append(TargetEstimate(one.id, chance, 0.1))
        return tuple(found)


class Notes:
    """Preferences that propose one thing and keep what they are taught."""

    def __init__(self, proposal: LearnedPrediction | None) -> None:
        self.proposal = proposal
        self.lessons: list[tuple[LearnedPrediction | None, StageResult]] = []
        self.asked = 0

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """The one thing."""
        self.asked += 1
        return self.proposal

    def prospects(self, context: RoutingContext) -> Sequence[QualityEstimate]:
        """The same for every target."""
        return [QualityEstimate(name, 0.7, 0.1) for name in context.eligible]

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """Keep it."""
        self.lessons.append((proposal, verdict))
        return None if proposal is None else proposal.target == verdict.target

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """Nobody is asked twice."""
        raise AssertionError


SURE = LearnedPrediction("small", 0.97, "math", (Alternative("large", 0.6),), trusted=True)
UNSURE = replace(SURE, confidence=0.5, trusted=False)


@dataclass
class Bench:
    """A stage over known judgements, with dice and a clock that the test moves."""

    known: Known = field(default_factory=Known)
    notes: Notes | None = None
    dice: float = 0.9
    now: float = 0.0
    lookups: list[str] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    background: Background = field(default_factory=Background)
    estimator: Plain = field(default_factory=Plain)

    def __post_init__(self) -> None:
        self.judging = Judging(
            self.estimator,
            Utility(),
            self.background,
            self.notes,
            observe=self.lookups.append,
            heard=self.audits.append,
            chance=lambda: self.dice,
            clock=lambda: self.now,
            entries=3,
        )
        self.stage = JudgedStage(self.known, self.judging)

    async def said(self, context: RoutingContext | None = None, **over: Any) -> StageResult:
        """The verdict, which there is."""
        verdict = await self.stage.decide(context or asked(**over))
        assert verdict is not None
        return verdict


def asked(**over: Any) -> RoutingContext:
    """A request to all four."""
    options = over.pop("options", None)
    return a_question(options, **{"catalog": CATALOG, "eligible": NAMES, "quality": 0.6, **over})


async def test_what_the_router_llm_says_is_weighed_by_code() -> None:
    """Source, price, task, and every eligible target with probability and utility."""
    bench = Bench()
    verdict = await bench.said()
    assert (verdict.source, verdict.cost_usd, verdict.task) == (Source.LLM, 0.002, "code")
    assert verdict.judge == "chat/m"
    assert {one.target: one.probability for one in verdict.alternatives} == CHANCES
    best = max(verdict.alternatives, key=lambda one: one.score)
    assert (verdict.target, verdict.confidence) == (best.target, best.probability)


async def test_a_known_judgement_decides_without_a_call() -> None:
    """The same choice, from `cache`, for free."""
    bench = Bench()
    first, again = await bench.said(), await bench.said()
    assert (again.source, again.cost_usd, again.target) == (Source.CACHE, 0.0, first.target)
    assert again.alternatives == first.alternatives
    assert (len(bench.known.asked), bench.lookups) == (1, ["miss", "hit"])


async def test_a_repeated_request_gets_one_object_and_waits_for_nothing() -> None:
    """The gateway looks for it, and the event loop is left alone."""
    bench = Bench(Known(judgement_of()))
    first = await bench.said()
    with pytest.raises(StopIteration) as ended:
        bench.stage.decide(asked()).send(None)
    assert ended.value.value is first


SUBSETS = st.sets(st.sampled_from(NAMES), min_size=2).map(
    lambda names: tuple(name for name in NAMES if name in names)
)


@given(SUBSETS, st.floats(0, 1), st.lists(st.floats(0.01, 50), min_size=4, max_size=4))
async def test_nothing_but_the_text_of_a_target_asks_anew(
    eligible: tuple[str, ...], quality: float, prices: list[float]
) -> None:
    """Resting targets, tiers, deny lists, another quality and edited prices cost no call."""
    bench = Bench(Known(judgement_of()))
    priced = {
        one.id: replace(one, price=Price(usd, 2 * usd))
        for one, usd in zip(TARGETS, prices, strict=True)
    }
    edited = replace(CATALOG, targets=priced, version=f"v{prices}")
    verdict = await bench.said(catalog=edited, eligible=eligible, quality=quality)
    assert verdict.source is Source.CACHE
    assert verdict.target in eligible
    assert (bench.known.asked, bench.known.completed) == ([], [])


async def test_one_edited_description_has_one_target_judged_behind_the_request() -> None:
    """The others' judgements serve meanwhile, and the choice is not kept as it stands."""
    bench = Bench(Known(judgement_of()))
    edited = dict(CATALOG.targets)
    edited["large"] = replace(edited["large"], description="Rewritten.")
    catalog = replace(CATALOG, targets=edited, version="v2")
    verdict = await bench.said(catalog=catalog)
    assert verdict.source is Source.CACHE
    assert bench.known.completed == [["large"]]
    bench.known.known = judgement_of(catalog)
    assert {
        one.target: one.probability for one in (await bench.said(catalog=catalog)).alternatives
    } == CHANCES
    assert len(bench.known.completed) == 1
    assert bench.known.asked == []


async def test_a_judgement_of_none_of_the_eligible_targets_is_no_judgement() -> None:
    """There is nothing that could serve meanwhile, so the request waits."""
    bench = Bench(Known(Judgement({"other": 0.5}, protocol="chat", model="m")))
    assert (await bench.said()).source is Source.LLM
    assert len(bench.known.asked) == 1


async def test_a_stale_judgement_serves_while_it_is_renewed() -> None:
    """And is not kept as served, so that the renewed one counts at once."""
    bench = Bench(Known(judgement_of(), "stale"))
    assert (await bench.said()).source is Source.CACHE
    assert (await bench.said()).source is Source.CACHE
    assert (bench.known.renewed, bench.known.asked) == (2, [])


async def test_a_choice_is_served_as_long_as_its_judgement_is_fresh() -> None:
    """Then the judgement is looked up again."""
    known = Known(judgement_of())
    known.fresh_until = 10.0
    bench = Bench(known)
    first = await bench.said()
    bench.now = 11.0
    assert await bench.said() is not first


async def test_a_new_calibration_counts_at_once() -> None:
    """Choices made from older estimates are made again."""
    bench = Bench(Known(judgement_of()))
    first = await bench.said()
    bench.estimator.version += 1
    assert await bench.said() is not first


@pytest.mark.parametrize("mode", ["off", "refresh"])
async def test_off_and_refresh_ask_in_any_case(mode: str) -> None:
    """What is known takes no part."""
    bench = Bench(Known(judgement_of()))
    assert (await bench.said(options={"cache": mode})).source is Source.LLM
    assert bench.lookups == []


async def test_kept_choices_are_bounded() -> None:
    """The least lately used leave."""
    bench = Bench(Known(judgement_of()))
    for quality in (0.1, 0.2, 0.3, 0.4, 0.5):
        features = replace(asked().features, fingerprint=f"{quality}")
        await bench.said(features=features, quality=quality)
    assert len(bench.stage._served) == 3


async def test_a_trusted_prediction_decides_without_the_router_llm() -> None:
    """Its confidence is its record's; every target shows what was expected of it."""
    bench = Bench(notes=Notes(SURE))
    verdict = await bench.said()
    assert (verdict.target, verdict.source, verdict.confidence) == ("small", Source.LEARNED, 0.97)
    assert {one.probability for one in verdict.alternatives} == {0.7}
    assert bench.known.asked == []


@pytest.mark.parametrize(("dice", "audited"), [(0.0, True), (0.2499, True), (0.25, False)])
async def test_a_share_of_trusted_choices_is_audited(dice: float, audited: bool) -> None:
    """The caller gets the learned choice either way; the router LLM's goes to the record."""
    notes = Notes(SURE)
    bench = Bench(notes=notes, dice=dice)
    assert (await bench.said()).source is Source.LEARNED
    await bench.background.close()
    assert len(notes.lessons) == audited
    assert [(a.target, a.agreed, a.cost_usd) for a in bench.audits] == (
        [("small", False, 0.002)] if audited else []
    )


async def test_an_audit_without_an_answer_is_no_disagreement() -> None:
    """A router LLM that is down does not take trust away."""
    notes = Notes(SURE)
    bench = Bench(notes=notes, dice=0.0)
    bench.known.says = RouterLLMFailed("connect")
    await bench.said()
    await bench.background.close()
    assert (notes.lessons, bench.audits) == ([], [])


@pytest.mark.parametrize("proposal", [None, UNSURE])
async def test_otherwise_the_router_llm_decides_and_teaches(
    proposal: LearnedPrediction | None,
) -> None:
    """The lesson comes with what had been proposed, and with every target's probability."""
    notes = Notes(proposal)
    bench = Bench(notes=notes)
    verdict = await bench.said()
    assert notes.lessons == [(proposal, verdict)]
    assert len(verdict.alternatives) == 4


async def test_a_known_judgement_teaches_nothing_again() -> None:
    """It taught when it was asked for."""
    notes = Notes(UNSURE)
    bench = Bench(Known(judgement_of()), notes=notes)
    assert (await bench.said()).source is Source.CACHE
    assert notes.lessons == []


async def test_switched_off_nothing_is_proposed() -> None:
    """Lessons are still kept, so that switching on does not start from nothing."""
    notes = Notes(SURE)
    bench = Bench(notes=notes)
    verdict = await bench.said(catalog=replace(CATALOG, learned=Learned(enabled=False)))
    assert (verdict.source, notes.asked, len(notes.lessons)) == (Source.LLM, 0, 1)


async def test_a_failure_is_the_stage_s() -> None:
    """The pipeline notes it and asks the next stage."""
    bench = Bench()
    bench.known.says = RouterLLMFailed("timeout")
    with pytest.raises(RouterLLMFailed):
        await bench.said()


@pytest.mark.parametrize(
    "over",
    [{"eligible": ("small",)}, {"catalog": replace(CATALOG, router=None)}],
)
async def test_where_there_is_nothing_to_choose_or_nobody_to_ask_it_abstains(over: Any) -> None:
    """The next stage decides."""
    bench = Bench()
    assert await bench.stage.decide(asked(**over)) is None
    assert bench.known.asked == []


async def test_a_call_that_was_ended_abstains() -> None:
    """The service is closing; the default decides."""
    bench = Bench()
    bench.known.says = None
    assert await bench.stage.decide(asked()) is None


async def test_strategy_learned_is_the_trusted_choice_or_nothing() -> None:
    """It never asks anybody else."""
    for proposal, source in ((SURE, Source.LEARNED), (UNSURE, None), (None, None)):
        judging = Bench(notes=Notes(proposal)).judging
        verdict = await LearnedOnly(judging).decide(asked())
        assert (verdict and verdict.source) == source
    assert await LearnedOnly(Bench().judging).decide(asked()) is None


async def test_the_text_is_made_ready_before_anybody_proposes() -> None:
    """What cannot be made ready is the learned model's to do without."""
    order: list[str] = []

    async def prepare(context: RoutingContext) -> None:
        order.append(context.features.text)

    notes = Notes(SURE)
    bench = Bench(notes=notes)
    stage = JudgedStage(bench.known, replace(bench.judging, prepare=prepare))
    await stage.decide(asked())
    assert (order, notes.asked) == (["hi"], 1)


@pytest.mark.parametrize(("proposal", "source"), [(UNSURE, Source.LEARNED), (None, Source.DEFAULT)])
async def test_where_asking_is_not_worth_its_price_what_is_expected_decides(
    proposal: LearnedPrediction | None, source: Source
) -> None:
    """And the reason says so; another request may be worth it, and a known judgement still is."""
    bench = Bench(notes=Notes(proposal))
    worth = Worth()
    stage = JudgedStage(bench.known, replace(bench.judging, worth=worth))
    verdict = await stage.decide(asked())
    assert verdict is not None
    assert (verdict.source, bench.known.asked) == (source, [])
    assert verdict.reason.startswith("the router LLM was not asked: it could gain")
    assert len(verdict.alternatives) == 4
    fresh = await stage.decide(asked(options={"cache": "refresh"}))
    assert fresh is not None
    assert fresh.source is Source.LLM


async def test_a_share_of_skipped_calls_is_made_behind_the_request() -> None:
    """What they would have gained is the regret of skipping."""
    notes = Notes(None)
    bench = Bench(notes=notes, dice=0.0)
    worth = Worth()
    stage = JudgedStage(bench.known, replace(bench.judging, worth=worth))
    await stage.decide(asked())
    await bench.background.close()
    assert (worth.audits, len(notes.lessons), len(bench.audits)) == (1, 1, 1)
    assert worth.regret >= 0.0
