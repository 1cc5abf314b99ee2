"""The gateway: what is asked once, and what asks again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, RouterOptions
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.decision import Decision, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Stage
from llmrouter.errors import NotFound
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.gateway import Gateway, GatewayDependencies
from llmrouter.routing.pipeline import RoutingPipeline
from llmrouter.routing.stages.default import Default
from llmrouter.upstream.health import TargetHealth
from tests.fakes import RecordingObserver, a_catalog, a_request


@dataclass
class Holder:
    """A catalog that a test can swap."""

    current: Catalog = field(default_factory=a_catalog)


@dataclass
class Notes:
    """A ledger and journal that keep what they are told."""

    kept: list[Decision] = field(default_factory=list)
    questions: list[RoutingContext] = field(default_factory=list)

    def new_id(self) -> str:
        """A fresh id."""
        return f"dec_{len(self.kept)}"

    def remember(self, decision: Decision) -> None:
        """Keep it."""
        self.kept.append(decision)

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Keep what was asked."""
        self.questions.append(context)


class Says:
    """A stage with one cached verdict, the same each time."""

    name = "cache"

    def __init__(self, target: str) -> None:
        self.verdict = StageResult(target, Source.CACHE, "cached", 0.9, "general")

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The verdict."""
        return self.verdict


class Bench:
    """A gateway on real rooms, without an executor."""

    def __init__(self, *stages: Stage) -> None:
        self.holder, self.health, self.notes = Holder(), TargetHealth(), Notes()
        self.observer = RecordingObserver()
        notes: Any = self.notes
        unused: Any = None
        self.gateway = Gateway(
            GatewayDependencies(
                catalog=self.holder,
                measure=Extractor(Fingerprinter(b"k" * 32)),
                router=RoutingPipeline({"auto": stages}, self.observer, Default()),
                executor=unused,
                ledger=notes,
                health=self.health,
                observer=self.observer,
                journal=notes,
            )
        )

    def ask(
        self, request: ChatRequest, caller: Caller = ANONYMOUS, deadline: Deadline = NEVER
    ) -> RoutingContext:
        """The question as the gateway makes it."""
        return self.gateway.screener.screen(request, caller, deadline)

    def ill(self, target: str) -> None:
        """Make a target's circuit open."""
        for _ in range(5):
            self.health.record(target, ok=False)


def a_kept_request(text: str = "What is 2+2?") -> ChatRequest:
    """A request that the same bytes yield again."""
    return replace(a_request(text), kept=True)


def test_a_kept_request_is_measured_once() -> None:
    """A request that comes again is the question it was, and equal to a fresh one's."""
    bench, request = Bench(), a_kept_request("one two three")
    first = bench.ask(request)
    assert bench.ask(request) is first
    again = bench.ask(replace(request, kept=False))
    assert again is not first
    assert again.features == first.features
    assert again.eligible == first.eligible


def test_another_caller_asks_another_question() -> None:
    """What a key may reach and where its entries live is its own, for the same bytes too."""
    bench, request = Bench(), a_kept_request()
    first = bench.ask(request)
    limited = bench.ask(request, Caller("k", tenant="t", allow=frozenset({"large"})))
    assert limited.eligible == ("large",)
    assert limited.features.fingerprint != first.features.fingerprint
    assert bench.ask(request) is first


def test_an_edited_catalog_asks_anew() -> None:
    """A swapped catalog is seen by the very next request."""
    bench, request = Bench(), a_kept_request()
    bench.ask(request)
    targets = dict(bench.holder.current.targets)
    targets["small"] = replace(targets["small"], enabled=False)
    bench.holder.current = replace(bench.holder.current, targets=targets, version="v2")
    asked = bench.ask(request)
    assert asked.catalog is bench.holder.current
    assert asked.eligible == ("large",)


def test_an_ill_target_is_out_and_comes_back() -> None:
    """Health is looked at for every request, however often it came before."""
    bench, request = Bench(), a_kept_request()
    assert bench.ask(request).eligible == ("small", "large")
    bench.ill("small")
    asked = bench.ask(request)
    assert asked.eligible == ("large",)
    assert [e.target for e in asked.excluded] == ["small"]
    bench.health.record("small", ok=True)
    assert bench.ask(request).eligible == ("small", "large")


def test_a_target_that_was_ill_at_the_first_asking_comes_back() -> None:
    """A question asked while somebody was ill is not the answer to later ones."""
    bench, request = Bench(), a_kept_request()
    bench.ill("small")
    assert bench.ask(request).eligible == ("large",)
    bench.health.record("small", ok=True)
    assert bench.ask(request).eligible == ("small", "large")


def test_a_deadline_is_the_request_s_own() -> None:
    """With a latency budget every request has its own point in time."""
    bench = Bench()
    request = replace(a_request(options=RouterOptions(latency_budget_ms=5000)), kept=True)
    one, two = Deadline(1e12), Deadline(2e12)
    assert [bench.ask(request, deadline=d).deadline for d in (one, two)] == [one, two]


async def test_each_repeat_is_a_decision_of_its_own() -> None:
    """Repeats share what they are about, not their id, time or record."""
    bench, request = Bench(), a_kept_request()
    first = await bench.gateway.decide(request, ANONYMOUS)
    second = await bench.gateway.decide(request, ANONYMOUS)
    assert (first.decision_id, second.decision_id) == ("dec_0", "dec_1")
    assert first.created_at <= second.created_at
    assert bench.notes.kept == [first, second]
    assert bench.observer.decisions == [first, second]
    plain = {"decision_id": "", "timing_ms": 0.0, "created_at": 0.0, "stages": ()}
    assert replace(first, **plain) == replace(second, **plain)


OWN: dict[str, Any] = {"decision_id": "", "timing_ms": 0.0, "created_at": 0.0, "stages": ()}


async def test_a_cached_verdict_is_the_same_decision_however_the_prompt_is_spelt() -> None:
    """Decisions that share their record are equal to ones that were written down in full."""
    bench, fresh = Bench(Says("small")), Bench(Says("small"))
    made = [await bench.gateway.decide(a_request(t), ANONYMOUS) for t in ("Go on", "GO ON")]
    assert made[1].common is made[0].common
    alone = await fresh.gateway.decide(a_request("GO ON"), ANONYMOUS)
    assert replace(made[1], **OWN) == replace(alone, **OWN)
    assert made[0].decision_id != made[1].decision_id


async def test_what_differs_is_written_down_anew() -> None:
    """Another size, caller, candidate, catalog or verdict shares nothing."""
    stage = Says("small")
    bench = Bench(stage)
    first = await bench.gateway.decide(a_request("go on"), ANONYMOUS)

    async def decided(text: str = "go on", caller: Caller = ANONYMOUS) -> Decision:
        decision = await bench.gateway.decide(a_request(text), caller)
        assert decision.common is not first.common
        return decision

    wide = await decided("go on" + " " * 400)
    assert wide.fingerprint == first.fingerprint
    assert wide.estimate.input_tokens > first.estimate.input_tokens
    await decided(caller=Caller("other"))
    bench.ill("large")
    assert (await decided()).fallbacks == ()
    bench.health.record("large", ok=True)
    bench.holder.current = replace(bench.holder.current, version="v2")
    assert (await decided()).catalog_version == "v2"
    stage.verdict = StageResult("large", Source.CACHE, "cached", 0.9, "general")
    assert (await decided()).target == "large"


@pytest.mark.parametrize(
    ("options", "param", "meant"),
    [
        (RouterOptions(allow=("small", "smal")), "router.allow[1]", "small"),
        (RouterOptions(allow=("small",), deny=("larg",)), "router.deny[0]", "large"),
    ],
)
def test_an_unknown_id_is_reported_where_it_stands(
    options: RouterOptions, param: str, meant: str
) -> None:
    """The parameter is the list that has it, not the other one; misspelt, it would do nothing."""
    bench = Bench(Says("small"))
    with pytest.raises(NotFound) as refused:
        bench.gateway.screener.screen(a_request(options=options), ANONYMOUS, NEVER)
    assert (refused.value.code, refused.value.param) == ("target_not_found", param)
    assert f"did you mean {meant!r}?" in refused.value.message
