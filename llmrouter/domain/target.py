"""A model that can answer requests, as its catalog file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PASSED: frozenset[str] = frozenset({"embeddings", "completions", "decisions", "systemone"})
"""Capabilities that stand for a wire format of their own, which is relayed and never translated."""
CAPABILITIES: frozenset[str] = PASSED | {
    "chat",
    "tools",
    "json_schema",
    "vision",
    "reasoning",
    "audio",
    "video",
    "files",
    "image_output",
    "logprobs",
}
"""What a target can do. Beside these, `part:<type>` says that it reads parts of a type that this
service does not know."""
PROTOCOLS: tuple[str, ...] = ("openai-chat", "openai-responses", "anthropic-messages")
"""What a target may speak; the first is the default."""
AUTH: tuple[str, ...] = ("bearer", "x-api-key", "azure", "aws", "google", "none")
"""How a target's key is sent."""

CACHE_WRITE = 1.25
"""What writing to a prompt cache costs by default, as a multiple of the input's price."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per one million tokens. `cached_input` is what a provider's prompt cache charges for
    reading, `cache_write` for writing; where that is not given, a quarter more than `input`, as
    Anthropic and Alibaba charge it (others do not report writes)."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None

    def cost(
        self,
        input_tokens: int,
        output_tokens: float,
        cached_tokens: int = 0,
        stored_tokens: int = 0,
    ) -> float:
        """USD for one completion; an expected number of output tokens may be a fraction.

        `cached_tokens` and `stored_tokens` are the parts of `input_tokens` that were read from the
        prompt cache and written to it.
        """
        cached_rate = self.input if self.cached_input is None else self.cached_input
        fresh = max(0, input_tokens - cached_tokens - stored_tokens)
        usd = fresh * self.input + cached_tokens * cached_rate + output_tokens * self.output
        if stored_tokens:
            rate = self.input * CACHE_WRITE if self.cache_write is None else self.cache_write
            usd += stored_tokens * rate
        return usd / 1_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Typical time to the first token (ms) and generation speed (tokens a second)."""

    ttft_ms: float = 500.0
    tokens_per_s: float = 60.0

    def total_ms(self, output_tokens: float) -> float:
        """Expected milliseconds until the last of `output_tokens`."""
        return self.ttft_ms + output_tokens * 1000.0 / self.tokens_per_s


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that serves a target's model. `weight` is its share of attempts, over 0."""

    base_url: str
    api_key_env: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """How a target is reached, beyond its address and key.

    `headers` and `query` go with every request. `params` are body members that a request gets
    where it has none of that name, `overrides` members that it gets in any case. `endpoints` are
    all places of a target that has several, its `base_url` included. `api_key_file` is read in
    place of a variable. `ca` is a file of certificates to trust.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    overrides: Mapping[str, object] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    api_key_file: str | None = None
    proxy: str | None = None
    ca: str | None = None


DIRECT = Access()


@dataclass(frozen=True, slots=True)
class Target:
    """One enabled or disabled entry of the catalog; `id` is the stem of its file.

    `protocol` is one of PROTOCOLS, `auth` one of AUTH. `aliases` are further names under which
    callers may ask for it. `unusable` says why this process cannot call it, whatever the request.
    `timeout_s` bounds the wait for a reply that is not streamed. A stream may be silent for
    `ttft_timeout_s` before its first token and for `stall_timeout_s` after it.
    """

    id: str
    model: str
    provider: str
    base_url: str
    price: Price
    context_window: int
    description: str
    api_key_env: str | None = None
    max_output: int | None = None
    capabilities: frozenset[str] = frozenset()
    tiers: frozenset[str] | None = None
    latency: Latency = Latency()
    timeout_s: float = 60.0
    enabled: bool = True
    protocol: str = "openai-chat"
    auth: str = "bearer"
    aliases: tuple[str, ...] = ()
    access: Access = DIRECT
    ttft_timeout_s: float | None = None
    stall_timeout_s: float = 30.0
    unusable: str | None = None

    @property
    def chats(self) -> bool:
        """Whether it answers conversations: not where it lists other services alone."""
        return "chat" in self.capabilities or PASSED.isdisjoint(self.capabilities)

    @property
    def first_token_s(self) -> float:
        """Seconds a stream may be silent before its first token: 30, or `timeout_s` if shorter."""
        return min(30.0, self.timeout_s) if self.ttft_timeout_s is None else self.ttft_timeout_s
