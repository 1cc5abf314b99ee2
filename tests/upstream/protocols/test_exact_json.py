"""Numbers that no double holds go through every translation as they came."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.upstream.protocols.exact_json import loads, with_exact_inputs
from llmrouter.upstream.protocols.interface import Losses
from llmrouter.upstream.protocols.registry import Translation
from tests.fakes import a_target
from tests.samples import examples
from tests.upstream.protocols.written import FORMAT, NAMES, PAIRS, context, translated

ARGUMENTS = '{"id":123456789012345678901234567890,"of":[0.12345678901234567890123,7],"s":"9e9"}'
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ARGUMENTS}}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "done"},
]
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?", fullmatch=True)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(NUMBERS, max_size=4))
def test_every_number_keeps_its_value(numbers: list[str]) -> None:
    """What is written again is the same text, or another spelling of the same double."""
    text = f"[{','.join(numbers)}]".encode()
    written = orjson.dumps(loads(text)).decode()[1:-1]
    for before, after in zip(numbers, written.split(",") if numbers else [], strict=True):
        assert before == after or (len(before) <= 25 and float(before) == float(after))


@pytest.mark.parametrize("name", NAMES)
def test_a_history_keeps_them_in_every_format(name: str) -> None:
    """Built for a target and read again, the arguments are the same text."""
    target = a_target(model="m", provider="other", max_output=500)
    body = orjson.dumps(FORMAT[name].build({"messages": TURNS}, target, Losses()))
    assert b"123456789012345678901234567890" in body
    read = FORMAT[name].parse(with_exact_inputs(orjson.loads(body), body)).document
    (call,) = read["messages"][1]["tool_calls"]
    assert call["function"]["arguments"] == ARGUMENTS


@pytest.mark.parametrize(("source", "spoken"), PAIRS)
def test_an_answer_keeps_them_whole_and_streamed(source: str, spoken: str) -> None:
    """Whatever formats the caller and the target speak."""
    given_text = ARGUMENTS.replace('"', '\\"')
    body = {
        "anthropic-messages": '{"type":"message","content":[{"type":"tool_use","id":"c","name":"f",'
        f'"input":{ARGUMENTS}}}],"stop_reason":"tool_use"}}',
        "openai-chat": '{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f",'
        f'"arguments":"{given_text}"}}}}]}},"finish_reason":"tool_calls"}}]}}',
        "openai-responses": '{"object":"response","status":"completed","output":[{"type":'
        f'"function_call","call_id":"c","name":"f","arguments":"{given_text}"}}]}}',
    }[spoken].encode()
    translation = Translation(FORMAT[source], FORMAT[spoken], context())
    told = translation.whole(body)
    assert (ARGUMENTS if source == "anthropic-messages" else given_text).encode() in told
    assert translation.losses == ()


def test_a_stripped_history_keeps_them() -> None:
    """Taking thinking out of a history writes it anew, and changes no number."""
    thought = '{"type":"thinking","thinking":"hm","signature":"s"}'
    call = f'{{"type":"tool_use","id":"c","name":"f","input":{ARGUMENTS}}}'
    body = f'{{"messages":[{{"role":"assistant","content":[{thought},{call}]}}]}}'.encode()
    stripped = FORMAT["anthropic-messages"].strip(body)
    assert ARGUMENTS.encode() in stripped
    assert b"thinking" not in stripped


TOKENS = [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]
CHAT = {
    "id": "x",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"content": "Hi"},
            "logprobs": {"content": TOKENS, "refusal": None},
            "finish_reason": "stop",
        }
    ],
}


def test_log_probabilities_are_carried_between_chat_and_responses() -> None:
    """Whole and streamed, both ways."""
    chat, responses = FORMAT["openai-chat"], FORMAT["openai-responses"]
    whole = responses.whole(chat.pieces(CHAT), context())
    assert whole["output"][0]["content"][0]["logprobs"] == TOKENS
    back = chat.whole(responses.pieces(whole), context())
    assert back["choices"][0]["logprobs"] == {"content": TOKENS, "refusal": None}
    chunk = {**CHAT["choices"][0], "delta": {"content": "Hi"}}  # type: ignore[index]
    stream = b"data: " + orjson.dumps({**CHAT, "choices": [chunk]}) + b"\n\ndata: [DONE]\n\n"
    told, _ = translated("openai-responses", "openai-chat", [stream])
    assert told.count(orjson.dumps(TOKENS)) == 5  # the delta, its end, the part, item and response
    again, _ = translated("openai-chat", "openai-responses", [told])
    assert orjson.dumps({"content": TOKENS, "refusal": None}) in again


@pytest.mark.parametrize(
    ("spoken", "answer", "lost"),
    [
        (
            "anthropic-messages",
            {"content": [{"type": "text", "text": "a", "citations": [{"type": "char_location"}]}]},
            "citations",
        ),
        (
            "openai-chat",
            {"choices": [{"message": {"content": "a", "annotations": [{"type": "url_citation"}]}}]},
            "annotations",
        ),
        ("openai-chat", {"citations": ["https://x.example"], "choices": []}, "citations"),
        ("openai-chat", {"choices": [{"message": {"audio": {"data": "…"}}}]}, "audio"),
    ],
)
def test_what_an_answer_loses_is_said(spoken: str, answer: dict[str, Any], lost: str) -> None:
    """Of a whole answer; text that speaks of it is no loss."""
    translation = Translation(FORMAT["openai-responses"], FORMAT[spoken], context())
    translation.whole(orjson.dumps(answer))
    assert translation.losses == (f"{lost} of the answer dropped",)
    plain = Translation(FORMAT["openai-responses"], FORMAT["openai-chat"], context())
    text = {"content": '"citations": ["x"]', "annotations": []}
    plain.whole(orjson.dumps({"choices": [{"message": text}]}))
    assert plain.losses == ()
