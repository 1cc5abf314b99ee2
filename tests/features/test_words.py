"""Splitting text into words by tables."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.features.words import letters, words


@given(st.text())
def test_letters_are_what_a_pattern_would_find(text: str) -> None:
    """Letters of every script; digits and underscores end a run."""
    assert letters(text) == re.findall(r"[^\W\d_]+", text)


@given(st.text())
def test_words_are_what_a_pattern_would_find(text: str) -> None:
    """Digits and underscores belong to a word."""
    assert words(text) == re.findall(r"\w+", text)


def test_known_words_of_several_scripts() -> None:
    """Accents, other scripts, and numbers between them."""
    assert letters("Wie x2y, naïve 漢字!") == ["Wie", "x", "y", "naïve", "漢字"]
    assert words("a_b x2 3.5 é") == ["a_b", "x2", "3", "5", "é"]
