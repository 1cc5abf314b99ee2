"""What a reply of status 200 comes to: an answer, or a failure of its own kind."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.interfaces import ChatAnswer
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.structured_answer import answer_of, mean_logprob

SCHEMA: dict[str, Any] = {
    "properties": {"reason": {"type": "string"}, "target": {"enum": ["small", "größer"]}}
}


def a_reply(content: Any = '{"target":"small"}', **over: Any) -> dict[str, Any]:
    """A completion; `over` replaces members of its choice."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {
        "model": "served",
        "choices": [{**choice, **over}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 8},
    }


def read(document: Any) -> ChatAnswer:
    """The answer in a reply."""
    return answer_of(orjson.dumps(document), "asked", 400, SCHEMA)


def test_a_good_reply_is_an_answer() -> None:
    """Text, model, usage and finish reason are the server's own."""
    answer = read(a_reply())
    assert (answer.text, answer.model, answer.finish_reason) == (
        '{"target":"small"}',
        "served",
        "stop",
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (40, 8)
    assert answer.logprob is None


def test_uncounted_tokens_are_estimated_and_marked() -> None:
    """Without usage the tokens are estimates and say so; the model asked for stands in."""
    document = a_reply()
    del document["usage"], document["model"]
    answer = read(document)
    assert answer.usage.estimated
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (100, 4)
    assert answer.model == "asked"


def read_or_fail(document: Any) -> ChatAnswer | RouterLLMFailed:
    """The answer, or the failure as a value."""
    try:
        return read(document)
    except RouterLLMFailed as failure:
        return failure


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (a_reply(finish_reason="length"), "truncated"),
        (a_reply(finish_reason="content_filter"), "refusal"),
        (a_reply(message={"content": None, "refusal": "I can't."}), "refusal"),
        (a_reply(""), "malformed"),
        (a_reply(None), "malformed"),
        (a_reply("x" * 30_000), "malformed"),
        ({"choices": []}, "malformed"),
        ({"choices": "none"}, "malformed"),
        ({"error": {"message": "no memory", "code": 500}}, "http"),
        ({"error": "no memory"}, "http"),
        ([], "malformed"),
    ],
)
def test_each_failure_has_its_kind(document: Any, kind: str) -> None:
    """Truncation, refusal, an error in a 200 and nonsense are told apart."""
    with pytest.raises(RouterLLMFailed) as caught:
        read(document)
    assert caught.value.kind == kind


def test_a_useless_answer_still_says_what_it_cost() -> None:
    """The tokens of a truncated answer are on the failure."""
    with pytest.raises(RouterLLMFailed) as caught:
        read(a_reply(finish_reason="length"))
    assert (caught.value.input_tokens, caught.value.output_tokens) == (40, 8)


def test_only_the_choice_counts_for_its_logprob() -> None:
    """Tokens of the target's value are averaged, those of braces and reason are not."""
    text = '{"reason":"ü","target":"größer"}'
    tokens = [('{"reason":"ü"', -9.0), (',"target":"', -8.0), ("grö", -0.2), ("ßer", -0.4)]
    tokens.append(('"}', -7.0))
    content = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    document = a_reply(text, logprobs={"content": content})
    assert mean_logprob(document, text, SCHEMA) == pytest.approx(-0.3)


def test_tokens_that_split_a_character_are_joined_by_their_bytes() -> None:
    """A character cut into byte tokens does not shift the choice."""
    text = '{"target":"größer"}'
    raw = text.encode()
    cut = raw.index(b"\xc3") + 1
    parts = [(raw[:11], -5.0), (raw[11:cut], -0.1), (raw[cut:-2], -0.3), (raw[-2:], -5.0)]
    content = [{"token": "?", "bytes": list(part), "logprob": value} for part, value in parts]
    document = a_reply(text, logprobs={"content": content})
    assert mean_logprob(document, text, SCHEMA) == pytest.approx(-0.2)


def test_tokens_that_do_not_add_up_are_averaged_whole() -> None:
    """Where the tokens are not the text (special tokens, spaces), all of them count."""
    content = [{"token": "?", "logprob": -1.0}, {"token": "!", "logprob": -3.0}]
    text = '{"target":"small"}'
    assert mean_logprob(a_reply(text, logprobs={"content": content}), text, SCHEMA) == -2.0


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, {"content": None}, {"content": [{"token": "x"}]}, {"content": [1]}, [], "no"],
)
def test_broken_logprobs_are_none(logprobs: Any) -> None:
    """A shape nobody understands is no measure of confidence."""
    assert mean_logprob(a_reply(logprobs=logprobs), "{}", SCHEMA) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "logprobs", "logprob", "usage", "error"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_body_is_an_answer_or_a_failure(document: Any) -> None:
    """No reply, however odd, raises anything but RouterLLMFailed."""
    said = read_or_fail(document)
    if isinstance(said, RouterLLMFailed):
        assert said.kind in {"malformed", "http", "refusal", "truncated"}
    else:
        assert said.text.strip()
        assert said.logprob is None or -math.inf < said.logprob <= 0.0
