"""Asks a small LLM one bounded question and gets one structured answer, through `openai`.

One client a server, made on first use; the library itself is imported in a thread (`warm`), because
its import costs more than everything else at start-up. What a server understands is negotiated per
server and model and remembered (see `dialect`). Everything that can go wrong becomes one
RouterLLMFailed with a kind of its own.

It refuses: to retry more than once, and anything but a broken connection, a 429 or a 5xx; to take
longer than it was given, negotiation and retry included; to ask a server whose circuit is open, or
a model while it is rate limited; to follow redirects or proxies from the environment; and to put a
key into an error or a log.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.interfaces import ChatAnswer, TokenAnswer
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.dialect import (
    Dialect,
    DialectRejection,
    downgrade,
    first_dialect,
    request_body,
    token_body,
)
from llmrouter.upstream.error_mapping import wait_s
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.response_parser import error_of, parsed
from llmrouter.upstream.structured_answer import answer_of, next_token_of

if TYPE_CHECKING:
    import openai

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

_MAX_RETRIES = 1
_BACKOFF_S = (0.05, 0.2)  # the one retry waits between these, at random
_RELEARN_S = 3600.0  # a server that was updated gets a chance to show it
_MAX_WAIT_S = 60.0  # the longest Retry-After that is believed
_OWN_LIMIT_S = 10.0  # no caller waits longer, whatever `timeout_ms` says
_MAX_DETAIL = 300
_RETRIED = frozenset({429, 500, 502, 503, 504, 529})
_CHAT = "/chat/completions"
_TOKEN = "token"  # noqa: S105 - a kind of question
_NO_LOGPROBS = "the server tells no log-probabilities"
_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True)
class _Ask(Generic[Answer]):
    """A question: its body in a dialect, how its answer is read, what is negotiated for it."""

    llm: RouterLLM
    path: str
    body: Callable[[Dialect], Mapping[str, Any]]
    read: Callable[[bytes], Answer]
    kind: str = ""  # dialects are kept for each kind of question


@dataclass(frozen=True, slots=True)
class _Question(Generic[Answer]):
    ask: _Ask[Answer]
    headers: Mapping[str, Any]
    key: str | None
    ends_at: float  # in seconds of the event loop's clock


class OpenAIChat:
    """Implements `ChatModel`. `env` is read per call, so a rotated key is seen.

    `trace_headers` gives the W3C trace context of the current step. `health` holds a circuit for
    each server, by its address, and the rate limits of each model on it.
    """

    def __init__(
        self,
        env: Mapping[str, str] = os.environ,
        trace_headers: Callable[[], Mapping[str, str]] = dict,
        *,
        health: TargetHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env = env
        self._trace_headers = trace_headers
        self._health = health or TargetHealth()
        self._clock = clock
        self._clients: dict[tuple[str, str | None], openai.AsyncOpenAI] = {}
        self._making = asyncio.Lock()
        self._servers: set[str] = set()
        self._dialects: dict[tuple[str, str, str], tuple[Dialect, float]] = {}

    async def warm(self) -> None:
        """Import the library off the event loop; worth calling once the service is ready."""
        await asyncio.to_thread(importlib.import_module, "openai")

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

        def body(dialect: Dialect) -> Mapping[str, Any]:
            return request_body(dialect, llm.model, messages, schema)

        def read(reply: bytes) -> ChatAnswer:
            return answer_of(reply, llm.model, _chars(messages), schema)

        with self._admitted(llm):
            return await self._heard(_Ask(llm, _CHAT, body, read), timeout_s)

    def gives_logprobs(self, llm: RouterLLM) -> bool:
        """False once the server has shown that it tells no log-probabilities."""
        return self.dialect(llm, _TOKEN).sends("logprobs")

    async def next_token(
        self, llm: RouterLLM, messages: Sequence[Mapping[str, str]], timeout_s: float
    ) -> TokenAnswer:
        """The next token's distribution. Raises RouterLLMFailed."""
        if not self.gives_logprobs(llm):
            raise RouterLLMFailed("no_logprobs", _NO_LOGPROBS)

        def body(dialect: Dialect) -> Mapping[str, Any]:
            return token_body(dialect, llm.model, messages)

        def read(reply: bytes) -> TokenAnswer:
            return next_token_of(reply, llm.model, _chars(messages))

        try:
            return await self._once(_Ask(llm, _CHAT, body, read, _TOKEN), timeout_s)
        except RouterLLMFailed as failure:
            if failure.kind == "no_logprobs":
                silent = self.dialect(llm, _TOKEN).without("logprobs")
                self._learn(llm, silent, _TOKEN)
            raise

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """The JSON object that answers a POST to `path`. Raises RouterLLMFailed."""
        return await self._once(_Ask(llm, path, lambda _: body, _document, path), timeout_s)

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
        wasted, left_s = (0, 0), timeout_s
        while True:
            started = loop.time()
            try:
                answer = await self._ask(asked, left_s)
            except RouterLLMFailed as failure:
                wasted = wasted[0] + failure.input_tokens, wasted[1] + failure.output_tokens
                failure.input_tokens, failure.output_tokens = wasted
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
            return answer if wasted == (0, 0) else _with_wasted(answer, wasted)

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
        client = await self._client(llm)
        headers = {**self._trace_headers(), "Authorization": _authorization(key)}
        ends_at = asyncio.get_running_loop().time() + timeout_s
        question = _Question(asked, headers, key, ends_at)
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._negotiate(client, question)
        except TimeoutError:
            if timeout_s >= 0.99 * min(llm.timeout_ms / 1000.0, _OWN_LIMIT_S):
                self._health.record(llm.base_url, ok=False)  # else it was the caller's haste
            detail = f"no answer within {timeout_s * 1000:.0f} ms"
            raise RouterLLMFailed("timeout", detail) from None

    async def close(self) -> None:
        """Close every connection; the object is not used after."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def _negotiate(self, client: openai.AsyncOpenAI, question: _Question[Answer]) -> Answer:
        """Ask, in a plainer dialect after each refusal of how we asked, and once more if it broke.

        Each retreat gives up one form of one feature, so this ends. What a refusal named is
        remembered at once; what was only suspected, when the suspicion helped.
        """
        import openai

        llm, kind = question.ask.llm, question.ask.kind
        dialect = self.dialect(llm, kind)
        retries = min(llm.retries, _MAX_RETRIES)
        while True:
            retry_after, ill = None, False
            try:
                body = await _post(client, question, dialect)
            except openai.APIStatusError as error:
                refusal = _refusal(error)
                step = downgrade(dialect, refusal) if question.ask.path == _CHAT else None
                if step is not None:
                    dialect = step.dialect
                    if step.named:
                        self._learn(llm, dialect, kind)
                    if kind == _TOKEN and not dialect.sends("logprobs"):
                        raise RouterLLMFailed("no_logprobs", _NO_LOGPROBS) from None
                    log.info("%s at %s: speaking %s now", llm.model, llm.base_url, dialect)
                    continue
                retry_after = wait_s(refusal.status, error.response.headers, time.time())
                failure = _http_failure(refusal, question.key)
                again = refusal.status in _RETRIED
                ill = self._refused(llm, refusal.status, retry_after)
            except openai.APIConnectionError as error:
                failure = _connection_failure(error)
                again = ill = failure.kind == "connect"
            else:
                if dialect != self.dialect(llm, kind):
                    self._learn(llm, dialect, kind)
                # It answers; whether the answer is any good is another matter.
                self._health.record(llm.base_url, ok=True)
                return question.ask.read(body)
            pause_s = max(random.uniform(*_BACKOFF_S), retry_after or 0.0)  # noqa: S311 - jitter
            left_s = question.ends_at - asyncio.get_running_loop().time()
            if not again or retries <= 0 or pause_s >= left_s:
                if ill:
                    self._health.record(llm.base_url, ok=False)
                raise failure
            retries -= 1
            await asyncio.sleep(pause_s)

    def _refused(self, llm: RouterLLM, status: int, retry_after: float | None) -> bool:
        """Whether a refusal counts against the server. A rate limit is a wait, "no" shows that it
        works."""
        asked = None if retry_after is None else min(retry_after, _MAX_WAIT_S)
        if status == 429:
            self._health.answered(llm.base_url)
            self._health.cooldown(_model_at(llm), asked)
        elif status not in _RETRIED:
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

    async def _client(self, llm: RouterLLM) -> openai.AsyncOpenAI:
        place = (llm.base_url, llm.api_key_env)
        if place not in self._clients:
            async with self._making:  # in a thread: reading the system's certificates takes a while
                if place not in self._clients:
                    await self.warm()
                    made = await asyncio.to_thread(_new_client, llm.base_url)
                    self._clients[place] = made
        return self._clients[place]


def _model_at(llm: RouterLLM) -> str:
    return f"{llm.model} at {llm.base_url}"


def _with_wasted(answer: ChatAnswer, wasted: tuple[int, int]) -> ChatAnswer:
    """The answer with the tokens of those before it that were of no use: they are billed too."""
    usage = answer.usage
    total = replace(
        usage,
        input_tokens=usage.input_tokens + wasted[0],
        output_tokens=usage.output_tokens + wasted[1],
    )
    return replace(answer, usage=total)


def _new_client(base_url: str) -> openai.AsyncOpenAI:
    import openai

    http_client = openai.DefaultAioHttpClient(
        verify=base_url.startswith("https:"),  # certificates are megabytes that http has no use for
        trust_env=False,
        follow_redirects=False,
        timeout=None,
    )
    client = openai.AsyncOpenAI(
        api_key="none",  # each call carries its own Authorization, or none
        base_url=base_url,
        http_client=http_client,
        max_retries=0,
        timeout=None,  # `ask` bounds the whole call
    )
    if _OPENAI_HOST not in base_url:  # the environment's organization is no other server's business
        client.organization = client.project = None
    return client


def _authorization(key: str | None) -> Any:
    import openai

    return openai.Omit() if key is None else f"Bearer {key}"


async def _post(client: openai.AsyncOpenAI, question: _Question[Any], dialect: Dialect) -> bytes:
    """The body of a 200. Raises openai.APIStatusError or openai.APIConnectionError.

    The client's own POST: what `chat.completions` lays around it types an answer that is read here
    as bytes, and is another megabyte of models.
    """
    import httpx2

    reply = await client.post(
        question.ask.path,
        cast_to=httpx2.Response,
        body=question.ask.body(dialect),
        options={"headers": question.headers},
    )
    return reply.content


def _refusal(error: openai.APIStatusError) -> DialectRejection:
    """What the server said, wherever in the body it said it."""
    text = error.response.text[:4000]
    document = parsed(error.response.content) or {}
    inner = document.get("error")
    param = inner.get("param") if isinstance(inner, dict) else document.get("param")
    return DialectRejection(error.status_code, text, param if isinstance(param, str) else "")


def _http_failure(refusal: DialectRejection, key: str | None) -> RouterLLMFailed:
    status = refusal.status
    if status in (401, 403):
        detail = f"the server refused this service's credentials ({status})"
        return RouterLLMFailed("misconfigured", detail)
    if 300 <= status < 400:
        detail = f"the server redirects ({status}); base_url must name the final address"
        return RouterLLMFailed("misconfigured", detail)
    said = error_of(parsed(refusal.message.encode()) or {})
    detail = f"{status} {said[0] if said else ''}".strip()
    if key:
        detail = detail.replace(key, "***")
    kind = "misconfigured" if status == 404 else "http"
    return RouterLLMFailed(kind, " ".join(detail.split())[:_MAX_DETAIL], status=status)


def _document(reply: bytes) -> Mapping[str, Any]:
    """The JSON object in a reply. Raises RouterLLMFailed."""
    document = parsed(reply)
    if document is None:
        raise RouterLLMFailed("malformed", "the server's answer is no JSON object")
    if (error := error_of(document)) is not None:
        raise RouterLLMFailed("http", f"an error in a 200: {error[0]}", status=error[1])
    return document


def _chars(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def _connection_failure(error: openai.APIConnectionError) -> RouterLLMFailed:
    """The client wraps whatever its transport raised; the cause tells what it was."""
    cause = error.__cause__ or error
    name = type(cause).__name__
    detail = f"{name}: {cause}"[:_MAX_DETAIL]
    if name in ("UnsupportedProtocol", "InvalidURL"):
        return RouterLLMFailed("misconfigured", f"base_url is no address: {detail}")
    if name == "DecodingError":
        return RouterLLMFailed("malformed", detail)
    return RouterLLMFailed("connect", detail)
