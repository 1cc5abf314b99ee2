"""The gateway: what decisions share, and what is written down anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest
from llmrouter.domain.decision import Decision, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Stage
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

    def ill(self, target: str) -> None:
        """Make a target's circuit open."""
        for _ in range(5):
            self.health.record(target, ok=False)


def a_kept_request(text: str = "What is 2+2?") -> ChatRequest:
    """A request that the same bytes yield again."""
    return replace(a_request(text), kept=True)


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
