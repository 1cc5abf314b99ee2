"""Builders of questions, shared by the routing tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrouter.domain.chat import ANONYMOUS, Caller, RouterOptions
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.features import Features, Traits
from tests.fakes import a_catalog, a_request


def some_features(text: str = "hi", traits: Traits | None = None, **over: Any) -> Features:
    """Features of a one-turn request of 100 tokens in and 50 out."""
    values: dict[str, Any] = {
        "fingerprint": "f" * 32,
        "conversation": "c" * 32,
        "text": text,
        "system": "",
        "input_tokens": 100,
        "output_tokens": 50,
        "needs": frozenset(),
        "turns": 1,
        "tools": False,
        "continuation": False,
    }
    if traits is not None:
        values["read_traits"] = lambda: traits
    return Features(**{**values, **over})


def a_question(
    options: Mapping[str, Any] | None = None,
    features: Features | None = None,
    caller: Caller = ANONYMOUS,
    **over: Any,
) -> RoutingContext:
    """A question to small and large; `options` become the request's."""
    values: dict[str, Any] = {
        "request": a_request(options=RouterOptions(**(options or {}))),
        "features": features or some_features(),
        "catalog": a_catalog(),
        "eligible": ("small", "large"),
        "caller": caller,
    }
    return RoutingContext(**{**values, **over})


class Says:
    """A stage that says the scripted things in turn and then the last one; errors are raised."""

    def __init__(self, *script: StageResult | Exception | None, name: str = "says") -> None:
        self.name = name
        self.script = list(script)
        self.asked: list[RoutingContext] = []

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The next scripted answer."""
        self.asked.append(context)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        return said


def says(target: str = "small", source: Source = Source.LLM, **over: Any) -> StageResult:
    """A verdict."""
    return StageResult(target, source, over.pop("reason", "a test"), **over)
