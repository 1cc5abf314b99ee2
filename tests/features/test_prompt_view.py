"""Tests of the bounded view that the router LLM reads."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import ChatRequest, Message
from llmrouter.domain.prompt_view import ViewLimits
from llmrouter.features.prompt_view import bounded_view, trim


def request(*turns: tuple[str, str], **fields: Any) -> ChatRequest:
    """A request as it arrives over HTTP."""
    messages = [{"role": role, "content": text} for role, text in turns]
    return parse(orjson.dumps({"messages": messages, **fields}), Endpoint.ROUTE)


def test_a_short_request_is_shown_whole() -> None:
    """Nothing is cut, counted or repeated."""
    view = bounded_view(request(("system", "Be brief."), ("user", "hi")))
    assert view.system == "Be brief."
    assert view.first is None
    assert [(turn.role, turn.text, turn.left_out) for turn in view.latest] == [("user", "hi", 0)]
    assert (view.skipped_turns, view.user_turns, view.tools) == (0, 1, 0)


def test_a_bare_yes_comes_with_what_it_answers() -> None:
    """The assistant's turn before the last is among the latest."""
    view = bounded_view(
        request(("user", "Prove it"), ("assistant", "Shall I go on?"), ("user", "yes")),
        ViewLimits(turns=2),
    )
    assert view.first is not None
    assert view.first.text == "Prove it"
    assert [turn.role for turn in view.latest] == ["assistant", "user"]


def test_the_middle_is_counted() -> None:
    """Turns between the first and the latest are counts by role."""
    turns = [("user", "q"), ("assistant", "a")] * 5 + [("user", "last")]
    view = bounded_view(request(*turns), ViewLimits(turns=3))
    assert view.skipped == {"assistant": 4, "user": 3}
    assert view.user_turns == 6


def test_a_long_turn_loses_its_middle_visibly() -> None:
    """Both ends stay, and the cut says how much is gone."""
    text = "begin " + "x" * 10_000 + " end"
    view = bounded_view(request(("user", text)), ViewLimits(last_chars=300))
    shown = view.latest[0]
    assert shown.text.startswith("begin ")
    assert shown.text.endswith(" end")
    assert f"[... {len(text) - 300} characters left out ...]" in shown.text
    assert shown.left_out == len(text) - 300


def test_envelopes_are_not_shown() -> None:
    """What a harness adds does not reach the router LLM."""
    view = bounded_view(request(("user", "<system-reminder>x</system-reminder>Fix it")))
    assert view.latest[0].text == "Fix it"


def test_tools_and_parts_are_counted() -> None:
    """What is not text shows as counts."""
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    body = orjson.dumps(
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, image]}],
            "tools": [{"type": "function"}, {"type": "function"}],
        }
    )
    view = bounded_view(parse(body, Endpoint.ROUTE))
    assert view.latest[0].parts == {"image_url": 1}
    assert view.tools == 2


def test_a_request_of_system_turns_alone_has_a_view() -> None:
    """No user turn is no error."""
    view = bounded_view(request(("system", "Be brief.")))
    assert (view.latest, view.first) == ((), None)


@given(st.text(st.characters(), max_size=200), st.integers(0, 100))
def test_trimming_keeps_the_limit_and_the_ends(text: str, limit: int) -> None:
    """What is shown of a text plus what is left out is the text."""
    shown, left_out = trim(text, limit)
    if len(text) <= limit:
        assert (shown, left_out) == (text, 0)
    else:
        mark = f"\n[... {left_out} characters left out ...]\n"
        head, tail = shown[: limit * 2 // 3], shown[limit * 2 // 3 + len(mark) :]
        assert len(head) + len(tail) == limit
        assert text.startswith(head)
        assert text.endswith(tail)
        assert left_out == len(text) - limit


TURNS = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.text(max_size=400),
    ),
    min_size=1,
    max_size=30,
)


@given(TURNS)
def test_the_view_is_bounded_whatever_comes(turns: list[Message]) -> None:
    """Its text never exceeds the limits plus the marks, and every turn is shown or counted."""
    limits = ViewLimits(system_chars=50, first_chars=50, last_chars=50, turn_chars=20, turns=3)
    view = bounded_view(ChatRequest(b"", {}, tuple(turns)), limits)
    shown = [*view.latest, *([view.first] if view.first else [])]
    mark = 50
    assert len(view.system) + sum(len(turn.text) for turn in shown) <= 50 + 50 + 50 + 40 + 5 * mark
    others = [turn for turn in turns if turn.role != "system"]
    assert len(shown) + view.skipped_turns == len(others)
