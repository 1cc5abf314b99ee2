"""What is negotiated with servers that differ, told by their own words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.upstream.dialect import (
    FORMATS,
    Dialect,
    DialectRejection,
    downgrade,
    first_dialect,
    request_body,
    strict_schema,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "target": {"type": "string", "enum": ["small", "large"]},
        "reason": {"type": "string", "maxLength": 160},
        "pattern": {"type": "number", "minimum": 0},
    },
    "required": ["target", "reason", "pattern"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "system", "content": "Choose."}, {"role": "user", "content": "Hi"}]

LLAMA_SCHEMA = (
    "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), "
    "'msg': \"Input should be 'text' or 'json_object'\", 'input': 'json_schema'}"
)
OPENAI_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
OPENAI_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0 with this model. "
    "Only the default (1) value is supported."
)


def body_in(dialect: Dialect) -> dict[str, Any]:
    """The request body in a dialect."""
    return request_body(dialect, "m", MESSAGES, SCHEMA)


def test_the_first_body_asks_for_everything_at_its_best() -> None:
    """A fresh server is asked for a strict schema, temperature 0, few tokens and logprobs."""
    body = body_in(first_dialect("gpt-4.1-nano"))
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["temperature"], body["logprobs"], body["max_tokens"]) == (0, True, 256)
    assert body["messages"] == MESSAGES
    assert "reasoning_effort" not in body


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("gpt-5-nano", True),
        ("openai/gpt-5-mini", True),
        ("o4-mini", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4o-mini", False),
        ("llama-3.2-3b", False),
        ("olmo-2", False),
    ],
)
def test_a_reasoning_model_is_known_by_its_name(model: str, reasons: bool) -> None:
    """Models that reason start without what they refuse, with room to think and little effort."""
    body = body_in(first_dialect(model))
    assert ("temperature" not in body) is reasons
    assert ("logprobs" not in body) is reasons
    assert body.get("reasoning_effort") == ("minimal" if reasons else None)
    assert ("max_completion_tokens" in body) is reasons


@pytest.mark.parametrize(
    ("refusal", "lost"),
    [
        (DialectRejection(500, LLAMA_SCHEMA), "json_schema"),
        (DialectRejection(400, "Invalid parameter", "response_format.json_schema"), "json_schema"),
        (DialectRejection(422, '{"detail":[{"loc":["body","response_format"]}]}'), "json_schema"),
        (DialectRejection(400, OPENAI_LIMIT, "max_tokens"), "max_tokens"),
        (DialectRejection(400, OPENAI_TEMPERATURE, "temperature"), "temperature"),
        (
            DialectRejection(403, "You are not allowed to request logprobs from this model"),
            "logprobs",
        ),
        (DialectRejection(500, "logprobs is not supported for models created with..."), "logprobs"),
        (DialectRejection(400, "System role not supported"), "system"),
        (DialectRejection(501, "json_schema is not implemented"), "json_schema"),
    ],
)
def test_a_named_feature_is_dropped(refusal: DialectRejection, lost: str) -> None:
    """Each server's own words cost exactly the form that they name."""
    step = downgrade(Dialect(), refusal)
    assert step is not None
    assert step.named
    assert step.dialect.rejected == {lost}


@pytest.mark.parametrize(
    "refusal",
    [
        DialectRejection(500, "Internal error"),
        DialectRejection(500, "the worker crashed while compiling json_schema"),
        DialectRejection(503, "response_format is not supported while loading"),
        DialectRejection(429, "too many requests with response_format"),
        DialectRejection(401, "Incorrect API key; json_schema"),
        DialectRejection(403, "forbidden"),
        DialectRejection(404, "The model `x` does not exist", "model"),
        DialectRejection(
            400, "This model's maximum context length is 10 tokens, max_tokens too large"
        ),
        DialectRejection(408, "response_format is not supported"),
    ],
)
def test_other_trouble_drops_nothing(refusal: DialectRejection) -> None:
    """A crash, overload, credentials, an unknown model and a long prompt are not about how."""
    assert downgrade(Dialect(), refusal) is None


def test_a_bare_400_is_only_suspected() -> None:
    """A refusal without a name makes the structured output suspect first, and says so."""
    step = downgrade(Dialect(), DialectRejection(400, "Bad Request"))
    assert step is not None
    assert not step.named
    assert step.dialect.format == "json_object+schema"


def test_a_refused_token_limit_shows_a_model_that_reasons() -> None:
    """One refusal of max_tokens spares those of temperature and logprobs."""
    body = body_in(Dialect().without("max_tokens"))
    assert body["max_completion_tokens"] == 1500
    assert body["reasoning_effort"] == "minimal"
    assert "temperature" not in body
    assert "logprobs" not in body


def test_efforts_fall_back_one_by_one() -> None:
    """A refused reasoning effort is followed by the next one, at last by none."""
    dialect = first_dialect("gpt-5.1")
    seen = []
    while dialect.effort:
        seen.append(dialect.effort)
        step = downgrade(dialect, DialectRejection(400, "Unsupported value", "reasoning_effort"))
        assert step is not None
        dialect = step.dialect
    assert seen == ["minimal", "none", "low"]
    assert "reasoning_effort" not in body_in(dialect)


def test_without_a_strict_schema_the_prompt_carries_it() -> None:
    """Every weaker form of structured output shows the schema to the model."""
    for rejected in range(1, len(FORMATS)):
        body = body_in(Dialect(rejected=frozenset(FORMATS[:rejected])))
        assert orjson.dumps(SCHEMA).decode() in body["messages"][0]["content"]
        assert body["messages"][1] == MESSAGES[1]


def test_json_object_with_schema_keeps_the_bounds() -> None:
    """llama.cpp gets the schema as it is, with its bounds, under json_object."""
    body = body_in(Dialect(rejected=frozenset({"json_schema"})))
    assert body["response_format"] == {"type": "json_object", "schema": SCHEMA}


def test_strict_mode_gets_no_bounds_and_keeps_properties_of_the_same_name() -> None:
    """Bounds are stripped from a strict schema; a property called like one stays."""
    strict = strict_schema(SCHEMA)
    assert "maxLength" not in strict["properties"]["reason"]
    assert strict["properties"]["pattern"] == {"type": "number"}
    assert strict["additionalProperties"] is False
    assert SCHEMA["properties"]["reason"]["maxLength"] == 160


def test_without_a_system_turn_its_text_leads_the_user_turn() -> None:
    """A template that knows no system turn gets one user turn with both texts."""
    body = body_in(Dialect(rejected=frozenset({"system"})))
    assert body["messages"] == [{"role": "user", "content": "Choose.\n\nHi"}]


@given(st.lists(st.sampled_from([*FORMATS[:3], "logprobs", "max_tokens", "system", ""])))
def test_negotiation_always_ends(words: list[str]) -> None:
    """Whatever a server refuses, each step gives up a form and none comes back."""
    dialect = Dialect()
    steps = 0
    while (step := downgrade(dialect, DialectRejection(400, " ".join(words)))) is not None:
        assert step.dialect.rejected > dialect.rejected
        dialect = step.dialect
        steps += 1
        assert steps <= 12
    assert body_in(dialect)["model"] == "m"
