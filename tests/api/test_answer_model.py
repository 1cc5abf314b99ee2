"""The model's name in an answer: the upstream's own, or the one that was asked for."""

from __future__ import annotations

import orjson
import pytest

from llmrouter.api.answer_model import AnswerModel, name_to_show, renamed, renamed_event
from llmrouter.upstream.sse_decoder import data_of

CLAUDE_CODE = {"User-Agent": "claude-cli/2.1.0 (external, cli)"}


@pytest.mark.parametrize(
    ("setting", "headers", "shown"),
    [
        ("auto", {}, None),
        ("auto", {"User-Agent": "openai-python"}, None),
        ("auto", CLAUDE_CODE, "alias"),
        ("asked", {}, "alias"),
        ("upstream", CLAUDE_CODE, None),
    ],
)
def test_the_setting_and_the_client_decide(
    setting: AnswerModel, headers: dict[str, str], shown: str | None
) -> None:
    """By default only clients that depend on it see what they asked for."""
    assert name_to_show(setting, "alias", headers) == shown
    assert name_to_show(setting, None, headers) is None


def test_only_the_name_changes_in_a_whole_answer() -> None:
    """Numbers, order and a tool's own `model` stay as they came."""
    body = (
        b'{"content":[{"input":{"model":"x"}}], "model" : "real","n":1.0,"b":98765432109876543210}'
    )
    assert renamed(body, "asked") == body.replace(b'"real"', b'"asked"')
    assert renamed(b"no object", "asked") == b"no object"


@pytest.mark.parametrize(
    "document",
    [
        {"type": "message_start", "message": {"id": "m", "model": "real", "content": []}},
        {"type": "response.completed", "response": {"model": "real", "output": []}},
        {"object": "chat.completion.chunk", "model": "real", "choices": []},
    ],
)
def test_an_event_is_renamed_where_its_format_names_the_model(document: dict[str, object]) -> None:
    """The framing stays."""
    event = b"event: x\ndata: " + orjson.dumps(document) + b"\n\n"
    told = renamed_event(event, "asked")
    assert told.startswith(b"event: x\ndata: ")
    assert told.endswith(b"\n\n")
    text = orjson.dumps(document).replace(b'"real"', b'"asked"')
    assert orjson.loads(data_of(told) or b"") == orjson.loads(text)


def test_other_events_stay_as_they_are() -> None:
    """Text that speaks of a model is no name."""
    for data in (
        b'{"delta":{"text":"\\"model\\": \\"real\\""}}',
        b"[DONE]",
        b'{"input":"\\"model\\""}',
    ):
        event = b"data: " + data + b"\n\n"
        assert renamed_event(event, "asked") == event
