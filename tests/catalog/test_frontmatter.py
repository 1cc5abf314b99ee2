"""Splitting a catalog file, however its lines end and wherever it breaks off."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.catalog.frontmatter import Parts, split, unified
from llmrouter.errors import CatalogInvalid

FILE = "---\nmodel: a\nprice: b\n---\nFirst.\nSecond.\n"
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\u2028", "\x85", "---", "---\n", "\ufeff", "...", " "])


def test_both_halves_know_their_lines() -> None:
    """Front matter and body come back with the line of the file each begins on."""
    assert split("f", FILE) == Parts("model: a\nprice: b", 2, "First.\nSecond.\n", 5)


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_endings_and_a_byte_order_mark_change_nothing(ending: str) -> None:
    """What an editor on another system saves is the same file."""
    assert split("f", "\ufeff" + FILE.replace("\n", ending)) == split("f", FILE)


def test_a_rule_in_the_body_is_body() -> None:
    """Only the first closing fence closes; Markdown may rule lines with the same characters."""
    assert split("f", FILE + "---\nThird.\n").body == "First.\nSecond.\n---\nThird.\n"


def test_dots_close_too() -> None:
    """YAML's own end of a document is an end here as well."""
    assert split("f", "---\na: 1\n...\nBody").body == "Body"


def test_an_empty_front_matter_is_read_as_such() -> None:
    """Nothing between the fences is for the reader of fields to refuse."""
    assert split("f", "---\n---\nBody") == Parts("", 2, "Body", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f:1: the file is empty: open it with `---`, the settings, and `---`"),
        (" \n\t\n", "f:1: the file is empty: open it with `---`, the settings, and `---`"),
        ("model: a\n", "f:1: the first line must be `---`, which opens the front matter"),
        ("\n---\na: 1\n---\n", "f:1: the first line must be `---`, which opens the front matter"),
        (
            "---\nmodel: a\n",
            "f:1: the front matter is never closed: add a line `---` before the description",
        ),
    ],
)
def test_what_is_missing_is_said(text: str, message: str) -> None:
    """A file without both fences is refused with what to add."""
    with pytest.raises(CatalogInvalid) as caught:
        split("f", text)
    assert str(caught.value) == message


@settings(deadline=None)
@given(st.lists(ENDS | st.text(max_size=12), max_size=30).map("".join))
def test_any_text_splits_or_is_refused(text: str) -> None:
    """No text crashes it, nothing is lost between the halves, and lines are counted right."""
    try:
        parts = split("f", text)
    except CatalogInvalid:
        return
    lines = unified(text).split("\n")
    assert parts.front.split("\n") == (lines[1 : parts.body_line - 2] or [""])
    assert parts.body.split("\n") == (lines[parts.body_line - 1 :] or [""])
