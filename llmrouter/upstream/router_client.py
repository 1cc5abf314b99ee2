"""Asks a small LLM one bounded question and gets one answer.

What a server understands is negotiated per server and model and remembered (see `dialect`).
Everything that can go wrong becomes one RouterLLMFailed with a kind of its own.

It refuses: to retry more than once, and anything but a broken connection, a 429 or a 5xx; to take
longer than it was given, negotiation and retry included; to ask a server whose circuit is open, or
a model while it is rate limited; to follow redirects or proxies from the environment; and to put a
key into an error or a log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import orjson

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Usage
from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.interfaces import ChatAnswer, TokenAnswer
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.dialect import (
    Dialect,
    downgrade,
    first_dialect,
    request_body,
    token_body,
)
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.router_failures import (
    PASSING,
    document_of,
    refusal_of,
    timed_out,
)
from llmrouter.upstream.router_http import RouterHttp, ServerRefused, joined
from llmrouter.upstream.structured_answer import answer_of, next_token_of
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

_MAX_RETRIES = 1
_BACKOFF_S = (0.05, 0.2)  # the one retry waits between these, at random
_RELEARN_S = 3600.0  # a server that was updated gets a chance to show it
_MAX_WAIT_S = 60.0  # the longest Retry-After that is believed
_OWN_LIMIT_S = 10.0  # no caller waits longer, whatever `timeout_ms` says
_NO_CREDIT = "its account at the provider is used up"
_CHAT = "/chat/completions"
_TOKEN = "token"  # noqa: S105 - a kind of question
_NO_LOGPROBS = "the server tells no log-probabilities"
_OPENAI_HOST = "api.openai.com"
_OPENAI_ACCOUNT: Final = {
    "OpenAI-Organization": "OPENAI_ORG_ID",
    "OpenAI-Project": "OPENAI_PROJECT_ID",
}
"""Headers that OpenAI's own client takes from the environment; no other server is sent them."""


@dataclass(frozen=True, slots=True)
class _Ask(Generic[Answer]):
    """A question: its body in a dialect, how its answer is read, what is negotiated for it."""

    llm: RouterLLM
    path: str
    body: Callable[[Dialect], bytes]
    read: Callable[[bytes], Answer]
    kind: str = ""  # dialects are kept for each kind of question
    chars: int = 0  # how long it is


@dataclass(frozen=True, slots=True)
class _Question(Generic[Answer]):
    ask: _Ask[Answer]
    headers: Mapping[str, str]
    key: str | None
    ends_at: float  # in seconds of the event loop's clock


class RouterClient:
    """Implements `ChatModel`. `env` is read per call, so a rotated key is seen.

    `trace_headers` gives the W3C trace context of the current step. `health` holds a circuit for
    each server, by its address, and the rate limits of each model on it. `fast` and
    `addresses` as in `http_transport.transport`.
    """

    def __init__(
        self,
        env: Mapping[str, str] = os.environ,
        trace_headers: Callable[[], Mapping[str, str]] = dict,
        *,
        health: TargetHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
        fast: bool = True,
        addresses: AddressPolicy = NO_METADATA,
    ) -> None:
        self._env = env
        self._trace_headers = trace_headers
        self._health = health or TargetHealth()
        self._clock = clock
        self._http = RouterHttp(fast=fast, addresses=addresses)
        self._servers: set[str] = set()
        self._dialects: dict[tuple[str, str, str], tuple[Dialect, float]] = {}

    def circuits(self) -> dict[str, str]:
        """Each server asked so far and the state of its circuit."""
        states = self._health.states()
        return {base_url: states.get(base_url, "closed") for base_url in self._servers}

    def dialect(self, llm: RouterLLM, kind: str = "") -> Dialect:
        """The dialect learned for a model on its server; a first guess for a new model.

        `kind` tells questions apart: what is turned down for one may be taken for another.
        """
        known = self._dialects.get((llm.base_url, llm.model, kind))
        if known is None or self._clock() - known[1] > _RELEARN_S:
            return replace(first_dialect(llm.model), token=kind == _TOKEN)
        return known[0]

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """One structured answer within `timeout_s` seconds. Raises RouterLLMFailed."""

        def body(dialect: Dialect) -> bytes:
            return orjson.dumps(request_body(dialect, llm.model, messages, schema))

        def read(reply: bytes) -> ChatAnswer:
            return answer_of(reply, llm.model, _chars(messages), schema)

        with self._admitted(llm):
            return await self._heard(
                _Ask(llm, _CHAT, body, read, chars=_chars(messages)), timeout_s
            )

    def gives_logprobs(self, llm: RouterLLM) -> bool:
        """False once the server has shown that it tells no log-probabilities."""
        return self.dialect(llm, _TOKEN).sends("logprobs")

    async def next_token(
        self, llm: RouterLLM, messages: Sequence[Mapping[str, str]], timeout_s: float
    ) -> TokenAnswer:
        """The next token's distribution. Raises RouterLLMFailed."""
        if not self.gives_logprobs(llm):
            raise RouterLLMFailed("no_logprobs", _NO_LOGPROBS)

        def body(dialect: Dialect) -> bytes:
            return orjson.dumps(token_body(dialect, llm.model, messages))

        def read(reply: bytes) -> TokenAnswer:
            return next_token_of(reply, llm.model, _chars(messages))

        try:
            asked = _Ask(llm, _CHAT, body, read, _TOKEN, _chars(messages))
            return await self._once(asked, timeout_s)
        except RouterLLMFailed as failure:
            if failure.kind == "no_logprobs":
                silent = self.dialect(llm, _TOKEN).without("logprobs")
                self._learn(llm, silent, _TOKEN)
            raise

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """The JSON object that answers a POST to `path`. Raises RouterLLMFailed."""
        packed = orjson.dumps(body)
        asked = _Ask(llm, path, lambda _: packed, document_of, path, len(packed))
        return await self._once(asked, timeout_s)

    async def _once(self, asked: _Ask[Answer], timeout_s: float) -> Answer:
        with self._admitted(asked.llm):
            answer = await self._ask(asked, timeout_s)
            self._health.record(_model_at(asked.llm), ok=True)
            return answer

    @contextmanager
    def _admitted(self, llm: RouterLLM) -> Iterator[None]:
        self._key(llm)
        self._admit(llm)
        try:
            yield
        finally:
            for name in (llm.base_url, _model_at(llm)):
                self._health.release(name)  # where nothing was found out, another may probe

    async def _heard(self, asked: _Ask[ChatAnswer], timeout_s: float) -> ChatAnswer:
        """The answer; a model that only thought is asked in a quieter way, and that is remembered.

        Where no way helps, the model rests once that has happened often enough in a row.
        """
        llm, loop = asked.llm, asyncio.get_running_loop()
        wasted, left_s = Usage(), timeout_s
        while True:
            started = loop.time()
            try:
                answer = await self._ask(asked, left_s)
            except RouterLLMFailed as failure:
                wasted = wasted.plus(
                    Usage(failure.input_tokens, failure.output_tokens, failure.cached_tokens)
                )
                failure.input_tokens, failure.output_tokens = (
                    wasted.input_tokens,
                    wasted.output_tokens,
                )
                failure.cached_tokens = wasted.cached_tokens
                if failure.kind != "thought":
                    raise
                quieter = self.dialect(llm).quieter()
                if quieter is None:
                    self._health.record(_model_at(llm), ok=False)
                    raise
                self._learn(llm, quieter, "")
                log.info("%s at %s only thought: asked otherwise now", llm.model, llm.base_url)
                took_s = loop.time() - started
                left_s -= took_s
                if left_s <= took_s:
                    raise
                continue
            self._health.record(_model_at(llm), ok=True)
            # The tokens of answers that were of no use are billed too.
            return answer if wasted == Usage() else replace(answer, usage=answer.usage.plus(wasted))

    def _admit(self, llm: RouterLLM) -> None:
        """Raises RouterLLMFailed where the server or the model is not to be asked now."""
        self._servers.add(llm.base_url)
        health = self._health
        rest = health.resting(llm.base_url) or health.resting(_model_at(llm))
        if rest is not None:
            kind = "rate_limited" if rest.rate_limited else "circuit_open"
            raise RouterLLMFailed(kind, f"{llm.base_url}: {rest.reason}")
        for name in (llm.base_url, _model_at(llm)):
            if not health.admit(name):
                raise RouterLLMFailed("circuit_open", f"{name}: a probe is out")

    async def _ask(self, asked: _Ask[Answer], timeout_s: float) -> Answer:
        llm, key = asked.llm, self._key(asked.llm)
        headers = {**self._trace_headers(), **self._account(llm)}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        ends_at = asyncio.get_running_loop().time() + timeout_s
        question = _Question(asked, headers, key, ends_at)
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._negotiate(question)
        except TimeoutError:
            if timeout_s >= 0.99 * min(llm.timeout_ms / 1000.0, _OWN_LIMIT_S):
                self._health.record(llm.base_url, ok=False)  # else it was the caller's haste
            raise timed_out(timeout_s, asked.chars) from None

    async def close(self) -> None:
        """Close every connection; the object is not used after."""
        await self._http.close()

    async def _negotiate(self, question: _Question[Answer]) -> Answer:
        """Ask, in a plainer dialect after each refusal of how we asked, and once more if it broke.

        Each retreat gives up one form of one feature, so this ends. What a refusal named is
        remembered at once; what was only suspected, when the suspicion helped.
        """
        llm, kind = question.ask.llm, question.ask.kind
        dialect = self.dialect(llm, kind)
        retries = min(llm.retries, _MAX_RETRIES)
        while True:
            retry_after, ill = None, False
            try:
                url = joined(llm.base_url, question.ask.path)
                body = await self._http.post(url, question.headers, question.ask.body(dialect))
            except ServerRefused as error:
                refusal = refusal_of(error, question.key)
                chat = question.ask.path == _CHAT
                step = downgrade(dialect, refusal.rejection) if chat else None
                if step is not None:
                    dialect = step.dialect
                    if step.named:
                        self._learn(llm, dialect, kind)
                    if kind == _TOKEN and not dialect.sends("logprobs"):
                        raise RouterLLMFailed("no_logprobs", _NO_LOGPROBS) from None
                    log.info("%s at %s: speaking %s now", llm.model, llm.base_url, dialect)
                    continue
                retry_after, failure = refusal.retry_after_s, refusal.failure
                again = refusal.category in PASSING
                ill = self._refused(llm, refusal.category, retry_after)
            except RouterLLMFailed as error:
                failure = error
                again = ill = failure.kind == "connect"
            else:
                if dialect != self.dialect(llm, kind):
                    self._learn(llm, dialect, kind)
                return self._read(question, body)
            pause_s = max(random.uniform(*_BACKOFF_S), retry_after or 0.0)  # noqa: S311 - jitter
            left_s = question.ends_at - asyncio.get_running_loop().time()
            if not again or retries <= 0 or pause_s >= left_s:
                if ill:
                    self._health.record(llm.base_url, ok=False)
                raise failure
            retries -= 1
            await asyncio.sleep(pause_s)

    def _read(self, question: _Question[Answer], body: bytes) -> Answer:
        """The answer in a 200. The server is well, whether or not the answer is any good, unless
        it is an error in a 200 that says otherwise. Raises RouterLLMFailed."""
        llm, ill = question.ask.llm, False
        try:
            return question.ask.read(body)
        except RouterLLMFailed as failed:
            if failed.category is not None:
                ill = self._refused(llm, ErrorCategory(failed.category), None)
            raise
        finally:
            self._health.record(llm.base_url, ok=not ill)

    def _refused(self, llm: RouterLLM, category: ErrorCategory, retry_after: float | None) -> bool:
        """Whether a refusal counts against the server. A rate limit is a wait, an empty account
        too, "no" shows that it works."""
        asked = None if retry_after is None else min(retry_after, _MAX_WAIT_S)
        if category is ErrorCategory.RATE_LIMITED:
            self._health.answered(llm.base_url)
            self._health.cooldown(_model_at(llm), asked)
        elif category is ErrorCategory.INSUFFICIENT_QUOTA:
            self._health.answered(llm.base_url)
            self._health.cooldown(_model_at(llm), asked or _MAX_WAIT_S, _NO_CREDIT)
        elif category not in PASSING or category is ErrorCategory.CONFLICT:
            self._health.answered(llm.base_url)
        elif asked:
            self._health.cooldown(llm.base_url, asked, "overloaded")
        else:
            return True
        return False

    def _learn(self, llm: RouterLLM, dialect: Dialect, kind: str) -> None:
        self._dialects[llm.base_url, llm.model, kind] = (dialect, self._clock())

    def _key(self, llm: RouterLLM) -> str | None:
        if llm.api_key_env is None:
            return None
        key = self._env.get(llm.api_key_env, "").strip()
        if not key:
            detail = f"environment variable {llm.api_key_env} is not set"
            raise RouterLLMFailed("misconfigured", detail)
        if not key.isascii() or not key.isprintable():
            detail = f"environment variable {llm.api_key_env} holds no usable key"
            raise RouterLLMFailed("misconfigured", detail)
        return key

    def _account(self, llm: RouterLLM) -> dict[str, str]:
        if urlsplit(llm.base_url).hostname != _OPENAI_HOST:
            return {}
        found = {header: self._env.get(name, "") for header, name in _OPENAI_ACCOUNT.items()}
        return {header: value for header, value in found.items() if value}


def _model_at(llm: RouterLLM) -> str:
    return f"{llm.model} at {llm.base_url}"


def _chars(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)
