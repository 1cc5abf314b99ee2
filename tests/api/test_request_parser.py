"""What a body may be, and how each wrong one is named."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, encode_decision, parse
from llmrouter.domain.chat import NO_OPTIONS
from llmrouter.errors import BadRequest
from tests.api.fakes import DECISION

HI = [{"role": "user", "content": "hi"}]


def refused(document: Any, endpoint: Endpoint = Endpoint.COMPLETE) -> BadRequest:
    """The error a body is refused with."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    with pytest.raises(BadRequest) as caught:
        parse(body, endpoint)
    return caught.value


def test_a_body_is_kept_byte_for_byte_beside_its_parse() -> None:
    """The relay needs what the caller sent, unknown keys included."""
    body = b'{ "messages":[{"role":"user","content":"hi"}], "x_vendor": {"a": [1, 2]} }'
    request = parse(body, Endpoint.ROUTE)
    assert request.body is body
    assert request.document["x_vendor"] == {"a": [1, 2]}
    assert request.options is NO_OPTIONS
    assert (request.model, request.stream, request.bare_prompt) == (None, False, False)


def test_parts_are_joined_and_the_others_counted() -> None:
    """Text parts become the turn's text; images and files are counted by kind."""
    content = [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "text", "text": "this?"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    request = parse(
        orjson.dumps({"messages": [{"role": "user", "content": content}]}), Endpoint.ROUTE
    )
    assert request.messages[0].text == "what is\nthis?"
    assert request.messages[0].parts == {"image_url": 2}


def test_an_assistant_that_calls_tools_may_say_nothing() -> None:
    """Null content is what OpenAI clients send back after a tool call."""
    turns = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    request = parse(orjson.dumps({"messages": turns}), Endpoint.ROUTE)
    assert [message.calls_tools for message in request.messages] == [False, True, False]


def test_a_bare_prompt_is_one_user_turn_except_for_openai_clients() -> None:
    """The drop-in call speaks OpenAI's language alone."""
    request = parse(b'{"prompt":"hi"}', Endpoint.ROUTE)
    assert (request.messages[0].role, request.messages[0].text) == ("user", "hi")
    assert request.bare_prompt
    error = refused({"model": "auto", "prompt": "hi"}, Endpoint.OPENAI)
    assert error.param == "messages"


def test_router_options_are_read() -> None:
    """Every option arrives under its own name and type."""
    options = {
        "tier": "pro",
        "latency_budget_ms": 1500,
        "max_cost_usd": 0,
        "quality": 1,
        "allow": ["small"],
        "deny": ["large"],
        "task": "code",
        "session": "s",
        "strategy": "cascade",
        "cache": "off",
        "decision_id": "d",
    }
    read = parse(orjson.dumps({"messages": HI, "router": options}), Endpoint.ROUTE).options
    assert read.latency_budget_ms == 1500.0
    assert read.max_cost_usd == 0.0
    assert read.allow == ("small",)
    assert read.deny == ("large",)
    assert (read.strategy, read.cache, read.decision_id) == ("cascade", "off", "d")


def test_options_that_are_null_count_as_unsaid() -> None:
    """Clients that serialise their whole options object send nulls."""
    options = {"tier": None, "deny": None, "strategy": None}
    body = orjson.dumps({"messages": HI, "router": options})
    assert parse(body, Endpoint.ROUTE).options is NO_OPTIONS


def test_duplicate_keys_are_tolerated_and_the_last_one_counts() -> None:
    """JSON allows them; refusing would break callers that work elsewhere."""
    body = b'{"stream":true,"stream":false,"messages":[{"role":"user","content":"hi"}]}'
    assert parse(body, Endpoint.ROUTE).stream is False


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"   ", "invalid_json"),
        (b'{"messages": [', "invalid_json"),
        (b'{"messages": "\xff\xfe"}', "invalid_json"),
        (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "invalid_json"),
        (b'{"n": NaN}', "invalid_json"),
        (b'{"n": Infinity}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b"[]", "invalid_type"),
        (b'"text"', "invalid_type"),
        (b"null", "invalid_type"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, code: str) -> None:
    """Broken JSON, invalid UTF-8, NaN and endless nesting are the caller's to mend."""
    assert refused(body).code == code


@pytest.mark.parametrize(
    ("document", "param", "words"),
    [
        ({}, "messages", "missing"),
        ({"messages": None}, "messages", "missing"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": "hi"}, "messages", "a list, not a string"),
        ({"messages": {"role": "user"}}, "messages", "a list, not an object"),
        ({"messages": ["hi"]}, "messages[0]", "an object, not a string"),
        ({"messages": [*HI, {"content": "x"}]}, "messages[1].role", "missing"),
        ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role", "a string"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0].role", 'mean "user"'),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "a number"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty"),
        (
            {"messages": [{"role": "user", "content": ["x"]}]},
            "messages[0].content[0]",
            "an object",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            "messages[0].content[0].type",
            "missing",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
            "a string",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": "x"}]},
            "messages[0].tool_calls",
            "a list",
        ),
        (
            {"messages": [{"role": "assistant", "content": None}]},
            "messages[0].content",
            "missing",
        ),
        ({"messages": HI, "stream": 1}, "stream", "a boolean, not a number"),
        ({"messages": HI, "stream": "true"}, "stream", "a boolean, not a string"),
        ({"messages": HI, "tools": {}}, "tools", "a list"),
        ({"messages": HI, "tools": [1]}, "tools[0]", "an object"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens", "from 1"),
        ({"messages": HI, "max_tokens": 1.5}, "max_tokens", "whole number"),
        ({"messages": HI, "max_completion_tokens": True}, "max_completion_tokens", "boolean"),
        ({"messages": HI, "response_format": "json"}, "response_format", "an object"),
        ({"messages": HI, "model": 4}, "model", "a string"),
        ({"messages": HI, "model": ""}, "model", "empty"),
        ({"messages": HI, "prompt": "hi"}, "prompt", "one of them"),
        ({"prompt": ["hi"]}, "prompt", "a string, not a list"),
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": None}, "prompt", "a string, not null"),
        ({"messages": HI, "router": []}, "router", "an object, not a list"),
        ({"messages": HI, "router": {"qualty": 1}}, "router.qualty", 'mean "quality"'),
        ({"messages": HI, "router": {"zzz": 1}}, "router.zzz", "latency_budget_ms"),
        ({"messages": HI, "router": {"quality": 1.01}}, "router.quality", "from 0 to 1"),
        ({"messages": HI, "router": {"quality": "1"}}, "router.quality", "a number"),
        ({"messages": HI, "router": {"quality": True}}, "router.quality", "a boolean"),
        (
            {"messages": HI, "router": {"latency_budget_ms": 0}},
            "router.latency_budget_ms",
            "above 0",
        ),
        ({"messages": HI, "router": {"max_cost_usd": -1}}, "router.max_cost_usd", "from 0"),
        ({"messages": HI, "router": {"allow": "small"}}, "router.allow", "a list"),
        ({"messages": HI, "router": {"allow": []}}, "router.allow", "at least one"),
        ({"messages": HI, "router": {"deny": [1]}}, "router.deny[0]", "a string"),
        ({"messages": HI, "router": {"strategy": "lm"}}, "router.strategy", 'mean "llm"'),
        ({"messages": HI, "router": {"cache": False}}, "router.cache", "a string"),
        ({"messages": HI, "router": {"tier": ""}}, "router.tier", "1 to 256"),
        (
            {"messages": HI, "router": {"latency_budget_ms": 0}},
            "router.latency_budget_ms",
            "86400000",
        ),
        ({"messages": HI, "router": {"session": "s" * 257}}, "router.session", "257"),
    ],
)
def test_each_wrong_body_names_its_parameter(document: Any, param: str, words: str) -> None:
    """A caller should be able to mend the request from the message alone."""
    error = refused(document)
    assert error.param == param
    assert words in error.message
    assert error.status == 400
    assert error.code is not None


def test_the_drop_in_needs_a_model() -> None:
    """OpenAI's clients always send one; a body without is a mistake."""
    assert refused({"messages": HI}, Endpoint.OPENAI).param == "model"


def test_long_text_of_a_caller_is_not_echoed_whole() -> None:
    """An error message stays readable whatever was sent."""
    error = refused({"messages": HI, "router": {"x" * 100_000: 1}})
    assert len(error.message) < 500
    assert len(error.param or "") < 100


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    ["messages", "router", "stream", "tools", "model", "prompt", "max_tokens", "response_format"]
)
TURNS = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls"]), JSON_VALUES), max_size=3
)


@given(
    st.dictionaries(KNOWN | st.text(), JSON_VALUES | TURNS, max_size=6)
    | st.dictionaries(KNOWN, JSON_VALUES, max_size=3).map(lambda more: {"messages": HI, **more}),
    st.sampled_from(list(Endpoint)),
)
def test_any_json_is_either_a_request_or_a_bad_request(document: Any, endpoint: Endpoint) -> None:
    """No document raises anything but BadRequest, and what passes is well formed."""
    body = orjson.dumps(document)
    with suppress(BadRequest):
        request = parse(body, endpoint)
        assert request.messages
        assert all(isinstance(message.text, str) for message in request.messages)


@given(st.binary(max_size=200))
def test_any_bytes_are_either_a_request_or_a_bad_request(body: bytes) -> None:
    """Nothing that arrives raises anything but BadRequest."""
    with suppress(BadRequest):
        assert parse(body, Endpoint.ROUTE).body is body


def test_a_decision_is_answered_in_its_public_shape() -> None:
    """What is kept for the journal does not leave the service."""
    assert orjson.loads(encode_decision(DECISION)) == DECISION.public()
    assert b"secret-tenant" not in encode_decision(DECISION)


def test_a_body_that_is_not_utf8_says_where() -> None:
    """The parser only says that it is not."""
    with pytest.raises(BadRequest, match=r"byte 12 \(0xff\) is not UTF-8"):
        parse(b'{"prompt": "\xff"}', Endpoint.ROUTE)
