"""Answers as types."""

from __future__ import annotations

from llmrouter.client import Completion, Decision, RouterError

DECISION = {
    "decision_id": "dec_1",
    "target": "small",
    "model": "m",
    "provider": "openai",
    "source": "llm",
    "confidence": 0.9,
    "task": "chat",
    "reason": "easy",
    "alternatives": [{"target": "small", "score": 0.4, "probability": 0.8}],
    "excluded": [],
    "fallbacks": ["large"],
    "estimate": {"input_tokens": 3, "cost_usd": 0.1, "latency_ms": 5.0},
    "catalog_version": "v",
    "fingerprint": "f",
    "timing_ms": 0.1,
}


def test_members_of_a_later_version_are_kept() -> None:
    """A client that is older than the service still reads its answers."""
    decision = Decision.model_validate({**DECISION, "novel": 1, "source": "oracle"})
    assert decision.model_extra == {"novel": 1}
    assert decision.source == "oracle"


def test_a_tool_call_has_no_text() -> None:
    """`content` may be null or absent."""
    router = {**DECISION, "attempts": [], "cost_usd": 0.0, "latency_ms": 1.0}
    for choices in ([{"message": {"content": None}}], [{"message": {}}], []):
        assert Completion.model_validate({"choices": choices, "router": router}).text == ""


def test_an_error_carries_what_it_was_given() -> None:
    """Programs decide by status and code, people read the message."""
    error = RouterError("full", 503, "overloaded", retry_after_s=2.0)
    assert (str(error), error.status, error.code, error.retry_after_s) == (
        "full",
        503,
        "overloaded",
        2.0,
    )
