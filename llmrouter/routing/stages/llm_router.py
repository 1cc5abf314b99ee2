"""The stage that asks a small LLM which target should answer.

It refuses to be more than one opinion: it abstains where no router LLM is configured and where
only one target is left (there is nothing to choose), it raises RouterLLMFailed with a kind whenever
the answer is not one of the eligible targets, and it does not start a call that has no chance to
end within what the request's deadline leaves. Whoever runs the stages notes the failure and goes
on; nothing is retried here.

Confidence is the model's own figure; where the server gives log-probabilities, its geometric mean
with the probability of the target's tokens, because small models say 0.9 about everything while the
probability shows when two targets were close. With `agreement` above 1 the same question is asked
under that many orders of the targets, the majority wins, and the share that agreed is the
confidence: it measures what it should, at that many times the price. It is off by default.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import Usage
from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Attribute, ChatAnswer, ChatModel, Observer, Span
from llmrouter.domain.prompt_view import View
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.prompt import Choice, answer_schema, messages_for, parse

PROMPT_NAME = "router"
_WEIGHT = 0.2  # of the newest call in the running mean of call times
_HOPELESS = 0.5  # less than this share of the usual time left: the call is not started
_FORGET = 0.9  # each call not started makes the next one likelier
_SHARE = 0.9  # of what a deadline leaves: whoever decides after a time-out needs some, too


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer of the router LLM, or why there is none. `confidence` is 0..1."""

    cost_usd: float
    choice: Choice | None = None
    confidence: float = 0.0
    failure: RouterLLMFailed | None = None


class LLMRouter:
    """Implements `Stage`. `view` cuts a request down to what is shown.

    `agreement` is how many orders of the targets are asked about, at once, for one decision;
    `first_order` is the first of them: another one asks the same question in another way.
    """

    name = "llm"

    def __init__(
        self,
        model: ChatModel,
        observer: Observer,
        view: Callable[[ChatRequest], View],
        *,
        agreement: int = 1,
        first_order: int = 0,
    ) -> None:
        self._model = model
        self._observer = observer
        self._view = view
        first = max(0, first_order)
        self._orders = range(first, first + max(1, agreement))
        self._usual_s: dict[tuple[str, str], float] = {}

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The chosen target, or None to abstain. Raises RouterLLMFailed."""
        llm = context.catalog.router
        if llm is None or len(context.eligible) < 2:
            return None
        limit_s = self._limit_s(context, llm)
        view = self._view(context.request)
        if len(self._orders) == 1:
            return verdict_of([await self._vote(context, llm, view, self._orders[0], limit_s)])
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(self._vote(context, llm, view, order, limit_s))
                for order in self._orders
            ]
        return verdict_of([task.result() for task in asked])

    async def _vote(
        self, context: RoutingContext, llm: RouterLLM, view: View, order: int, limit_s: float
    ) -> Vote:
        attributes: dict[str, Attribute] = {
            semconv.GEN_AI_PROMPT_NAME: PROMPT_NAME,
            semconv.GEN_AI_PROMPT_VERSION: context.catalog.prompt_version,
        }
        choice, answer, failure = None, None, None
        started = time.monotonic()
        with self._observer.chat(llm.model, llm.provider, llm.base_url, attributes) as span:
            try:
                messages = messages_for(context, view, order)
                schema = answer_schema(context.eligible)
                answer = await self._model.ask(llm, messages, schema, limit_s)
                _describe(span, answer)
                choice = parse(answer.text, context.eligible)
            except RouterLLMFailed as failed:
                failure = failed
                span.fail(failed.kind, failed.detail)
            usage = _usage(answer, failure)
            cost_usd = _cost_usd(llm, usage)
            span.set(semconv.COST_USD, cost_usd)
        outcome = "ok" if failure is None else failure.kind
        self._observer.router_called(llm, usage, cost_usd, outcome)
        if outcome in ("ok", "timeout"):
            self._learn_pace(llm, time.monotonic() - started)
        if choice is None or answer is None:
            return Vote(cost_usd, failure=failure)
        return Vote(cost_usd, choice, confidence_of(choice, answer.logprob))

    def _limit_s(self, context: RoutingContext, llm: RouterLLM) -> float:
        """Seconds for the call. Raises RouterLLMFailed (`timeout`) where that is hopeless."""
        whole_s = llm.timeout_ms / 1000.0
        limit_s = min(whole_s, context.deadline.remaining_s() * _SHARE)
        place = (llm.base_url, llm.model)
        usual_s = self._usual_s.get(place, 0.0)
        if limit_s <= 0 or limit_s < min(whole_s, usual_s * _HOPELESS):
            self._usual_s[place] = usual_s * _FORGET
            detail = f"not asked: {limit_s * 1000:.0f} ms left, it takes {usual_s * 1000:.0f} ms"
            raise RouterLLMFailed("timeout", detail)
        return limit_s

    def _learn_pace(self, llm: RouterLLM, took_s: float) -> None:
        place = (llm.base_url, llm.model)
        usual_s = self._usual_s.get(place, took_s)
        self._usual_s[place] = usual_s + _WEIGHT * (took_s - usual_s)


def confidence_of(choice: Choice, logprob: float | None) -> float:
    """The model's own confidence and, where given, the mean probability of the target's tokens."""
    if logprob is None:
        return choice.confidence
    return math.sqrt(choice.confidence * math.exp(min(0.0, logprob)))


def verdict_of(votes: Sequence[Vote]) -> StageResult:
    """The verdict of all votes. Raises the first one's failure when none has a choice.

    With several votes the share of them that agree is the confidence (one that failed agrees with
    nobody), and the other targets named are the alternatives.
    """
    given = [vote for vote in votes if vote.choice is not None]
    if not given:
        raise votes[0].failure or RouterLLMFailed("malformed", "no answer")
    chosen = Counter(vote.choice.target for vote in given if vote.choice is not None)
    shares = {name: count / len(votes) for name, count in chosen.items()}
    sure = {name: sum(v.confidence for v in given if _chose(v, name)) for name in shares}
    target = max(shares, key=lambda name: (shares[name], sure[name]))
    best = max((v for v in given if _chose(v, target)), key=lambda vote: vote.confidence)
    assert best.choice is not None  # noqa: S101 - it chose the target
    reason = best.choice.reason or "the router LLM gave no reason"
    if len(votes) > 1:
        reason = f"{reason} ({chosen[target]} of {len(votes)} orders agree)"
    others = sorted(((s, n) for n, s in shares.items() if n != target), reverse=True)
    return StageResult(
        target=target,
        source=Source.LLM,
        reason=reason,
        confidence=best.confidence if len(votes) == 1 else shares[target],
        task=best.choice.task,
        alternatives=tuple(Alternative(name, share) for share, name in others),
        cacheable=True,
        cost_usd=sum(vote.cost_usd for vote in votes),
    )


def _chose(vote: Vote, target: str) -> bool:
    return vote.choice is not None and vote.choice.target == target


def _describe(span: Span, answer: ChatAnswer) -> None:
    span.set(semconv.GEN_AI_RESPONSE_MODEL, answer.model)
    if answer.finish_reason is not None:
        span.set(semconv.GEN_AI_RESPONSE_FINISH_REASONS, (answer.finish_reason,))
    span.set(semconv.GEN_AI_USAGE_INPUT_TOKENS, answer.usage.input_tokens)
    span.set(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, answer.usage.output_tokens)


def _usage(answer: ChatAnswer | None, failure: RouterLLMFailed | None) -> Usage:
    if answer is not None:
        return answer.usage
    if failure is not None:
        return Usage(failure.input_tokens, failure.output_tokens)
    return Usage()


def _cost_usd(llm: RouterLLM, usage: Usage) -> float:
    given, written = usage.input_tokens, usage.output_tokens
    return (given * llm.price_input + written * llm.price_output) / 1_000_000
