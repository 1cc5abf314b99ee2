"""The stage that asks a small LLM: verdicts, abstentions, failures, cost and confidence."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from llmrouter.domain import semconv
from llmrouter.domain.catalog import Prompts, RouterLLM
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import Usage
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import ChatAnswer
from llmrouter.domain.prompt_view import View, ViewTurn
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.stages.llm_router import LLMRouter
from tests.fakes import RecordingObserver, ScriptedChatModel, a_catalog, a_request, a_target

ROUTER = RouterLLM("nano", "http://router/v1", price_input=1.0, price_output=10.0)
TEMPLATE = "{% for t in targets %}[{{ t.id }}]{% endfor %}"


def an_answer(target: str = "small", confidence: float = 0.8, **over: Any) -> str:
    """A good answer as JSON text."""
    fields = {"target": target, "task": "math", "confidence": confidence, "reason": "Easy."}
    return orjson.dumps({**fields, **over}).decode()


def a_question(*names: str, deadline: Deadline | None = None, **over: Any) -> RoutingContext:
    """A question over the named targets (small and large); `over` replaces catalog fields."""
    eligible = names or ("small", "large")
    values: dict[str, Any] = {
        "router": ROUTER,
        "prompts": Prompts(router=TEMPLATE),
        "prompt_version": "p1",
    }
    catalog = a_catalog(*(a_target(name) for name in eligible), **{**values, **over})
    features = Features("f" * 32, "c", "", "", 20, 50, frozenset(), 1, False, False)
    request = a_request()
    return RoutingContext(request, features, catalog, eligible, deadline=deadline or Deadline())


def view(request: ChatRequest) -> View:
    """The request's text as its only turn."""
    return View("", None, (ViewTurn("user", request.messages[0].text),), {}, 1, 10)


class ByOrder:
    """Picks whatever stands first in the prompt, or fails: what position bias looks like."""

    def __init__(self, logprob: float | None = None) -> None:
        self.logprob = logprob
        self.timeouts: list[float] = []

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """The first target shown."""
        self.timeouts.append(timeout_s)
        first = messages[0]["content"].partition("]")[0].strip("[")
        return ChatAnswer(an_answer(first), Usage(100, 10), "served", "stop", False, self.logprob)


class Slow:
    """Takes `took_s` and then answers or, with less time, times out."""

    def __init__(self, took_s: float) -> None:
        self.took_s = took_s
        self.asked = 0

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """An answer, late."""
        self.asked += 1
        await asyncio.sleep(min(self.took_s, timeout_s))
        if timeout_s < self.took_s:
            raise RouterLLMFailed("timeout")
        return ChatAnswer(an_answer(), Usage(100, 10), "served", "stop")


def a_stage(
    *script: str | RouterLLMFailed,
) -> tuple[LLMRouter, ScriptedChatModel, RecordingObserver]:
    """The stage over a scripted model, with what watches it."""
    model, observer = ScriptedChatModel(*script), RecordingObserver()
    return LLMRouter(model, observer, view), model, observer


async def test_an_answer_is_a_cacheable_verdict_with_its_cost() -> None:
    """Target, task, reason and confidence are the model's; the cost follows from its usage."""
    stage, _, _ = a_stage(an_answer("large"))
    verdict = await stage.decide(a_question())
    assert verdict is not None
    assert (verdict.target, verdict.source, verdict.task) == ("large", Source.LLM, "math")
    assert (verdict.reason, verdict.confidence, verdict.cacheable) == ("Easy.", 0.8, True)
    assert verdict.cost_usd == pytest.approx((100 * 1.0 + 10 * 10.0) / 1e6)


async def test_without_a_router_llm_the_stage_abstains() -> None:
    """A catalog without a router is no error."""
    stage, model, _ = a_stage(an_answer())
    assert await stage.decide(a_question(router=None)) is None
    assert model.asked == []


async def test_nobody_is_asked_where_there_is_nothing_to_choose() -> None:
    """With one eligible target no call is made, and none is counted."""
    stage, model, observer = a_stage(an_answer())
    assert await stage.decide(a_question("small")) is None
    assert model.asked == []
    assert observer.router_calls == []


async def test_log_probabilities_temper_the_stated_confidence() -> None:
    """A model that says 0.8 while its tokens had 0.2 is believed half-way (geometric mean)."""
    stage = LLMRouter(ByOrder(math.log(0.2)), RecordingObserver(), view)
    verdict = await stage.decide(a_question())
    assert verdict is not None
    assert verdict.confidence == pytest.approx(math.sqrt(0.8 * 0.2))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (RouterLLMFailed("truncated"), "truncated"),
        (RouterLLMFailed("refusal"), "refusal"),
        (RouterLLMFailed("circuit_open"), "circuit_open"),
        (an_answer("gpt-5"), "unknown_target"),
        ("I would say small.", "malformed"),
    ],
)
async def test_each_failure_is_raised_and_counted_under_its_kind(
    said: str | RouterLLMFailed, kind: str
) -> None:
    """Failures of the client and of the answer reach span and metrics as what they are."""
    stage, _, observer = a_stage(said)
    with pytest.raises(RouterLLMFailed) as caught:
        await stage.decide(a_question())
    assert caught.value.kind == kind
    assert [outcome for outcome, _ in observer.router_calls] == [kind]
    assert observer.spans[0].error == kind
    assert observer.spans[0].ended


async def test_a_failed_call_still_costs_what_it_used() -> None:
    """Tokens of an unusable answer are paid for, and counted."""
    stage, _, observer = a_stage(
        RouterLLMFailed("truncated", input_tokens=200, output_tokens=30), an_answer("gpt-5")
    )
    for _ in range(2):
        with pytest.raises(RouterLLMFailed):
            await stage.decide(a_question())
    costs = [cost for _, cost in observer.router_calls]
    assert costs == [pytest.approx(500 / 1e6), pytest.approx(200 / 1e6)]


async def test_a_call_is_one_client_span_with_what_it_came_to() -> None:
    """Prompt version at the start; model, finish reason and usage at the end."""
    stage = LLMRouter(ByOrder(), observer := RecordingObserver(), view)
    await stage.decide(a_question())
    (span,) = observer.spans
    assert span.name == "chat nano"
    assert span.error is None
    assert span.attributes[semconv.GEN_AI_PROMPT_NAME] == "router"
    assert span.attributes[semconv.GEN_AI_PROMPT_VERSION] == "p1"
    assert span.attributes[semconv.GEN_AI_RESPONSE_MODEL] == "served"
    assert span.attributes[semconv.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert span.attributes[semconv.GEN_AI_USAGE_INPUT_TOKENS] == 100
    assert span.attributes[semconv.GEN_AI_USAGE_OUTPUT_TOKENS] == 10


async def test_a_broken_template_is_a_failure_with_a_kind() -> None:
    """An edit that slipped through makes the stage fail, not the request."""
    stage, model, observer = a_stage(an_answer())
    with pytest.raises(RouterLLMFailed) as caught:
        await stage.decide(a_question(prompts=Prompts(router="{{ nothing }}")))
    assert caught.value.kind == "misconfigured"
    assert model.asked == []
    assert observer.router_calls == [("misconfigured", 0.0)]


async def test_the_call_gets_the_shorter_of_its_limit_and_the_deadline() -> None:
    """The catalog's limit bounds a call, or a shorter deadline less a share for what follows."""
    model = ByOrder()
    stage = LLMRouter(model, RecordingObserver(), view)
    await stage.decide(a_question())
    await stage.decide(a_question(deadline=Deadline.after_ms(500.0)))
    assert model.timeouts[0] == 1.5
    assert 0.0 < model.timeouts[1] <= 0.45


async def test_a_spent_deadline_asks_nobody() -> None:
    """No time left is a time-out without a call."""
    stage, model, _ = a_stage(an_answer())
    with pytest.raises(RouterLLMFailed) as caught:
        await stage.decide(a_question(deadline=Deadline.after_ms(0.0)))
    assert caught.value.kind == "timeout"
    assert model.asked == []


async def test_a_hopeless_call_is_not_started_and_hope_returns() -> None:
    """Once calls are known to take long, a short deadline skips them, but not for ever."""
    model = Slow(0.1)
    stage = LLMRouter(model, RecordingObserver(), view)
    await stage.decide(a_question())
    for _ in range(100):
        with pytest.raises(RouterLLMFailed):
            await stage.decide(a_question(deadline=Deadline.after_ms(10.0)))
        if model.asked > 1:
            break
    assert model.asked == 2


async def test_agreement_asks_under_several_orders_and_takes_the_majority() -> None:
    """The share of orders that agree is the confidence, the others are the alternatives."""
    observer = RecordingObserver()
    stage = LLMRouter(ByOrder(), observer, view, agreement=5)
    verdict = await stage.decide(a_question("a", "b"))
    assert verdict is not None
    assert verdict.confidence in (0.6, 0.8)
    assert [o.score for o in verdict.alternatives] == [pytest.approx(1 - verdict.confidence)]
    assert "of 5 orders agree" in verdict.reason
    assert len(observer.spans) == 5
    assert verdict.cost_usd == pytest.approx(5 * 200 / 1e6)


async def test_a_failed_order_agrees_with_nobody() -> None:
    """One failure among three costs confidence; all failing is a failure."""
    script: list[str | RouterLLMFailed] = [RouterLLMFailed("timeout"), an_answer("large")]
    observer = RecordingObserver()
    stage = LLMRouter(ScriptedChatModel(*script), observer, view, agreement=3)
    verdict = await stage.decide(a_question())
    assert verdict is not None
    assert verdict.target == "large"
    assert verdict.confidence == pytest.approx(2 / 3)
    broken = LLMRouter(ScriptedChatModel(RouterLLMFailed("refusal")), observer, view, agreement=3)
    with pytest.raises(RouterLLMFailed) as caught:
        await broken.decide(a_question())
    assert caught.value.kind == "refusal"
