"""Tests of the characters that stay themselves in the normal form."""

from __future__ import annotations

from unicodedata import normalize

import pytest

from llmrouter.features.compatibility import (
    EXPANDING_FROM,
    _kept,
    folded,
    folded_length,
    is_kept,
)
from llmrouter.features.normalization import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 10⁵?", "What is 105?"),
        ("H₂O has 2 atoms", "H2O has 2 atoms"),
        ("3½ cups", "31⁄2 cups"),
        ("① or ②", "1 or 2"),
        ("x⑴", "x(1)"),
        ("5⒈", "51."),
        ("chapter Ⅷ", "chapter VIII"),
        ("5㏠", "51日"),
        ("5㎡", "5m2"),
        ("xⁿ", "xn"),
        ("1🄀", "10."),
        ("2²", "2₂"),
        ("⅓", "⅔"),
    ],
)
def test_compatibility_characters_do_not_become_other_numbers(one: str, other: str) -> None:
    """Two questions whose numbers differ to a reader never share a decision."""
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("４２", "42"),
        ("𝟒𝟐", "42"),
        ("ﬃ", "ffi"),
        ("ⓐ", "Ⓐ"),
        ("Ⅷ", "ⅷ"),
        ("ｶﾞ", "ガ"),
    ],
)
def test_forms_that_mean_the_same_still_meet(one: str, other: str) -> None:
    """Width, fonts, ligatures and case change no number."""
    assert normalise(one) == normalise(other)


def test_the_blocks_hold_every_character_that_is_kept() -> None:
    """Looking everywhere finds nothing more."""
    kept = _kept().characters
    assert {chr(code) for code in range(0x110000) if is_kept(chr(code))} == kept
    assert len(kept) > 600


def test_private_characters_of_a_text_never_come_out_as_kept_ones() -> None:
    """A prompt cannot borrow another prompt's decision through a private-use character."""
    stand_in = min(_kept().private)
    assert folded(f"10{stand_in}") == "10\ufffd"
    assert folded(folded(f"10{stand_in}⁵")) == folded(f"10{stand_in}⁵")


def test_what_a_text_becomes_is_known_before_it_is_folded() -> None:
    """No character of Unicode becomes as many as four that the estimate does not count."""
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            length = len(normalize("NFKC", chr(code)))
            if length >= EXPANDING_FROM:
                assert folded_length(chr(code)) == length
    assert folded_length("plain") == 5
    assert folded_length("\ufdfa" * 1000 + "é") == 18_001
