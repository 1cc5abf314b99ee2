"""The gateway's calls: what is pinned, what is refused and in which words, whose a decision is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmrouter.domain.catalog import Cascade, Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, RouterOptions
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, Source
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.errors import (
    Forbidden,
    LLMRouterError,
    ModelNotFound,
    NoEligibleTarget,
    NotFound,
    Overloaded,
    TargetsRateLimited,
)
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.gateway import Gateway, GatewayDependencies
from llmrouter.routing.pipeline import RoutingPipeline
from llmrouter.routing.stages.default import Default
from llmrouter.routing.stages.rules import StartCascade
from llmrouter.screening import DECISION_VALID_S
from llmrouter.store.decision_log import DecisionLog, DecisionLogOptions
from llmrouter.store.memory import MemoryStore
from llmrouter.upstream.health import TargetHealth
from tests.fakes import RecordingObserver, a_catalog, a_request, a_target

PRO = frozenset({"pro"})


@dataclass
class Notes:
    """A journal that keeps ratings."""

    ratings: list[Feedback] = field(default_factory=list)

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Pass."""

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Keep it."""
        self.ratings.append(feedback)


@dataclass
class Orders:
    """An executor that keeps what it was ordered to run."""

    orders: list[ExecutionRequest] = field(default_factory=list)

    def run(self, order: ExecutionRequest) -> Orders:
        """Keep it."""
        self.orders.append(order)
        return self

    async def open(self) -> ExecutionRequest:
        """The last order."""
        return self.orders[-1]


class Bench:
    """A gateway over real rooms, with a catalog of small, large, and a costly one for pro."""

    def __init__(self) -> None:
        self.current: Catalog = a_catalog(
            a_target("small"),
            a_target("large", context_window=1000),
            a_target("costly", tiers=PRO),
            a_target("off", enabled=False),
            cascade=Cascade(order=("small", "large")),
        )
        self.observer, self.notes, self.executor = RecordingObserver(), Notes(), Orders()
        self.health = TargetHealth()
        self.steps = 0
        rooms: dict[str, Any] = {
            "catalog": self,
            "measure": Extractor(Fingerprinter(b"k" * 32)),
            "router": RoutingPipeline(
                {"auto": (), "cascade": (StartCascade(),)}, self.observer, Default()
            ),
            "executor": self.executor,
            "ledger": DecisionLog(
                MemoryStore(), encode_decision, decode_decision, DecisionLogOptions(flush_s=0.0)
            ),
            "health": self.health,
            "observer": self.observer,
            "journal": self.notes,
            "escalate": self.start,
        }
        self.gateway = Gateway(GatewayDependencies(**rooms))

    async def start(self, *_: Any) -> int:
        """Where a cascade starts."""
        return self.steps

    async def decide(self, caller: Caller = ANONYMOUS, **options: Any) -> Decision:
        """A decision on a request with these options; `model` pins."""
        return await self.gateway.decide(asked(**options), caller)

    async def order(self, caller: Caller = ANONYMOUS, **options: Any) -> ExecutionRequest:
        """What would be executed."""
        execution: Any = await self.gateway.complete(asked(**options), caller)
        order: Any = await execution.open()
        assert isinstance(order, ExecutionRequest)
        return order


def asked(model: str = "auto", text: str = "hi", **options: Any) -> ChatRequest:
    """A request."""
    return a_request(text, model=model, options=RouterOptions(**options))


async def failing(error: type[LLMRouterError], call: Any) -> LLMRouterError:
    """The error that a call ends with."""
    with pytest.raises(error) as caught:
        await call
    return caught.value


async def test_a_pinned_target_is_taken_and_has_no_fallback() -> None:
    """The caller named it; another model's answer would be a surprise."""
    decision = await Bench().decide(model="large")
    assert (decision.target, decision.source, decision.fallbacks) == ("large", Source.PINNED, ())
    assert decision.confidence == 1.0


@pytest.mark.parametrize("name", ["gpt-99", "off", "", "Small"])
async def test_an_unknown_pin_is_model_not_found(name: str) -> None:
    """With what there is instead; a disabled target is not there."""
    error = await failing(ModelNotFound, Bench().decide(model=name))
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "there are: auto, small, large, costly" in error.message


@pytest.mark.parametrize(
    "caller", [ANONYMOUS, Caller("k", tier="free"), Caller("k", allow=frozenset({"small"}))]
)
async def test_a_pin_that_policy_forbids_is_403(caller: Caller) -> None:
    """Tier and allow-list are permissions, not sizes."""
    error = await failing(Forbidden, Bench().decide(caller, model="costly"))
    assert (error.status, error.code, error.param) == (403, "target_not_allowed", "model")
    assert "costly" in error.message


async def test_a_pin_that_cannot_serve_is_422_with_its_reason() -> None:
    """A request too long for it."""
    error = await failing(NoEligibleTarget, Bench().decide(model="large", text="word " * 900))
    assert error.status == 422
    assert error.message.startswith("no eligible target: large: needs about ")


@pytest.mark.parametrize("retry_after_s", [None, 30.0])
async def test_a_pinned_target_that_is_ill_is_still_tried(retry_after_s: float | None) -> None:
    """The executor's breaker answers; there is nobody else to ask, and 422 would be untrue."""
    bench = Bench()
    for _ in range(5):
        bench.health.record("small", ok=False)
    if retry_after_s:
        bench.health.cooldown("small", retry_after_s)
    assert (await bench.decide(model="small")).target == "small"


async def test_a_key_s_tier_is_not_the_request_s_to_choose() -> None:
    """A free key that says pro is told so."""
    error = await failing(Forbidden, Bench().decide(Caller("k", tier="free"), tier="pro"))
    assert (error.code, error.param) == ("tier_not_allowed", "router.tier")
    assert "key 'k' is for tier 'free', not 'pro'" in error.message


async def test_an_earlier_decision_is_no_way_around_the_options_of_a_request() -> None:
    """What is refused when a decision is made is refused when one is named."""
    bench, caller = Bench(), Caller("k", tier="free")
    made = await bench.decide(caller)
    named = RouterOptions(decision_id=made.decision_id, tier="pro")
    error = await failing(Forbidden, bench.gateway.complete(a_request(options=named), caller))
    assert error.code == "tier_not_allowed"


async def test_nobody_left_is_422_and_lists_every_reason() -> None:
    """Each target and why it is out."""
    error = await failing(NoEligibleTarget, Bench().decide(deny=("small", "large")))
    assert (error.status, error.code) == (422, "no_eligible_target")
    for part in (
        "small: in router.deny",
        "large: in router.deny",
        "costly: no tier is not among its tiers (pro)",
        "off: disabled in the catalog",
    ):
        assert part in error.message


async def test_where_all_rest_the_least_bad_is_probed() -> None:
    """The decision says so, with the circuit that is in the way; no stage is asked."""
    bench = Bench()
    for name in ("large", "small"):
        for _ in range(5):
            bench.health.record(name, ok=False)
    decision = await bench.decide()
    assert (decision.target, decision.source, decision.fallbacks) == ("large", Source.DEFAULT, ())
    assert decision.reason.startswith("every fitting target is resting, this one is probed: ")
    assert "circuit open after 5 failures in a row" in decision.reason
    assert [e.target for e in decision.excluded] == ["small", "costly", "off"]


async def test_where_all_rest_and_a_probe_is_out_the_caller_is_told_when_to_come_back() -> None:
    """503 with the soonest time, and each target's reason."""
    bench = Bench()
    for name in ("large", "small"):
        for _ in range(5):
            bench.health.record(name, ok=False)
        assert bench.health.admit(name, early=True)
    error = await failing(Overloaded, bench.decide())
    assert (error.status, error.code) == (503, "overloaded")
    assert error.message.startswith("every fitting target is resting: small: circuit open after 5")
    assert "costly: no tier is not among its tiers (pro)" in error.message
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 30


@pytest.mark.parametrize("large_s", [7.0, None])
async def test_where_all_are_rate_limited_it_is_429(large_s: float | None) -> None:
    """With the soonest end; where one waits for something else it is 503."""
    bench = Bench()
    bench.health.cooldown("small", 20.0)
    bench.health.cooldown("large", 7.0, *(() if large_s else ("overloaded",)))
    error = await failing(TargetsRateLimited if large_s else Overloaded, bench.decide())
    assert error.status == (429 if large_s else 503)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 7


async def test_a_request_that_nothing_can_ever_serve_is_422_however_all_rest() -> None:
    """Waiting would not help it."""
    bench = Bench()
    bench.health.cooldown("small", 20.0)
    bench.health.cooldown("large", 20.0)
    error = await failing(NoEligibleTarget, bench.decide(deny=("small", "large")))
    assert error.retry_after_s is None


@pytest.mark.parametrize("option", ["allow", "deny"])
async def test_a_list_that_names_nobody_known_is_404(option: str) -> None:
    """A typing error must not silently allow or deny nothing."""
    error = await failing(NotFound, Bench().decide(**{option: ("smal",)}))
    assert "'smal'" in error.message


async def test_a_decision_id_executes_exactly_that_decision() -> None:
    """Whatever would be decided now."""
    bench = Bench()
    decision = await bench.decide(tier="pro", allow=("costly", "large"))
    assert decision.target != "small"
    order = await bench.order(decision_id=decision.decision_id)
    assert order.decision is decision
    assert len(bench.observer.decisions) == 1


async def test_a_decision_is_its_tenant_s() -> None:
    """Another's is as absent as one never made: to run, to find, to rate, to list."""
    bench, mine, theirs = Bench(), Caller("a", tenant="a"), Caller("b", tenant="b")
    name = (await bench.decide(mine)).decision_id
    error = await failing(NotFound, bench.order(theirs, decision_id=name))
    assert (error.code, error.param) == ("decision_not_found", "router.decision_id")
    await failing(NotFound, bench.gateway.find(name, theirs))
    await failing(NotFound, bench.gateway.record_feedback(Feedback(name, 1.0), theirs))
    assert await bench.gateway.recent(10, theirs) == []
    assert [d["decision_id"] for d in await bench.gateway.recent(10, mine)] == [name]
    assert (await bench.order(mine, decision_id=name)).decision.decision_id == name


async def test_an_unknown_decision_is_404() -> None:
    """Nothing is decided in its place."""
    bench = Bench()
    await failing(NotFound, bench.order(decision_id="dec_0123456789ab_7"))
    assert bench.executor.orders == []


async def test_an_old_decision_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is valid for an hour, to the second."""
    bench = Bench()
    decision = await bench.decide()
    now = decision.created_at
    monkeypatch.setattr(time, "time", lambda: now + DECISION_VALID_S)
    assert (await bench.order(decision_id=decision.decision_id)).decision is decision
    monkeypatch.setattr(time, "time", lambda: now + DECISION_VALID_S + 1)
    error = await failing(NotFound, bench.order(decision_id=decision.decision_id))
    assert (error.code, error.param) == ("decision_expired", "router.decision_id")


@pytest.mark.parametrize("edit", ["removed", "disabled"])
async def test_a_decision_for_a_target_that_left_has_expired(edit: str) -> None:
    """An edit of the catalog since is told, not worked around."""
    bench = Bench()
    decision = await bench.decide()
    targets = dict(bench.current.targets)
    gone = targets.pop(decision.target)
    if edit == "disabled":
        targets[gone.id] = replace(gone, enabled=False)
    bench.current = replace(bench.current, targets=targets, default="large", version="v2")
    error = await failing(NotFound, bench.order(decision_id=decision.decision_id))
    assert error.code == "decision_expired"
    assert "not in the catalog any more" in error.message


@pytest.mark.parametrize(
    "caller", [Caller("free", tier="free"), Caller("small", allow=frozenset({"small"}))]
)
async def test_a_decision_id_is_no_way_around_tier_or_allow_list(caller: Caller) -> None:
    """Keys that share a tenant see each other's decisions, and keep their own limits."""
    bench = Bench()
    decision = await bench.decide(Caller("pro", tier="pro"), allow=("costly",))
    error = await failing(Forbidden, bench.order(caller, decision_id=decision.decision_id))
    assert (error.status, error.code) == (403, "target_not_allowed")
    assert bench.executor.orders == []


async def test_nor_are_its_fallbacks() -> None:
    """Those the key may not use are not tried."""
    bench = Bench()
    decision = await bench.decide(Caller("pro", tier="pro"))
    assert (decision.target, set(decision.fallbacks)) == ("small", {"large", "costly"})
    order = await bench.order(Caller("free", tier="free"), decision_id=decision.decision_id)
    assert order.decision.fallbacks == ("large",)


async def test_only_a_cascade_asks_where_to_start() -> None:
    """What the hook says goes into the order, and other decisions never ask it."""
    bench = Bench()
    bench.steps = 1
    assert (await bench.order(strategy="cascade")).escalate == 1
    assert (await bench.order()).escalate == 0


async def test_feedback_is_signed_with_the_key_and_the_time() -> None:
    """What a caller claims about itself does not count."""
    bench = Bench()
    decision = await bench.decide()
    claimed = Feedback(decision.decision_id, 0.5, "large", caller="somebody", created_at=1.0)
    await bench.gateway.record_feedback(claimed, Caller("app"))
    kept = bench.notes.ratings[0]
    assert (kept.caller, kept.score, kept.preferred) == ("app", 0.5, "large")
    assert kept.created_at >= decision.created_at
    assert bench.observer.ratings == [kept]


async def test_a_preferred_target_must_exist() -> None:
    """A lesson about nobody is none."""
    bench = Bench()
    decision = await bench.decide()
    rating = Feedback(decision.decision_id, 0.5, "larg")
    error = await failing(NotFound, bench.gateway.record_feedback(rating, ANONYMOUS))
    assert (error.code, error.param) == ("target_not_found", "preferred")
    assert error.message.endswith("did you mean 'large'?")
    assert bench.notes.ratings == []
