"""Replies of any shape are read without breaking on one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.completion import Usage
from llmrouter.upstream.response_parser import error_of, parsed, read
from llmrouter.upstream.usage_parser import usage_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "usage", "logprobs", "logprob", "error",
                 "finish_reason", "prompt_tokens", "completion_tokens", "code", "id", "model",
                 "prompt_tokens_details", "cached_tokens", "text", "refusal", "total_tokens"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["choices", "usage", "id", "model", "error"]), JSON))
def test_no_shape_breaks_it(document: dict[str, Any]) -> None:
    """Every value may be of any type."""
    reading = read(document)
    assert isinstance(reading.text, str)
    assert reading.usage is None or reading.usage.cached_tokens <= reading.usage.input_tokens
    error_of(document)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5}, Usage(10, 5)),
        ({"input_tokens": 10, "output_tokens": 5}, Usage(10, 5)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            },
            Usage(10, 5, 4, 3),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 30},
                "total_tokens": 45,
            },
            Usage(10, 35, 0, 30),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 8}, Usage(10, 0, 8)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(3, 0, 3)),
        ({"prompt_tokens": -1, "completion_tokens": "5"}, None),
        ({"prompt_tokens": True}, None),
        ({}, None),
    ],
)
def test_counts_in_every_spelling(usage: dict[str, Any], expected: Usage | None) -> None:
    """Reasoning beside the completion is added, nonsense is no count."""
    assert usage_of(usage) == expected


def test_text_may_come_in_parts() -> None:
    """Content as a list of parts joins its texts."""
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert read({"choices": [{"message": {"content": parts}}]}).text == "ab"


def test_refusals_are_seen_in_both_forms() -> None:
    """The message's own field, and the content filter's finish reason."""
    assert read({"choices": [{"message": {"refusal": "no"}}]}).refusal
    assert read(
        {"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}
    ).refusal


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "m", "code": 429}, ("m", 429)),
        ({"message": "m", "code": "c", "status": 503}, ("m", 503)),
        ({"code": "c"}, ("c", None)),
        ("words", ("words", None)),
        (None, None),
        ({}, None),
    ],
)
def test_errors_inside_a_reply(error: object, expected: tuple[str, int | None] | None) -> None:
    """Message, and the status where the error names one."""
    assert error_of({"error": error}) == expected


def test_only_objects_are_parsed() -> None:
    """Anything else is None."""
    assert parsed(b'{"a": 1}') == {"a": 1}
    for bad in (b"", b"[]", b"1", b"{", b'{"a": "\xff"}'):
        assert parsed(bad) is None


def token(*top: object, logprob: object = -0.1) -> dict[str, Any]:
    """One token's entry with its likeliest alternatives."""
    return {"logprob": logprob, "top_logprobs": [{"logprob": p} for p in top]}


@pytest.mark.parametrize(
    ("tokens", "logprobs", "margins"),
    [
        ([token(math.log(0.7), math.log(0.2), math.log(0.1))], (-0.1,), (0.5,)),
        ([token(math.log(0.2), math.log(0.7))], (-0.1,), (0.5,)),
        ([token(-0.1, -9999), token(-0.1)], (-0.1, -0.1), (math.exp(-0.1),)),
        ([{"logprob": -0.1}, {"logprob": -0.2, "top_logprobs": None}], (-0.1, -0.2), ()),
        ([token("x", True, math.nan), token(-1, -1, logprob=None), 7], (-0.1,), ()),
    ],
)
def test_margins_are_read_where_the_two_likeliest_are_given(
    tokens: list[object], logprobs: tuple[float, ...], margins: tuple[float, ...]
) -> None:
    """In any order of the list; nonsense and single candidates have no margin."""
    reading = read({"choices": [{"message": {"content": "x"}, "logprobs": {"content": tokens}}]})
    assert reading.logprobs == logprobs
    assert reading.margins == pytest.approx(margins)
