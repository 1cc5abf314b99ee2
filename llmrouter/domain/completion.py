"""What comes back from a target, and what an execution adds up to.

A reply is a stream of events, whether or not the caller streams: the first event is the commit
point. Before it another target may be tried; after it the reply can only end or fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from llmrouter.domain.quick import quick
from llmrouter.domain.target import Target

UNSEEN_TOKENS = 8192
"""What a call may count beside the text that is seen: templates, schemas, and thought."""


@quick
@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the upstream reported them; `estimated` when it reported none.

    `cached_tokens` and `cache_write_tokens` are parts of the input, read from and written to the
    provider's prompt cache; `reasoning_tokens` are a part of the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Input, output and cached tokens."""
        return self.input_tokens, self.output_tokens, self.cached_tokens

    def joined(self, later: Usage) -> Usage:
        """This count and a later one of the same reply: the larger of each.

        Servers repeat their counts as a stream goes on, split them over chunks (the input first,
        the output last), and some end with zeros.
        """
        return Usage(
            max(self.input_tokens, later.input_tokens),
            max(self.output_tokens, later.output_tokens),
            max(self.cached_tokens, later.cached_tokens),
            max(self.reasoning_tokens, later.reasoning_tokens),
            self.estimated and later.estimated,
            max(self.cache_write_tokens, later.cache_write_tokens),
        )

    def plus(self, other: Usage) -> Usage:
        """The counts of two calls together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
            self.cache_write_tokens + other.cache_write_tokens,
        )

    def within(self, most_in: int, most_out: int) -> Usage:
        """The counts, cut to what a call can have used; this very object where nothing is cut."""
        if self.input_tokens <= most_in and self.output_tokens <= most_out:
            return self
        given, written = min(self.input_tokens, most_in), min(self.output_tokens, most_out)
        cached = min(self.cached_tokens, given)
        return replace(
            self,
            input_tokens=given,
            output_tokens=written,
            cached_tokens=cached,
            reasoning_tokens=min(self.reasoning_tokens, written),
            cache_write_tokens=min(self.cache_write_tokens, given - cached),
        )

    def of_question(self, sent: int, received: int = 0) -> Usage:
        """The counts of a small LLM's call, cut to what its question and answer can hold.

        Sizes are in characters or bytes. A character is four tokens at most, templates and schemas
        add some, and what was thought may not stand in the reply.
        """
        return self.within(4 * sent + UNSEEN_TOKENS, max(received, UNSEEN_TOKENS))


class EventTranslator(Protocol):
    """Turns the events of one stream into another format's."""

    def feed(self, event: ResponseEvent) -> ResponseEvent:
        """The same facts in other bytes; `usage_only` where there is nothing to send."""
        ...

    def end(self) -> bytes:
        """The bytes that close the stream; b"" when they are out already."""
        ...


class ReplyTranslation(Protocol):
    """Turns a target's reply into the caller's wire format."""

    def whole(self, body: bytes) -> bytes:
        """A whole reply."""
        ...

    def stream(self) -> EventTranslator:
        """A translator for one stream."""
        ...

    @property
    def losses(self) -> tuple[str, ...]:
        """What a whole reply held that the caller's format cannot carry."""
        ...


@quick
@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One attempt, ready to send.

    `body` is the caller's body with only the routed fields replaced. `headers` carry trace context;
    the upstream adapter adds credentials. `include_usage_added` tells the relay that the caller
    did not ask for the usage chunk, so it must not reach the caller. `timeout_s` bounds the whole
    reply, `first_timeout_s` the wait for its first token; how long a stream may be silent is the
    target's own setting. `detail` asks for text and log-probabilities on every event; without it
    they are read only where that costs nothing.
    `protocol` is the wire format spoken with the target; `translation` turns its reply into the
    caller's format where that is another one. `extra_headers` are the caller's own that belong to
    the format. `choices` is how many answers are asked for.
    """

    target: Target
    body: bytes
    stream: bool
    timeout_s: float
    headers: Mapping[str, str]
    include_usage_added: bool = False
    first_timeout_s: float | None = None
    detail: bool = False
    protocol: str = "openai-chat"
    translation: ReplyTranslation | None = None
    extra_headers: Mapping[str, str] | None = None
    choices: int = 1


@dataclass(frozen=True, slots=True)
class ChoicePart:
    """What one event holds of one of several choices (`n` over 1); fields as in ResponseEvent."""

    index: int
    text: str = ""
    finish_reason: str | None = None
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    refusal: bool = False
    calls_tools: bool = False


@quick
@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """One piece of a reply, as bytes to relay.

    Not streaming: the whole body. Streaming: one complete SSE event with its framing as received.
    What the adapter learned from the piece comes along: `text` is the answer's text in this piece,
    `logprobs` the tokens' log-probabilities, `margins` how far (0..1) each token's probability was
    ahead of the next likeliest, where the upstream tells; `finish_reason`, `model`, `response_id`
    and `usage` are set on the piece that carries them. `written` counts the bytes of all text in
    this piece, of every choice, thought and tool calls included, where the piece was read. `done`
    marks the stream's `[DONE]`; `calls_tools` a piece of a tool call; `parts` are the choices one
    by one, where there are others than the first; `usage_only` the chunk that exists because the
    service asked for usage on its own account.
    """

    data: bytes
    content_type: str = "application/json"
    text: str = ""
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    usage: Usage | None = None
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    refusal: bool = False
    done: bool = False
    usage_only: bool = False
    written: int = 0
    calls_tools: bool = False
    parts: tuple[ChoicePart, ...] = ()


@quick
@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, finished. `outcome` is `ok`, `failed`, `rejected` (by a cascade) or `cancelled`.

    `confidence` is the answer's own measure (0..1) where a cascade took one. `signals` name what a
    cascade judged it by: what found fault with a rejected answer, what could have with an accepted
    one (`check`, `judge`, `schema`, …).
    """

    target: str
    outcome: str
    reason: str
    latency_ms: float
    cost_usd: float
    usage: Usage = Usage()
    status: int | None = None
    ttft_ms: float | None = None
    cost_estimated: bool = False
    confidence: float | None = None
    signals: tuple[str, ...] = ()

    def public(self) -> dict[str, object]:
        """The shape callers see; confidence where one was taken, and an estimate is marked."""
        shown: dict[str, object] = {
            "target": self.target,
            "outcome": self.outcome,
            "reason": self.reason,
            "latency_ms": self.latency_ms,
            "cost_usd": self.cost_usd,
        }
        if self.confidence is not None:
            shown["confidence"] = round(self.confidence, 4)
        if self.cost_estimated:
            shown["cost_estimated"] = True
        return shown


@quick
@dataclass(frozen=True, slots=True)
class WorstCase:
    """What a cascade could take at most, known before it started: every step tried, verified and
    billed in full. `left_out` are the targets that did not fit, each with its reason."""

    cost_usd: float
    latency_ms: float
    left_out: tuple[tuple[str, str], ...] = ()

    def public(self) -> dict[str, object]:
        """The shape callers see."""
        left_out = [{"target": target, "reason": reason} for target, reason in self.left_out]
        return {"cost_usd": self.cost_usd, "latency_ms": self.latency_ms, "left_out": left_out}


@quick
@dataclass(frozen=True, slots=True)
class Completion:
    """What an execution came to, once its last event is out. Costs include what was rejected.

    `bounds` of a cascade are what it could have come to.
    """

    target: str
    attempts: tuple[Attempt, ...]
    cost_usd: float
    latency_ms: float
    finish_reason: str | None = None
    phases_ms: Mapping[str, float] | None = None
    bounds: WorstCase | None = None
