"""Tests of the normal form: idempotence, and what it merges and keeps apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.features import normalization as module
from llmrouter.features.compatibility import folded
from llmrouter.features.normalization import normalise
from tests.samples import examples

PIECES = (
    "550e8400-e29b-41d4-a716-446655440000",
    "2024-01-02",
    "2024-01-02T12:30:45.123Z",
    "20240102T123456Z",
    "12:34:56+02:00",
    "1700000000.25",
    "d41d8cd98f00b204e9800998ecf8427e",
    "deadbeefdeadbee1",
    "0x7ffe12345678",
    "123456789",
    "7*8",
    "<number>",
    "<time>",
    "<uuid>",
    "-",
    ":",
    ".",
    "g",
    "a",
    "1",
    " ",
    "\n",
    "\x1f",
    "\u0338",
    "\u00a0",
    "\u0345",
    "ẞ",
    "İ",
    "ﬃ",
    "①",
    "９",
    "\ud800",
    "가",
)
PASTED = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
ANY = st.one_of(
    PASTED,
    st.text(st.characters(), max_size=60),
    st.text(alphabet="0123456789abcdefxtz:-./+ ", max_size=60),
)


@settings(max_examples=examples(600))
@given(ANY)
def test_normalising_twice_changes_nothing(text: str) -> None:
    """The normal form is its own normal form, lone surrogates and placeholders included."""
    once = normalise(text)
    assert normalise(once) == once


@settings(max_examples=examples(600))
@given(st.one_of(PASTED.filter(str.isascii), st.text(alphabet=st.characters(max_codepoint=127))))
def test_the_short_way_for_ascii_gives_what_the_rules_give(text: str) -> None:
    """The class table is only a shortcut: it never decides differently."""
    assert normalise(text) == module._normalise_unicode(text)


@settings(max_examples=examples(600))
@given(ANY)
def test_the_class_check_overlooks_nothing(text: str) -> None:
    """Where the classes show no volatile part, the regular expression finds none, in any script."""
    form = " ".join(folded(text).split())
    data = form.encode("utf-8", "surrogatepass")
    if not module._may_match(form.encode("ascii", "replace")):
        assert module._replaced(data) == data


def test_every_code_point_reaches_a_fixed_point() -> None:
    """No single character, alone or before a combining mark, keeps changing."""
    for code in range(0, 0x110000, 7):
        for text in (chr(code), f"a{chr(code)}\u0301"):
            once = normalise(text)
            assert normalise(once) == once


@given(ANY)
def test_the_normal_form_has_single_spaces_and_no_edges(text: str) -> None:
    """White space never tells two normal forms apart."""
    assert normalise(text) == " ".join(normalise(text).split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fix  my\n\tcode ", "fix my code"),
        ("STRASSE", "straße"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("see 550e8400-e29b-41d4-a716-446655440000", "see 00000000-0000-4000-8000-0000000000ab"),
        ("at 2024-01-02T12:30:45Z go", "at 2023-11-30 08:00 go"),
        ("ticket 1700000001", "ticket 1699999999"),
        ("epoch 1700000001.5", "epoch 1699999999.25"),
        ("commit d41d8cd98f00b204e9800998ecf8427e", "commit 0cc175b9c0f1b6a831c399e269772661"),
        ("at 0x7ffe12345678", "at 0x55d0c0ffee00"),
    ],
)
def test_the_same_question_has_one_normal_form(one: str, other: str) -> None:
    """Case, white space, compatibility forms and volatile parts do not count."""
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7*8", "7*9"),
        ("12345678 + 1", "12345679 + 1"),
        ("in 2024", "in 1999"),
        ("9999-99-99", "9999-99-98"),
        ("meet at 12:30", "meet at 13:30"),
        ("deadbeef", "deadbeee"),
        ("defaced façade", "effaced façade"),
        ("1/2/2024", "1/3/2024"),
        ("x1234567890", "x1234567891"),
        ("price 3.14", "price 3.15"),
    ],
)
def test_what_may_differ_in_difficulty_stays_apart(one: str, other: str) -> None:
    """Short numbers, words and arithmetic are never merged."""
    assert normalise(one) != normalise(other)


@given(st.integers(0, 99_999_999), st.integers(0, 99_999_999))
def test_short_numbers_are_kept_to_the_digit(one: int, other: int) -> None:
    """Numbers of at most eight digits stand in the normal form as they are."""
    assert normalise(f"is {one} above {other}?") == f"is {one} above {other}?"


def test_replaced_parts_leave_no_digit_of_themselves() -> None:
    """A volatile part goes whole, so nothing of it can make a difference."""
    text = "id 550E8400-E29B-41D4-A716-446655440000, 2024-01-02 03:04:05.678+01:00, 1700000000123"
    assert re.search("[0-9]", normalise(text)) is None
    assert normalise(text) == "id <uuid>, <time>, <number>"


def test_a_hostile_megabyte_is_linear() -> None:
    """Runs that almost match are read once: a megabyte of them still comes back whole."""
    for piece in ("1", "a", "-", "2024-01-0", "12:34:5", "abcdef01-", "0x"):
        text = piece * (1_000_000 // len(piece))
        assert normalise(normalise(text)) == normalise(text)
