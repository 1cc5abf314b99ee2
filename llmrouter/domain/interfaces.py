"""The seams between rooms: each Protocol here has at least two implementations, a fake included.

Rooms import these and never each other; `bootstrap` says which class stands behind which port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from llmrouter.domain.catalog import Catalog, RouterLLM
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import (
    Attempt,
    Completion,
    ReplyTranslation,
    ResponseEvent,
    UpstreamRequest,
    Usage,
)
from llmrouter.domain.decision import Alternative, Decision, Feedback, RoutingContext, StageResult
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.target import Target

Attribute = str | bool | int | float | Sequence[str]


class Stage(Protocol):
    """One way of choosing. Adding one is one file."""

    name: str

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """A verdict, or None to abstain. Raising counts as abstaining and is noted."""
        ...


class CatalogSource(Protocol):
    """Where the current catalog is. Reading `current` is free; it swaps whole."""

    @property
    def current(self) -> Catalog:
        """The catalog that serves now."""
        ...


class Store(Protocol):
    """Small values under string keys, with a time to live. Values are opaque bytes.

    Every method raises StoreFailed when the backend cannot do it. Keys are namespaced by their
    user (`decision:…`, `cache:…`, `session:…`).
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent or expired."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value; `ttl_s` None keeps it until it is evicted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a value; absent is fine."""
        ...

    async def append(self, log: str, entries: Sequence[bytes], keep: int) -> None:
        """Append entries to a bounded log; the oldest beyond `keep` are dropped."""
        ...

    async def tail(self, log: str, last: int) -> list[bytes]:
        """The newest `last` entries of a log, oldest first."""
        ...

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter atomically and return it; a new counter lives `ttl_s`."""
        ...

    async def set_field(self, table: str, field: str, value: bytes | None) -> None:
        """Write one field of a table; None removes it. It is kept until it is removed."""
        ...

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table; empty for one that was never written."""
        ...

    async def close(self) -> None:
        """Release what is held; the store is not used after."""
        ...


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a small LLM (router or judge) said.

    `logprob` is the mean token log-probability of the answer where the server gives one.
    """

    text: str
    usage: Usage
    model: str
    finish_reason: str | None = None
    refusal: bool = False
    logprob: float | None = None


class ChatModel(Protocol):
    """A small LLM that answers a bounded question in JSON: the router's, and the judge's."""

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """One structured answer. Raises RouterLLMFailed; never retries beyond `llm.retries`."""
        ...


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A body that is not relayed as it came.

    `protocol` is the format that it is in. `translation` turns the reply back where that is not
    the caller's; `warnings` say what was dropped or changed.
    """

    body: bytes
    protocol: str
    warnings: tuple[str, ...] = ()
    translation: ReplyTranslation | None = None


class Rewriter(Protocol):
    """Turns a request into another wire format, or strips its history of reasoning."""

    def __call__(self, request: ChatRequest, target: Target, *, strip: bool) -> Rewritten | None:
        """The request for this target; None where it is relayed as it came.

        `strip` takes reasoning out of the history. Raises UpstreamFailure `untranslatable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The distribution of one next token: `probabilities` (0..1) by token text, as far as told."""

    probabilities: Mapping[str, float]
    usage: Usage
    model: str
    finish_reason: str | None = None


class JudgeModel(ChatModel, Protocol):
    """A router LLM's server, in every way it can be asked. Every method raises RouterLLMFailed."""

    def gives_logprobs(self, llm: RouterLLM) -> bool:
        """False once the server has shown that it tells no log-probabilities."""
        ...

    async def next_token(
        self, llm: RouterLLM, messages: Sequence[Mapping[str, str]], timeout_s: float
    ) -> TokenAnswer:
        """The next token's distribution. Raises `no_logprobs` where the server tells none."""
        ...

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """The JSON object that answers a POST to `path` below the model's base_url."""
        ...


class Upstream(Protocol):
    """Executes one attempt at one target."""

    def send(
        self, call: UpstreamRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[ResponseEvent]]:
        """Open the reply; its first event is the commit point. Raises UpstreamFailure.

        Leaving the context closes the upstream connection at once.
        """
        ...


RATE_LIMITED = "rate limited by its provider"


@dataclass(frozen=True, slots=True)
class Resting:
    """Why a target is left out for now, and in how many seconds it is tried next.

    `rate_limited`: its provider asked to be left alone; else its circuit is open, or it asked for
    another reason.
    """

    reason: str
    retry_after_s: float
    rate_limited: bool = False


class Health(Protocol):
    """Which targets cannot serve now, fed by real outcomes."""

    @property
    def all_healthy(self) -> bool:
        """Whether every target can serve, so that there is no need to ask about one."""
        ...

    def unavailable(self, target: str) -> str | None:
        """Why the target should be left out now, or None."""
        ...

    def resting(self, target: str) -> Resting | None:
        """Why the target is left out now and for how long, or None."""
        ...

    def least_bad(self, targets: Iterable[str]) -> str | None:
        """Which of these to probe where none is available; None where no probe may start."""
        ...

    def record(self, target: str, ok: bool) -> None:
        """An attempt succeeded, or failed in a way that counts against the target."""
        ...

    def cooldown(self, target: str, seconds: float | None = None, reason: str = ...) -> float:
        """The target asked to be left alone, for so long where it said. Returns the wait (s)."""
        ...

    def answered(self, target: str) -> None:
        """The target refused a request that is the caller's to change: so it works."""
        ...

    def release(self, target: str) -> None:
        """An attempt ended without telling anything of the target."""
        ...

    def admit(self, target: str, *, early: bool = False) -> bool:
        """Whether an attempt may start now; where a probe is due, this caller takes it."""
        ...


class Span(Protocol):
    """One step being traced."""

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        ...

    def event(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Something that happened within the step."""
        ...

    def fail(self, error_type: str, message: str = "") -> None:
        """Mark the step as failed; `error_type` becomes `error.type`."""
        ...

    def headers(self) -> dict[str, str]:
        """W3C trace context to send with a request made inside this step."""
        ...


class Observer(Protocol):
    """Watches from outside: spans and metrics. Nothing on the way reads it back."""

    def route(self) -> AbstractContextManager[Span]:
        """The `route` step, child of the current span."""
        ...

    def chat(
        self, model: str, provider: str, base_url: str, attributes: Mapping[str, Attribute]
    ) -> AbstractContextManager[Span]:
        """One `chat {model}` CLIENT step, child of the current span."""
        ...

    def attempt(
        self, target: Target, attributes: Mapping[str, Attribute]
    ) -> AbstractContextManager[Span]:
        """A `chat` step for one attempt at a target.

        It never is the current step, since attempts may run side by side.
        """
        ...

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        ...

    def router_called(self, llm: RouterLLM, usage: Usage, cost_usd: float, outcome: str) -> None:
        """The router LLM was called; `outcome` is `ok` or the failure's kind."""
        ...

    def attempted(self, target: Target, attempt: Attempt) -> None:
        """An attempt finished."""
        ...

    def completed(self, decision: Decision, completion: Completion, best_cost_usd: float) -> None:
        """A completion is out; `best_cost_usd` is what the best target would have cost."""
        ...

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback on a decision arrived."""
        ...

    def cache(self, outcome: str) -> None:
        """A decision-cache lookup: `hit`, `stale`, `miss`, `off`, `error`."""
        ...

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Any other `llmrouter_*` counter."""
        ...


class Journal(Protocol):
    """Keeps what was decided and what came of it. Never waits, never fails a request."""

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Note a decision."""
        ...

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Note an outcome."""
        ...

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Note feedback."""
        ...


@dataclass(frozen=True, slots=True)
class LearnedPrediction:
    """What learned preferences would choose; `trusted` where their record lets it count.

    `facts` is what the confidence was made of, handed back when the choice is compared. `audit` is
    the least share of such answers that should be audited: high while trust is young. `again` is
    the least share of the router LLM's answers that should be asked for a second time.
    """

    target: str
    confidence: float
    task: str
    alternatives: tuple[Alternative, ...]
    trusted: bool
    facts: tuple[float, ...] = ()
    audit: float = 0.0
    again: float = 0.0


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """What is expected of a target for one request: `quality` 0..1, and the `uncertainty` about it.

    `uncertainty` is a standard deviation: high for a target of which little was seen.
    """

    target: str
    quality: float
    uncertainty: float


@dataclass(frozen=True, slots=True)
class TargetEstimate:
    """How likely a target is to answer one request well: `probability` 0..1, all things known.

    `judged` and `learned` are what the router LLM and the learned model said, None where they said
    nothing; `uncertainty` is the standard deviation of what is expected.
    """

    target: str
    probability: float
    uncertainty: float
    judged: float | None = None
    learned: float | None = None


class Estimator(Protocol):
    """Makes one estimate a target of all that is known of a request."""

    @property
    def version(self) -> int:
        """Changes whenever earlier estimates may be out of date."""
        ...

    def estimates(
        self,
        context: RoutingContext,
        judgement: Judgement | None,
        learned: Sequence[QualityEstimate],
    ) -> tuple[TargetEstimate, ...]:
        """One for each eligible target, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a request's judgement: `outcome` is how the lookup went.

    `hit`, `stale` (it serves, and is to be renewed), `miss`, `off` or `error`; `fresh_until` is in
    seconds since the epoch.
    """

    judgement: Judgement | None
    outcome: str
    fresh_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement and what it took."""

    judgement: Judgement
    cost_usd: float


@dataclass(frozen=True, slots=True)
class CallPrice:
    """What one judgement takes lately: USD and seconds; `spent_usd` on all so far."""

    usd: float
    seconds: float
    spent_usd: float


class Judgements(Protocol):
    """Judgements of requests: those that are known, and new ones from the router LLM."""

    async def find(self, context: RoutingContext) -> Found:
        """What is known. Nothing is awaited where it is in memory."""
        ...

    async def ask(self, context: RoutingContext) -> Judged | None:
        """A new judgement of every enabled target, one call for all who wait for it.

        Raises RouterLLMFailed; None where the call was ended.
        """
        ...

    def price(self, context: RoutingContext) -> CallPrice | None:
        """What asking takes lately; None before the first call."""
        ...

    def renew(self, context: RoutingContext) -> None:
        """Ask behind the requests, unless that is under way."""
        ...

    def complete(self, context: RoutingContext, known: Judgement) -> None:
        """Ask behind the requests about the eligible targets that `known` does not cover."""
        ...


class Preferences(Protocol):
    """Learned preferences: they propose at once, and learn from what was decided instead."""

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """A proposal, or None while nothing is learned."""
        ...

    def prospects(self, context: RoutingContext) -> Sequence[QualityEstimate]:
        """What is expected of each eligible target; empty while nothing is learned."""
        ...

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """The router LLM's verdict on a question, and what had been proposed for it.

        Says whether the proposal was worth no less, None where there was none.
        """
        ...

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """The router LLM was asked again in another way; whether it agreed with itself."""
        ...


class ExpectedCosts(Protocol):
    """What one request is expected to take at each target, for the utility to charge."""

    def output_tokens(self, context: RoutingContext) -> tuple[float, ...]:
        """Tokens that each of `context.eligible` is expected to write, in that order."""
        ...

    def expected_usd(self, context: RoutingContext) -> tuple[float, ...]:
        """USD of the request at each of `context.eligible`, in that order."""
        ...


class Embeddings(Protocol):
    """Vectors of texts from somewhere that takes its time: a server, or a model of this machine."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector a text, in order, all of one length. Raises EncoderFailed.

        The caller bounds the wait; a cancelled call leaves nothing behind.
        """
        ...

    async def close(self) -> None:
        """Release what is held; it is not used after."""
        ...
