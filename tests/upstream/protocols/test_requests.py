"""Requests between the formats: what is carried, what is dropped with a word, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.errors import BadRequest, UpstreamFailure
from llmrouter.upstream.protocols.interface import Losses
from tests.fakes import a_target
from tests.samples import examples
from tests.upstream.protocols.written import FORMAT, NAMES

TARGET = a_target(model="m", provider="other", max_output=500)
PICTURE = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
TEXT = st.text(min_size=1, max_size=20)
CALL = st.builds(
    lambda n, a: {"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": a}},
    st.integers(0, 9),
    st.sampled_from(['{"a":1}', "{}", '{"b":"é"}']),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns that every format can say: words and tool loops."""
    turns: list[dict[str, Any]] = []
    if draw(st.booleans()):
        turns.append({"role": "system", "content": draw(TEXT)})
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(TEXT)})
        if draw(st.booleans()):
            call = draw(CALL)
            turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
            turns.append({"role": "tool", "tool_call_id": call["id"], "content": draw(TEXT)})
        turns.append({"role": "assistant", "content": draw(TEXT)})
    turns.append({"role": "user", "content": draw(TEXT)})
    return turns


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(80), deadline=None)
@given(
    turns=conversations(),
    limit=st.none() | st.integers(1, 400),
    choice=st.sampled_from([None, "auto", "required", "none"]),
    stream=st.booleans(),
)
def test_a_conversation_survives_a_round_trip(
    name: str,
    turns: list[dict[str, Any]],
    limit: int | None,
    choice: str | None,
    stream: bool,
) -> None:
    """Built in a format and parsed again, it is the same request, and nothing was lost."""
    document: dict[str, Any] = {"model": "m", "messages": turns, "tools": [TOOL], "top_p": 0.5}
    document |= {"max_tokens": limit} if limit else {}
    document |= {"tool_choice": choice} if choice else {}
    document |= {"stream": True} if stream else {}
    losses = Losses()
    body = FORMAT[name].build(document, TARGET, losses)
    assert list(losses) == []
    read = FORMAT[name].parse(body).document
    assert read["messages"] == turns
    assert read["tools"] == [TOOL]
    assert read["top_p"] == 0.5
    assert read.get("tool_choice") == choice
    assert read.get("stream", False) == stream
    assert read.get("max_tokens") == (limit or (500 if name == "anthropic-messages" else None))


@pytest.mark.parametrize("name", NAMES)
def test_pictures_schemas_and_effort_are_carried(name: str) -> None:
    """Each format has its own way to say them."""
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    document = {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                ],
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "reasoning_effort": "high",
    }
    read = FORMAT[name].parse(FORMAT[name].build(document, TARGET, Losses())).document
    assert read["reasoning_effort"] == "high"
    assert read["response_format"]["json_schema"]["schema"] == {"type": "object"}
    picture = read["messages"][0]["content"][1]
    assert picture["image_url"]["url"] == PICTURE


@pytest.mark.parametrize(
    ("name", "document", "loss"),
    [
        ("anthropic-messages", {"seed": 1}, "seed dropped"),
        ("anthropic-messages", {"temperature": 1.5}, "temperature above 1 became 1"),
        (
            "anthropic-messages",
            {"response_format": {"type": "json_object"}},
            "response_format json_object became an instruction",
        ),
        ("anthropic-messages", {"tools": [{"type": "custom"}]}, "tool custom dropped"),
        ("openai-responses", {"stop": ["x"]}, "stop dropped"),
        ("openai-responses", {"frequency_penalty": 1}, "frequency_penalty dropped"),
        ("openai-chat", {"top_k": 3}, "top_k dropped"),
        (
            "openai-chat",
            {"reasoning_effort": "max"},
            "reasoning effort max became xhigh",
        ),
    ],
)
def test_what_a_format_has_no_place_for_is_told(
    name: str, document: dict[str, Any], loss: str
) -> None:
    """One warning each."""
    losses = Losses()
    FORMAT[name].build(
        {"messages": [{"role": "user", "content": "hi"}], **document}, TARGET, losses
    )
    assert list(losses) == [loss]


@pytest.mark.parametrize("name", ["anthropic-messages", "openai-responses"])
@pytest.mark.parametrize(
    "document",
    [
        {"messages": [{"role": "user", "content": "hi"}], "n": 2},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ],
    ids=["several answers", "sound"],
)
def test_what_must_not_be_left_out_is_refused(name: str, document: dict[str, Any]) -> None:
    """The next target is tried; a request without its question is worse than none."""
    with pytest.raises(UpstreamFailure) as refused:
        FORMAT[name].build(document, TARGET, Losses())
    assert refused.value.kind == "untranslatable"


def test_what_only_one_format_can_say_stays_with_it() -> None:
    """The format's own name becomes a need; beside other tools a hosted one is dropped instead."""
    messages, responses = FORMAT["anthropic-messages"], FORMAT["openai-responses"]
    say: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    search = {"type": "web_search_20260318", "name": "web_search"}
    own = {"name": "f", "input_schema": {"type": "object"}}
    assert messages.parse({**say, "tools": [search]}).needs == {"anthropic-messages"}
    beside = messages.parse({**say, "tools": [search, own]})
    assert beside.needs == frozenset()
    assert beside.losses == ("tool web_search_20260318 dropped",)
    assert messages.parse({**say, "container": "c"}).needs == {"anthropic-messages"}
    hosted = responses.parse({"input": "hi", "tools": [{"type": "web_search"}]})
    assert hosted.needs == {"openai-responses"}
    item = {"type": "computer_call", "call_id": "c"}
    assert responses.parse({"input": [item]}).needs == {"openai-responses"}


@pytest.mark.parametrize(
    ("name", "document", "param"),
    [
        ("anthropic-messages", {}, "messages"),
        ("anthropic-messages", {"messages": "hi"}, "messages"),
        ("anthropic-messages", {"messages": [{"role": "x", "content": ""}]}, "messages[0].role"),
        (
            "anthropic-messages",
            {"messages": [{"role": "user", "content": 1}]},
            "messages[0].content",
        ),
        (
            "anthropic-messages",
            {"messages": [{"role": "user", "content": [1]}]},
            "messages[0].content[0]",
        ),
        ("openai-responses", {}, "input"),
        ("openai-responses", {"input": 1}, "input"),
        ("openai-responses", {"input": [{"role": "x", "content": ""}]}, "input[0].role"),
        ("openai-responses", {"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ("openai-responses", {"input": "hi", "conversation": "c"}, "conversation"),
    ],
)
def test_a_mistake_is_named_by_its_place_in_the_callers_format(
    name: str, document: dict[str, Any], param: str
) -> None:
    """`param` is a path that the caller knows."""
    with pytest.raises(BadRequest) as wrong:
        FORMAT[name].parse(document)
    assert wrong.value.param == param


def test_a_tool_loop_with_pictures_reaches_chat_as_a_user_turn() -> None:
    """Tools return text in chat completions; the picture follows it."""
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "is_error": True,
        "content": [{"type": "text", "text": "seen"}, block],
    }
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    parsed = FORMAT["anthropic-messages"].parse(
        {
            "messages": [
                {"role": "user", "content": "Look."},
                {"role": "assistant", "content": [call]},
                {"role": "user", "content": [result, {"type": "text", "text": "Well?"}]},
            ]
        }
    )
    sent = FORMAT["openai-chat"].build(parsed.document, TARGET, Losses())["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "user", "user"]
    assert sent[2]["content"] == "Error: seen"
    assert sent[3]["content"][0]["image_url"]["url"] == "data:image/png;base64,AA"


def test_what_changes_with_every_request_of_a_client_is_no_part_of_the_prompt() -> None:
    """Claude Code's billing line would make every decision a new one."""
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=fa690;"},
        {"type": "text", "text": "You are Claude Code."},
    ]
    parsed = FORMAT["anthropic-messages"].parse(
        {"system": system, "messages": [{"role": "user", "content": "hi"}]}
    )
    assert parsed.document["messages"][0]["content"] == [
        {"type": "text", "text": "You are Claude Code."}
    ]


@pytest.mark.parametrize("name", NAMES)
def test_stripping_takes_the_reasoning_and_nothing_else(name: str) -> None:
    """What is left is the conversation."""
    import orjson

    bodies: dict[str, Any] = {
        "anthropic-messages": {
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "yes"},
                    ],
                },
            ]
        },
        "openai-responses": {
            "input": [
                {"role": "user", "content": "hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "s"},
                {"role": "assistant", "content": "yes"},
            ]
        },
        "openai-chat": {"messages": [{"role": "user", "content": "hi"}]},
    }
    body = bodies[name]
    before = FORMAT[name].parse(body)
    after = FORMAT[name].parse(orjson.loads(FORMAT[name].strip(orjson.dumps(body))))
    assert after.document["messages"] == before.document["messages"]
    assert not after.signed
    assert before.signed == (name != "openai-chat")
