"""Tests of reading a request into features."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.domain.features import Features
from llmrouter.features import extractor as extractor_module
from llmrouter.features.extractor import DEFAULT_OUTPUT_TOKENS, Extractor, estimate_tokens
from llmrouter.features.fingerprint import Fingerprinter

HI = {"role": "user", "content": "hi"}


def features(*turns: dict[str, Any], **fields: Any) -> Features:
    """Features of a request as it arrives over HTTP."""
    body = orjson.dumps({"messages": list(turns) or [HI], **fields})
    return Extractor(Fingerprinter(b"k")).features(parse(body, Endpoint.ROUTE), ANONYMOUS)


def with_part(**part: Any) -> dict[str, Any]:
    """A user turn of one text and one other part."""
    return {"role": "user", "content": [{"type": "text", "text": "see"}, part]}


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, set()),
        ({"tools": []}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tool_choice": "required"}, {"tools"}),
        ({"tool_choice": {"type": "function"}}, {"tools"}),
        ({"tool_choice": "none"}, set()),
        ({"tool_choice": "auto"}, set()),
        ({"response_format": {"type": "json_schema"}}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"reasoning_effort": "high"}, {"reasoning"}),
        ({"reasoning_effort": "minimal"}, set()),
        ({"reasoning_effort": "none"}, set()),
        ({"reasoning": {"effort": "low"}}, {"reasoning"}),
        ({"reasoning": {"max_tokens": 100}}, {"reasoning"}),
        ({"reasoning": {"enabled": False}}, set()),
        ({"reasoning": {"effort": "none"}}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"logprobs": False}, set()),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"modalities": ["text"]}, set()),
    ],
)
def test_needs_follow_from_the_fields(fields: dict[str, Any], needs: set[str]) -> None:
    """Each field asks for its capability, and its harmless values for none."""
    assert features(**fields).needs == needs


@pytest.mark.parametrize(
    ("part", "need"),
    [
        ({"type": "image_url", "image_url": {"url": "data:"}}, {"vision"}),
        ({"type": "input_audio", "input_audio": {}}, {"audio"}),
        ({"type": "file", "file": {}}, {"files"}),
        ({"type": "hologram"}, {"part:hologram"}),
    ],
)
def test_parts_ask_for_capabilities(part: dict[str, Any], need: set[str]) -> None:
    """What is not text needs a target that reads it, in an earlier turn too."""
    assert features(with_part(**part), HI).needs == need


@pytest.mark.parametrize(
    ("fields", "tokens", "asked"),
    [
        ({}, DEFAULT_OUTPUT_TOKENS, False),
        ({"n": 3}, 3 * DEFAULT_OUTPUT_TOKENS, False),
        ({"max_tokens": 100}, 100, True),
        ({"max_tokens": 100, "max_completion_tokens": 70}, 100, True),
        ({"n": 2, "best_of": 3, "max_tokens": 10}, 30, True),
        ({"max_tokens": 100.0, "n": 2}, 200, True),
    ],
)
def test_output_tokens_are_what_was_asked(fields: dict[str, Any], tokens: int, asked: bool) -> None:
    """The larger limit counts, answers multiply, and a default says that it is one."""
    measured = features(**fields)
    assert (measured.output_tokens, measured.asked_output) == (tokens, asked)


def test_input_tokens_grow_with_everything_sent() -> None:
    """Text, other scripts, images, tool schemas and tool calls all weigh in."""
    plain = features({"role": "user", "content": "word " * 100}).input_tokens
    assert 100 <= plain <= 160
    image = features(with_part(type="image_url", image_url={"url": "x" * 50_000})).input_tokens
    assert 765 <= image <= 900
    schema = {"name": "f", "parameters": {"text": "x" * 4000}}
    assert features(HI, tools=[schema]).input_tokens >= 1000
    call = {"id": "1", "function": {"name": "f", "arguments": "y" * 4000}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert features(HI, turn).input_tokens >= 1000


def test_a_character_of_cjk_is_about_a_token() -> None:
    """Scripts without spaces are not taken for a quarter of their size."""
    assert estimate_tokens("漢" * 100) == pytest.approx(100)
    assert estimate_tokens("я" * 100) == pytest.approx(62.5)
    assert estimate_tokens("a" * 100) == pytest.approx(25)


@given(st.text(st.characters()))
def test_an_estimate_exists_for_any_text(text: str) -> None:
    """Lone surrogates included, it is between a quarter and one and a half a character."""
    assert len(text) * 0.25 <= estimate_tokens(text) <= len(text) * 1.5


def test_the_text_is_the_last_user_turn_without_its_envelopes() -> None:
    """What a harness adds is not what the user asked."""
    turn = "<system-reminder>it is late</system-reminder>\nFix the bug"
    measured = features(
        HI, {"role": "assistant", "content": "ok"}, {"role": "user", "content": turn}
    )
    assert measured.text == "Fix the bug"
    assert measured.turns == 2


def test_system_prompts_are_joined() -> None:
    """System and developer turns make one system prompt."""
    measured = features(
        {"role": "system", "content": "One."}, {"role": "developer", "content": "Two."}, HI
    )
    assert measured.system == "One.\nTwo."


@pytest.mark.parametrize(
    ("last", "continues"),
    [
        (HI, False),
        ({"role": "user", "content": "Observation: 42"}, True),
        ({"role": "user", "content": "  observation: 42"}, True),
        ({"role": "user", "content": "An observation: 42"}, False),
        ({"role": "tool", "content": "42", "tool_call_id": "1"}, True),
        ({"role": "function", "name": "f", "content": "42"}, True),
        ({"role": "assistant", "content": "Observation: 42"}, False),
    ],
)
def test_tool_results_continue_a_turn(last: dict[str, Any], continues: bool) -> None:
    """Tool results and ReAct observations are marked, nothing else is."""
    assert features(HI, last).continuation is continues


def test_a_bare_prompt_has_features_too() -> None:
    """`prompt` is one user turn."""
    request = parse(b'{"prompt": "hi"}', Endpoint.ROUTE)
    measured = Extractor(Fingerprinter(b"k")).features(request, ANONYMOUS)
    assert (measured.text, measured.turns) == ("hi", 1)
    assert measured.fingerprint == features().fingerprint


def test_traits_are_measured_once_a_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated request does not pay for its traits again, and reads none unasked."""
    measured: list[str] = []
    real = extractor_module.measure
    monkeypatch.setattr(
        extractor_module, "measure", lambda text, *rest: measured.append(text) or real(text, *rest)
    )
    extractor = Extractor(Fingerprinter(b"k"))
    request = parse(orjson.dumps({"prompt": "Translate it into French"}), Endpoint.ROUTE)
    first, second = (extractor.features(request, ANONYMOUS) for _ in range(2))
    assert measured == []
    assert first.traits == second.traits
    assert first.traits.task == "translation"
    assert measured == ["Translate it into French"]


def test_remembered_traits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest traits make room for new ones."""
    monkeypatch.setattr(extractor_module, "TRAITS_KEPT", 3)
    extractor = Extractor(Fingerprinter(b"k"))
    for number in range(10):
        request = parse(orjson.dumps({"prompt": f"question {number}"}), Endpoint.ROUTE)
        assert extractor.features(request, ANONYMOUS).traits.words == 2
    assert len(extractor._measured) == 3


def test_a_declared_task_wins() -> None:
    """The caller knows better than a rule, and case does not count."""
    assert features(HI, router={"task": "Legal"}).traits.task == "legal"
