"""Tests of taking out what a harness adds to a user's words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.features.harness_envelopes import ENVELOPES, strip_envelopes


def test_closed_envelopes_go_and_the_words_stay() -> None:
    """All envelopes of all kinds are taken out."""
    text = (
        "<system-reminder>a</system-reminder>Fix it"
        "<environment_details>b\nc</environment_details> now"
        "<system-reminder>d</system-reminder>"
    )
    assert strip_envelopes(text) == "Fix it now"


def test_an_open_envelope_is_the_users_own_text() -> None:
    """A tag without its end hides nothing."""
    text = "What does <system-reminder> mean? </b>"
    assert strip_envelopes(text) == text


def test_a_turn_that_is_all_envelope_stays() -> None:
    """Something is always left to route by."""
    text = "<system-reminder>only this</system-reminder>"
    assert strip_envelopes(text) == text


def test_many_open_tags_are_linear() -> None:
    """A megabyte of openings without an end is scanned once."""
    text = "<system-reminder>" * 60_000 + "</b>"
    assert strip_envelopes(text) == text


@given(st.text())
def test_text_without_envelopes_is_untouched(text: str) -> None:
    """Whatever a user writes otherwise passes as it is."""
    if not any(f"<{name}>" in text for name in ENVELOPES):
        assert strip_envelopes(text) is text
