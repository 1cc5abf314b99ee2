"""Tests of the bounded Unicode forms."""

from __future__ import annotations

from unicodedata import combining, normalize

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.unicode import MARKS_IN_A_ROW, nfkc, stream_safe

MARKS = st.text(alphabet="\u0301\u0316\u0345\u0344\uff9e\u034fa", max_size=200)


def longest_run(text: str) -> int:
    """The most characters in a row that Unicode would put in order."""
    longest = run = 0
    for character in text:
        run = run + 1 if combining(character) else 0
        longest = max(longest, run)
    return longest


@given(st.text())
def test_text_as_people_write_it_stays_as_it_is(text: str) -> None:
    """Only runs beyond the bound are split, so everything else has its usual form."""
    if longest_run(normalize("NFKD", text)) <= MARKS_IN_A_ROW:
        assert stream_safe(text) == text
        assert nfkc(text) == normalize("NFKC", text)


@given(MARKS)
def test_splitting_stacks_twice_changes_nothing(text: str) -> None:
    """What is stream-safe stays as it is."""
    assert stream_safe(stream_safe(text)) == stream_safe(text)


def test_stacked_marks_are_put_in_order_in_short_runs() -> None:
    """Work on a stack is quadratic in its height, so the height is what is bounded."""
    hostile = "a" + "\u0301\u0316" * 100_000
    decomposed = normalize("NFKD", stream_safe(hostile))
    assert longest_run(decomposed) <= MARKS_IN_A_ROW
    widened = normalize("NFKD", stream_safe("\u0344\uff9e\u0316" * 60_000))
    assert longest_run(widened) <= 2 * MARKS_IN_A_ROW


def test_every_character_that_begins_with_a_mark_is_counted_as_one() -> None:
    """A letter that decomposes into marks (U+FF9E) would otherwise build stacks unseen."""
    for code in range(0x110000):
        character = chr(code)
        if combining(normalize("NFKD", character)[0]):
            stacked = stream_safe(character * (MARKS_IN_A_ROW + 1))
            assert len(stacked) == MARKS_IN_A_ROW + 2, hex(code)
