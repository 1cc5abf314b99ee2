"""A chat server without log-probabilities: what its one opinion is read as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.features import TASKS
from llmrouter.domain.judgement import text_key
from llmrouter.domain.target import Price
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.prompt import one_line
from llmrouter.judging.structured import (
    MAX_REASON_CHARS,
    Opinion,
    answer_schema,
    parse,
    spread,
)
from tests.fakes import a_target
from tests.judging.asking import Scripted, judged

NAMES = ("gpt-5", "gpt-5-mini", "small")


def an_answer(**over: Any) -> dict[str, Any]:
    """A good answer; `over` replaces fields, None removes one."""
    answer = {"target": "small", "task": "math", "confidence": 0.8, "reason": "Simple sum."}
    return {key: value for key, value in {**answer, **over}.items() if value is not None}


def kind_of(text: str, eligible: Sequence[str] = NAMES) -> str:
    """The failure's kind; "ok" where there is none."""
    said = parse_or_fail(text, eligible)
    return said.kind if isinstance(said, RouterLLMFailed) else "ok"


def parse_or_fail(text: str, eligible: Sequence[str]) -> Opinion | RouterLLMFailed:
    """The choice, or the failure as a value."""
    try:
        return parse(text, eligible)
    except RouterLLMFailed as failure:
        return failure


def test_the_schema_allows_the_eligible_targets_only() -> None:
    """`target` is an enum in catalog order, whatever order the prompt shows."""
    schema = answer_schema(NAMES)
    assert schema["properties"]["target"]["enum"] == list(NAMES)
    assert set(schema["required"]) == set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_a_good_answer_is_a_choice() -> None:
    """All four fields come through."""
    choice = parse(orjson.dumps(an_answer()).decode(), NAMES)
    assert choice == Opinion("small", "math", 0.8, "Simple sum.")


@pytest.mark.parametrize(
    "wrapping",
    [
        "{}",
        "```json\n{}\n```",
        "Sure, here it is:\n{}\nHope it helps {{smile}}!",
        '<think>gpt-5? {{"target": "gpt-5"}} no.</think>\n{}',
        "{}\n{}",
        "  \n{}",
    ],
)
def test_wrappings_of_plain_text_servers_are_tolerated(wrapping: str) -> None:
    """Fences, prose, visible thinking and repetition do not hide the one answer."""
    text = orjson.dumps(an_answer()).decode()
    assert parse(wrapping.format(text, text), NAMES).target == "small"


@pytest.mark.parametrize("name", ["GPT-5-Mini", " gpt-5-mini ", "gpt-5-mini\n"])
def test_case_and_space_do_not_matter(name: str) -> None:
    """A name is matched without regard to case and surrounding space."""
    assert parse(orjson.dumps(an_answer(target=name)).decode(), NAMES).target == "gpt-5-mini"


@pytest.mark.parametrize(
    "name", ["gpt-4", "gpt-5-mini-2025", "gpt", "the gpt-5 model", "", "gpt-5, small", "gpt 5"]
)
def test_a_name_is_never_guessed(name: str) -> None:
    """A target that is not eligible to the letter is unknown, however near."""
    assert kind_of(orjson.dumps(an_answer(target=name)).decode()) == "unknown_target"


def test_names_that_differ_in_case_alone_are_told_apart_or_refused() -> None:
    """An exact name wins; an ambiguous one is unknown."""
    names = ("Small", "small")
    assert parse(orjson.dumps(an_answer(target="Small")).decode(), names).target == "Small"
    assert kind_of(orjson.dumps(an_answer(target="SMALL")).decode(), names) == "unknown_target"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "small",
        "I would choose small.",
        "[1, 2]",
        '"small"',
        '{"target": "small"',
        orjson.dumps(an_answer(task=None)).decode(),
        orjson.dumps(an_answer(reason=None)).decode(),
        orjson.dumps(an_answer(confidence=None)).decode(),
        orjson.dumps(an_answer(confidence="high")).decode(),
        orjson.dumps(an_answer(confidence=True)).decode(),
        orjson.dumps(an_answer(target=3)).decode(),
        orjson.dumps(an_answer(target=["small"])).decode(),
        orjson.dumps({"answer": an_answer()}).decode(),
        '{"target":"small","task":"math","confidence":NaN,"reason":"x"}',
        '{"target":"small","target":"gpt-5","task":"math","confidence":1,"reason":"x"}',
        '{"target":"small"} or {"target":"gpt-5"}',
        "{" * 10_000,
        '{"a":' * 1500,
        "[" * 7000 + "]" * 7000,
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    """Missing, mistyped, doubled, contradictory and hostile answers are no choice."""
    assert kind_of(text) == "malformed"


@pytest.mark.parametrize(
    ("given_", "read"), [(0.4, 0.4), (1.7, 1.0), (-3, 0.0), (95, 1.0), (10**400, 1.0)]
)
def test_confidence_is_clamped(given_: float, read: float) -> None:
    """A confidence outside 0..1 is brought inside."""
    text = f'{{"target":"small","task":"math","confidence":{given_},"reason":"x"}}'
    assert parse(text, NAMES).confidence == read


def test_the_reason_is_one_short_line_without_control_characters() -> None:
    """What a model writes into logs and the console is harmless there."""
    reason = "line one\nline\u2028two\x1b[31m\x00\u202e " + "x" * 500
    choice = parse(orjson.dumps(an_answer(reason=reason)).decode(), NAMES)
    assert choice.reason.startswith("line one line two[31m x")
    assert len(choice.reason) <= MAX_REASON_CHARS
    assert choice.reason.isprintable()


def test_raw_control_characters_in_a_string_are_read_and_removed() -> None:
    """llama.cpp's grammars let them into strings; the answer counts, the characters do not."""
    text = '{"target":"small","task":"math","confidence":1,"reason":"a\x0bb\nc"}'
    assert parse(text, NAMES).reason == "a b c"


@pytest.mark.parametrize(
    ("said", "task"),
    [("Math", "math"), ("question answering", "question_answering"), ("rm -rf /", "general")],
)
def test_a_task_is_one_of_the_vocabulary(said: str, task: str) -> None:
    """Tasks label metrics, so an invented one becomes `general`."""
    assert parse(orjson.dumps(an_answer(task=said)).decode(), NAMES).task == task
    assert task in TASKS


near_answers = st.builds(
    lambda head, fields, tail: head + orjson.dumps(fields).decode() + tail,
    st.text(max_size=20),
    st.fixed_dictionaries(
        {},
        optional={
            "target": st.sampled_from([*NAMES, "gpt-4", "GPT-5", "evil"]) | st.text(max_size=8),
            "task": st.text(max_size=8),
            "confidence": st.floats() | st.integers(-(2**60), 2**60) | st.none(),
            "reason": st.text(max_size=40),
        },
    ),
    st.text(max_size=20),
)


@given(st.text(max_size=400) | near_answers, st.sets(st.sampled_from(NAMES), min_size=1))
def test_no_text_ever_yields_an_ineligible_target(text: str, eligible: set[str]) -> None:
    """Whatever a model says, the choice is eligible or there is a failure with a kind."""
    said = parse_or_fail(text, sorted(eligible))
    if isinstance(said, RouterLLMFailed):
        assert said.kind in {"malformed", "unknown_target"}
    else:
        assert said.target in eligible
        assert said.task in TASKS
        assert 0.0 <= said.confidence <= 1.0
        assert said.reason == one_line(said.reason, MAX_REASON_CHARS)


def test_one_opinion_says_something_of_every_target() -> None:
    """Dearer targets than the named one do at least as well, cheaper ones less."""
    targets = [
        a_target(name, price=Price(usd, usd)) for name, usd in (("a", 1), ("b", 2), ("c", 3))
    ]
    chance = spread("b", 0.8, targets)
    low, named, high = (chance[text_key(target)] for target in targets)
    assert low < named < high
    assert all(0.0 < one < 1.0 for one in chance.values())


async def test_the_opinion_becomes_a_judgement_of_all_targets() -> None:
    """The schema names all of them in one order, and the task comes along."""
    model = Scripted('{"target":"large","task":"math","confidence":0.9,"reason":"hard"}')
    judgement, asked = await judged("json", model)
    assert len(judgement.probabilities) == 2
    assert (judgement.task, judgement.protocol) == ("math", "json")
    assert asked.schemas[0]["properties"]["target"]["enum"] == ["large", "small"]


async def test_a_target_judged_alone_is_asked_about_alone() -> None:
    """A new description costs one small question that shows no other target."""
    model = Scripted('{"good": false, "confidence": 0.6}')
    judgement, asked = await judged("json", model, only=("small",))
    assert list(judgement.probabilities.values()) == [pytest.approx(0.2)]
    assert "large" not in str(asked.messages[0])
