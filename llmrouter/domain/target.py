"""A model that can answer requests, as its catalog file describes it."""

from __future__ import annotations

from dataclasses import dataclass

PASSED: frozenset[str] = frozenset({"embeddings", "completions", "decisions", "systemone"})
"""Capabilities that stand for a wire format of their own, which is relayed and never translated."""
CAPABILITIES: frozenset[str] = PASSED | {
    "chat",
    "tools",
    "json_schema",
    "vision",
    "reasoning",
    "audio",
    "files",
    "logprobs",
}
PROTOCOLS: tuple[str, ...] = ("openai-chat", "openai-responses", "anthropic-messages")
"""What a target may speak; the first is the default."""
AUTH: tuple[str, ...] = ("bearer", "x-api-key", "none")
"""How a target's key is sent."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per one million tokens. `cached_input` is what a provider's prompt cache charges."""

    input: float
    output: float
    cached_input: float | None = None

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """USD for one completion. `cached_tokens` is the part of `input_tokens` read from cache."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        fresh = max(0, input_tokens - cached_tokens)
        return (
            fresh * self.input + cached_tokens * cached_rate + output_tokens * self.output
        ) / 1_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Typical time to the first token (ms) and generation speed (tokens a second)."""

    ttft_ms: float = 500.0
    tokens_per_s: float = 60.0

    def total_ms(self, output_tokens: int) -> float:
        """Expected milliseconds until the last of `output_tokens`."""
        return self.ttft_ms + output_tokens * 1000.0 / self.tokens_per_s


@dataclass(frozen=True, slots=True)
class Target:
    """One enabled or disabled entry of the catalog; `id` is the stem of its file.

    `protocol` is one of PROTOCOLS, `auth` one of AUTH.
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

    @property
    def chats(self) -> bool:
        """Whether it answers conversations: not where it lists other services alone."""
        return "chat" in self.capabilities or PASSED.isdisjoint(self.capabilities)
