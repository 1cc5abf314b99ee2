"""Reading YAML with a line for every complaint, and refusing what is no plain data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.catalog.yaml_reader import MAX_CHARS, Block, Sheet, hint, shown

KNOWN = ("text", "number", "whole", "flag", "choice", "texts", "block", "blocks", "value")


def opened(text: str, first_line: int = 1) -> tuple[Block | None, Sheet]:
    """A block over a YAML text, and the sheet that holds its problems."""
    sheet = Sheet("f", first_line)
    node = sheet.compose(text)
    return (None if node is None else Block(sheet, node, KNOWN)), sheet


def said(sheet: Sheet) -> list[str]:
    """The problems as lines."""
    return [str(problem) for problem in sheet.problems]


def refused(text: str) -> list[str]:
    """The problems of a text that cannot be composed."""
    block, sheet = opened(text)
    assert block is None
    return said(sheet)


def test_plain_values_are_read() -> None:
    """Each reader gives the value of its kind, and nothing is reported."""
    block, sheet = opened(
        "text: a\nnumber: 1.5\nwhole: 1_000\nflag: yes\ntexts: [a, b]\nvalue: [1]"
    )
    assert block is not None
    assert block.text("text") == "a"
    assert block.number("number") == 1.5
    assert block.whole("whole") == 1000
    assert block.flag("flag") is True
    assert [text for text, _ in block.texts("texts") or ()] == ["a", "b"]
    assert block.value("value") == (1,)
    assert sheet.problems == []


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1.0e-3", ".001"])
def test_small_numbers_may_be_written_with_an_exponent(written: str) -> None:
    """A price such as 1e-3 is a number, though YAML 1.1 takes it for text."""
    block, sheet = opened(f"number: {written}")
    assert block is not None
    assert block.number("number") == 0.001
    assert sheet.problems == []


@pytest.mark.parametrize("written", [".inf", ".nan", "1:30", "0x10", "1e999", "true", "'1'", "one"])
def test_what_is_no_plain_number_is_refused(written: str) -> None:
    """Infinities, sexagesimals, hexadecimals, quoted digits and words are no prices."""
    block, sheet = opened(f"a: 0\nnumber: {written}".replace("a: 0", "text: a"))
    assert block is not None
    assert block.number("number") is None
    assert said(sheet)[0].startswith("f:2: `number` must be a number, not ")


def test_lines_count_from_where_the_yaml_begins() -> None:
    """The first line of a front matter is not the first line of its file."""
    block, sheet = opened("text: a\n\n# a comment\nwhole: 1.5", first_line=2)
    assert block is not None
    block.whole("whole")
    assert said(sheet) == ["f:5: `whole` must be a whole number, not 1.5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("txt: a", "f:1: unknown key `txt`: did you mean `text`?"),
        ("text: a\ntext: b", "f:2: `text` stands here twice (first on line 1)"),
        ("[a]: b", "f:1: a key must be a plain word"),
    ],
)
def test_keys_are_held_to_what_is_known(text: str, message: str) -> None:
    """Unknown, duplicate and composite keys are reported when a block is opened."""
    _, sheet = opened(text)
    assert said(sheet) == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f:1: there is nothing here: settings are `key: value` lines"),
        ("# only this", "f:1: there is nothing here: settings are `key: value` lines"),
        ("- a", "f:1: this must be `key: value` lines"),
        ("text: &x a\nvalue: *x", "f:1: not valid YAML: anchors (&) and aliases (*) are refused"),
        ("a: b\nc: *x", "f:2: not valid YAML: anchors (&) and aliases (*) are refused"),
        ("a: 1\nb: \x07", "f:2: character U+0007 is not allowed in YAML; remove it"),
        ("a: 1\nb: [", "f:2: not valid YAML: "),
        ("a: 1\n\tb: 2", "f:2: not valid YAML: "),
        ("a: b: c", "f:1: not valid YAML: "),
        ("a: " + "[" * 40 + "]" * 40, "f:1: not valid YAML: nested too deep"),
        ("a: " + "{a: " * 5000, "f:1: not valid YAML: "),
        ("a: 1\n---\nb: 2", "f:2: not valid YAML: "),
        ("a: " + "x" * MAX_CHARS, "f:1: the file is over 256 KB; shorten it"),
    ],
)
def test_what_is_no_plain_data_is_refused(text: str, message: str) -> None:
    """Broken, empty, aliased, deep or huge YAML is one problem with its line."""
    found = refused(text)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_tag_builds_nothing() -> None:
    """A Python tag is a value of the wrong type, not an object."""
    block, sheet = opened("text: !!python/object/apply:os.getcwd []")
    assert block is not None
    assert block.text("text") is None
    assert said(sheet) == ["f:1: `text` must be text"]


def test_an_empty_value_counts_as_absent() -> None:
    """`key:` and `key: null` are the default, and an error only where a value is needed."""
    block, sheet = opened("text:\nnumber: null")
    assert block is not None
    assert block.text("text") is None
    assert sheet.problems == []
    block.number("number", required=True)
    block.whole("whole", required=True)
    assert said(sheet) == ["f:2: `number` has no value", "f:1: `whole` is missing"]


def test_suggestions_are_near_or_complete() -> None:
    """A near miss is named; without one the choices are listed, unless they are many."""
    assert hint("qualty", ("quality", "rules")) == ": did you mean `quality`?"
    assert hint("zzz", ("quality", "rules")) == "; there are: quality, rules"
    assert hint("zzz", [f"n{number}" for number in range(30)]) == ""


def test_what_a_message_shows_is_short_and_printable() -> None:
    """A value from a file cannot flood or garble a terminal."""
    assert shown("a\x1b[31mb") == "a?[31mb"
    assert len(shown("x" * 1000)) == 60


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*(f"{name}: " for name in KNOWN), "\n", "- ", "[", "]", "{", "}", ", ", "'"]
        )
        | st.text(max_size=6),
        max_size=25,
    ).map("".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Every reader meets every value without crashing, and problems have lines inside the text."""
    block, sheet = opened(text)
    if block is not None:
        block.text("text", required=True)
        block.number("number")
        block.whole("whole")
        block.flag("flag")
        block.choice("choice", ("a", "b"))
        block.texts("texts", single=True)
        block.block("block", ("a",))
        block.blocks("blocks", ("a",))
        block.value("value")
    lines = len(text.split("\n")) + sum(text.count(end) for end in "\r\x85\u2028\u2029")
    assert all(1 <= problem.line <= lines + 1 for problem in sheet.problems)
    assert block is not None or sheet.problems
