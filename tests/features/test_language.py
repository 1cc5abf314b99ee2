"""Tests of naming a language, or admitting that it is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.features.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France?", "en"),
        ("Wie ist das Wetter in der Stadt?", "de"),
        ("Quelle est la capitale de la France et pourquoi ?", "fr"),
        ("¿Cuál es la capital de Francia?", "es"),
        ("Come si scrive una lettera per il capo?", "it"),
        ("Qual é a capital do Brasil e como não errar?", "pt"),
        ("Wat is de hoofdstad van Nederland?", "nl"),
        ("Почему небо голубое и как это объяснить?", "ru"),
        ("用一句话解释量子力学", "zh"),
        ("量子力学を説明してください", "ja"),
        ("양자역학을 설명해 주세요", "ko"),
        ("Τι είναι η φιλοσοφία;", "el"),
        ("ما هي عاصمة فرنسا؟", "ar"),
        ("7*8", "und"),
        ("", "und"),
        ("Lorem ipsum dolor sit amet consectetur", "und"),
        ("Given α and β, what is the angle between them?", "en"),
        ("What does 漢字 mean in the sentence of the book?", "en"),
    ],
)
def test_a_sentence_shows_its_language(text: str, language: str) -> None:
    """Scripts decide alone, common words vote, and doubt is `und`."""
    assert language_of(text) == language


@given(st.text(st.characters()))
def test_any_text_has_an_answer(text: str) -> None:
    """It is always a short code."""
    assert 2 <= len(language_of(text)) <= 3
