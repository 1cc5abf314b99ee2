"""Builders of domain values and scripted stand-ins for the ports, shared by all tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmrouter.domain.catalog import Catalog, Prompts, RouterLLM
from llmrouter.domain.chat import ChatRequest, Message, RouterOptions
from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.domain.decision import Decision, Estimate, Feedback, Source
from llmrouter.domain.interfaces import Attribute, ChatAnswer
from llmrouter.domain.target import Latency, Price, Target
from llmrouter.errors import EncoderFailed, RouterLLMFailed


def a_target(id: str = "small", **over: Any) -> Target:  # noqa: A002 - the field's own name
    """A target that costs $1 in and $2 out a million tokens; `over` replaces fields."""
    values: dict[str, Any] = {
        "id": id,
        "model": f"{id}-model",
        "provider": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "price": Price(1.0, 2.0),
        "context_window": 8000,
        "description": f"The {id} one.",
        "latency": Latency(ttft_ms=1.0, tokens_per_s=10_000.0),
        "timeout_s": 5.0,
    }
    return Target(**{**values, **over})


def a_catalog(*targets: Target, **over: Any) -> Catalog:
    """A catalog of the given targets (small and large by default); the first is the default."""
    chosen = targets or (a_target("small"), a_target("large", price=Price(10.0, 20.0)))
    values: dict[str, Any] = {
        "targets": {target.id: target for target in chosen},
        "default": chosen[0].id,
        "prompts": Prompts(router="Choose."),
        "version": "v1",
    }
    return Catalog(**{**values, **over})


def a_request(text: str = "What is 2+2?", **over: Any) -> ChatRequest:
    """A request with one user turn; `options` and `document` members may be given."""
    options = over.pop("options", RouterOptions())
    document: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "user", "content": text}],
        **over,
    }
    return ChatRequest(
        body=orjson.dumps(document),
        document=document,
        messages=(Message("user", text),),
        options=options,
        model=document["model"],
        stream=bool(document.get("stream")),
    )


def a_decision(target: str = "small", *fallbacks: str, **over: Any) -> Decision:
    """A decision for `target` with these fallbacks."""
    values: dict[str, Any] = {
        "decision_id": "d-1",
        "target": target,
        "model": f"{target}-model",
        "provider": "openai",
        "source": Source.RULES,
        "confidence": 0.9,
        "task": "general",
        "reason": "a test",
        "alternatives": (),
        "excluded": (),
        "fallbacks": fallbacks,
        "estimate": Estimate(20, 50, 0.0001, 10.0),
        "catalog_version": "v1",
        "fingerprint": "f" * 32,
        "timing_ms": 0.1,
    }
    return Decision(**{**values, **over})


@dataclass
class RecordedSpan:
    """A span that keeps what it was told."""

    name: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Attribute]]] = field(default_factory=list)
    error: str | None = None
    ended: bool = False

    def set(self, name: str, value: Attribute) -> None:
        """Keep an attribute."""
        self.attributes[name] = value

    def event(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Keep an event."""
        self.events.append((name, dict(attributes)))

    def fail(self, error_type: str, message: str = "") -> None:
        """Keep the error's type."""
        self.error = error_type

    def headers(self) -> dict[str, str]:
        """A trace context that can be recognised."""
        return {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}


class RecordingObserver:
    """An observer that keeps everything it saw."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self.attempts: list[Attempt] = []
        self.completions: list[tuple[Completion, float]] = []
        self.decisions: list[Decision] = []
        self.router_calls: list[tuple[str, float]] = []
        self.ratings: list[Feedback] = []
        self.lookups: list[str] = []
        self.counts: list[tuple[str, float, dict[str, str]]] = []

    @contextlib.contextmanager
    def _span(self, name: str, attributes: Mapping[str, Attribute]) -> Iterator[RecordedSpan]:
        span = RecordedSpan(name, dict(attributes))
        self.spans.append(span)
        try:
            yield span
        finally:
            span.ended = True

    def route(self) -> contextlib.AbstractContextManager[RecordedSpan]:
        """The route step."""
        return self._span("route", {})

    def chat(
        self, model: str, provider: str, base_url: str, attributes: Mapping[str, Attribute]
    ) -> contextlib.AbstractContextManager[RecordedSpan]:
        """One chat step."""
        return self._span(f"chat {model}", attributes)

    def attempt(
        self, target: Target, attributes: Mapping[str, Attribute]
    ) -> contextlib.AbstractContextManager[RecordedSpan]:
        """One attempt's step."""
        return self._span(f"chat {target.model}", attributes)

    def decided(self, decision: Decision) -> None:
        """Keep a decision."""
        self.decisions.append(decision)

    def router_called(self, llm: RouterLLM, usage: Usage, cost_usd: float, outcome: str) -> None:
        """Keep a router call."""
        self.router_calls.append((outcome, cost_usd))

    def attempted(self, target: Target, attempt: Attempt) -> None:
        """Keep an attempt."""
        self.attempts.append(attempt)

    def completed(self, decision: Decision, completion: Completion, best_cost_usd: float) -> None:
        """Keep a completion."""
        self.completions.append((completion, best_cost_usd))

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Keep feedback."""
        self.ratings.append(feedback)

    def cache(self, outcome: str) -> None:
        """Keep a lookup's outcome."""
        self.lookups.append(outcome)

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Keep a count."""
        self.counts.append((name, value, dict(attributes)))


class ScriptedChatModel:
    """A small LLM that says the scripted things in turn; a RouterLLMFailed in it is raised."""

    def __init__(self, *script: str | RouterLLMFailed) -> None:
        self.script = list(script)
        self.asked: list[Sequence[Mapping[str, str]]] = []

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """The next scripted answer."""
        self.asked.append(messages)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, RouterLLMFailed):
            raise said
        return ChatAnswer(said, Usage(100, 10), llm.model, "stop")


class ScriptedEmbeddings:
    """Embeddings that follow from the text alone, or are the scripted `rows`."""

    def __init__(self, width: int = 8, wait_s: float = 0.0, rows: Any = ()) -> None:
        self.width = width
        self.wait_s = wait_s
        self.rows = rows
        self.asked: list[list[str]] = []
        self.failure: EncoderFailed | None = None
        self.closed = False

    def vector(self, text: str) -> list[float]:
        """The vector of a text: what its words' letters add up to, by place."""
        out = [0.0] * self.width
        for word in text.lower().split():
            out[sum(word.encode()) % self.width] += 1.0
        return out

    async def embed(self, texts: Sequence[str]) -> Any:
        """One vector a text, after a while; the failure where there is one."""
        self.asked.append(list(texts))
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        if self.failure is not None:
            raise self.failure
        return [self.vector(text) for text in texts] if self.rows == () else self.rows

    async def close(self) -> None:
        """Keep that it was closed."""
        self.closed = True
