"""The calls of one judgement: each a span with its tokens and its price, all within one time limit.

Protocols ask through this and see neither telemetry nor money. What the calls of a judgement cost
together is `cost_usd`, also where the judgement failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Usage
from llmrouter.domain.interfaces import Attribute, ChatAnswer, JudgeModel, Observer, TokenAnswer
from llmrouter.errors import RouterLLMFailed

PROMPT_NAME = "router"
Answer = TypeVar("Answer")


class Calls:
    """Asks one router LLM; `prompt_version` goes into every span."""

    def __init__(
        self,
        model: JudgeModel,
        observer: Observer,
        llm: RouterLLM,
        prompt_version: str,
        timeout_s: float,
    ) -> None:
        self._model = model
        self._observer = observer
        self._llm = llm
        self._version = prompt_version
        self._ends_at = asyncio.get_running_loop().time() + timeout_s
        self.cost_usd = 0.0
        self.count = 0

    @property
    def gives_logprobs(self) -> bool:
        """Whether it is worth asking for log-probabilities."""
        return self._model.gives_logprobs(self._llm)

    def question_failed(self, kind: str, count: int = 1) -> None:
        """Single questions that were refused, or not answered, in an answer that counts."""
        if count:
            self._observer.count("judge_questions_failed", count, {"kind": kind})

    async def next_token(self, protocol: str, messages: Sequence[Mapping[str, str]]) -> TokenAnswer:
        """The next token's distribution. Raises RouterLLMFailed."""

        def described(answer: TokenAnswer) -> tuple[Usage, str, str | None]:
            return answer.usage, answer.model, answer.finish_reason

        return await self._call(
            protocol,
            _chars(messages),
            lambda limit_s: self._model.next_token(self._llm, messages, limit_s),
            described,
        )

    async def ask(
        self,
        protocol: str,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
    ) -> ChatAnswer:
        """A structured answer. Raises RouterLLMFailed."""

        def described(answer: ChatAnswer) -> tuple[Usage, str, str | None]:
            return answer.usage, answer.model, answer.finish_reason

        return await self._call(
            protocol,
            _chars(messages),
            lambda limit_s: self._model.ask(self._llm, messages, schema, limit_s),
            described,
        )

    async def post(
        self,
        protocol: str,
        path: str,
        body: Mapping[str, Any],
        usage_of: Callable[[Mapping[str, Any]], Usage],
    ) -> Mapping[str, Any]:
        """The answer of another endpoint of the server. Raises RouterLLMFailed."""

        sent = len(orjson.dumps(body))
        questions = max(1, len(body.get("questions", ())))

        def described(answer: Mapping[str, Any]) -> tuple[Usage, str, str | None]:
            model = answer.get("model")
            usage = usage_of(answer).of_question(sent * questions)
            return usage, model if isinstance(model, str) else self._llm.model, None

        return await self._call(
            protocol,
            sent,
            lambda limit_s: self._model.post(self._llm, path, body, limit_s),
            described,
        )

    async def _call(
        self,
        protocol: str,
        sent: int,
        send: Callable[[float], Awaitable[Answer]],
        described: Callable[[Answer], tuple[Usage, str, str | None]],
    ) -> Answer:
        llm = self._llm
        attributes: dict[str, Attribute] = {
            semconv.GEN_AI_PROMPT_NAME: PROMPT_NAME,
            semconv.GEN_AI_PROMPT_VERSION: self._version,
            semconv.JUDGE_PROTOCOL: protocol,
        }
        usage, outcome, asked = Usage(), "ok", True
        self.count += 1
        with self._observer.chat(llm.model, llm.provider, llm.base_url, attributes) as span:
            try:
                left_s = self._ends_at - asyncio.get_running_loop().time()
                answer = await send(max(left_s, 0.001))
            except RouterLLMFailed as failed:
                usage = Usage(failed.input_tokens, failed.output_tokens, failed.cached_tokens)
                outcome, asked = failed.kind, failed.kind != "no_logprobs" or usage != Usage()
                span.fail(failed.kind, failed.detail)
                raise
            except asyncio.CancelledError:  # the server has read the question
                usage, outcome = Usage(sent // 4, estimated=True), "cancelled"
                raise
            else:
                usage, model, finish_reason = described(answer)
                span.set(semconv.GEN_AI_RESPONSE_MODEL, model)
                if finish_reason is not None:
                    span.set(semconv.GEN_AI_RESPONSE_FINISH_REASONS, (finish_reason,))
                span.set(semconv.GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
                span.set(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)
                if usage.cached_tokens:
                    span.set(semconv.GEN_AI_USAGE_CACHED_TOKENS, usage.cached_tokens)
                return answer
            finally:
                size = usage.input_tokens, usage.output_tokens, usage.cached_tokens
                cost_usd = llm.cost_usd(*size)
                self.cost_usd += cost_usd
                span.set(semconv.COST_USD, cost_usd)
                if asked:
                    self._observer.router_called(llm, usage, cost_usd, outcome)


def _chars(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)
