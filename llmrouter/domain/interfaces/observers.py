"""Who watches requests from outside: spans, metrics, the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import (
    Attempt,
    Completion,
    Usage,
)
from llmrouter.domain.decision import Decision, Feedback, RoutingContext
from llmrouter.domain.target import Target

Attribute = str | bool | int | float | Sequence[str]


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
