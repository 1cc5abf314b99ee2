"""Thought and answer are told apart, wherever a server puts them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.upstream.thought import answer_in, split

SCHEMA = {"type": "object", "required": ["target"]}
ANSWER = '{"target": "small"}'


def reply(text: str | None, **message: Any) -> dict[str, Any]:
    """A reply with this content."""
    return {"choices": [{"message": {"role": "assistant", "content": text, **message}}]}


@pytest.mark.parametrize(
    ("document", "text", "found"),
    [
        (reply(ANSWER), ANSWER, (ANSWER, "")),
        (reply(None, reasoning_content="Hm."), "", ("", "Hm.")),
        (reply("", reasoning="Hm."), "", ("", "Hm.")),
        (reply(ANSWER, reasoning_content="Hm."), ANSWER, (ANSWER, "Hm.")),
        (reply(None), f"<think>Hm.</think>\n{ANSWER}", (ANSWER, "Hm.")),
        (reply(None), f"Hm.</think>{ANSWER}", (ANSWER, "Hm.")),
        (reply(None), "<think>Hm.", ("", "Hm.")),
        (reply(None), '{"target": "</think>"}', ('{"target": "</think>"}', "")),
        ({"choices": [None]}, "x", ("x", "")),
        ({"choices": [{"message": "no"}]}, "x", ("x", "")),
    ],
)
def test_thought_is_split_off(document: dict[str, Any], text: str, found: tuple[str, str]) -> None:
    """By the message's own members, and by the tags in its text."""
    assert split(document, text) == found


@pytest.mark.parametrize(
    ("thought", "answer"),
    [
        (ANSWER, ANSWER),
        (f'First {{"target": "large"}}, no: {ANSWER}. Done {{x}}', ANSWER),
        ('{"target": {"id": "small"}}', '{"target": {"id": "small"}}'),
        ('{"other": 1}', None),
        ("no object at all", None),
        ("{" * 5000, None),
        ('{"target": "sm', None),
    ],
)
def test_the_last_object_with_what_was_asked_is_the_answer(
    thought: str, answer: str | None
) -> None:
    """What lacks a required property is none, and what is cut off neither."""
    assert answer_in(thought, SCHEMA) == answer


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_can_be_split_and_searched(text: str, thought: str) -> None:
    """Models write anything."""
    split(reply(text, reasoning_content=thought), text)
    found = answer_in(thought, SCHEMA)
    assert found is None or found in thought
