"""Tests of the readable traits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.features import TASKS
from llmrouter.features.task_classifier import INSTRUCTIONS, measure


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Write a python function to reverse a list", "code"),
        ("Translate this function from Python to Rust", "code"),
        ("Traceback (most recent call last):\n  File 'x'", "code"),
        ("Translate 'good morning' into French", "translation"),
        ("Übersetze das bitte ins Englische", "translation"),
        ("Summarize the following article: ...", "summarization"),
        ("Fasse den folgenden Text zusammen: ...", "summarization"),
        ("Résumez ce texte", "summarization"),
        ("Extract all names from the text below", "extraction"),
        ("Classify the sentiment of this review", "classification"),
        ("Write a haiku about autumn", "writing"),
        ("Draft a polite e-mail to my landlord", "writing"),
        ("7*8", "math"),
        ("Solve for x: 3x + 5 = 20", "math"),
        ("Tom has 5 apples and buys 3 more. How many apples does he have?", "math"),
        ("What is the capital of France?", "question_answering"),
        ("Which gas do plants absorb?\nA. O2\nB. CO2\nAnswer:", "question_answering"),
        ("Hi", "chat"),
        ("yes, go on", "chat"),
        ("The sky was grey that day.", "general"),
        ("", "general"),
    ],
)
def test_a_plain_request_shows_its_task(text: str, task: str) -> None:
    """The rules name what a reader would."""
    assert measure(text).task == task


def test_tasks_belong_to_the_common_vocabulary() -> None:
    """A rule in routing.yaml can name every task that is ever detected."""
    assert {task for task, _ in INSTRUCTIONS} <= set(TASKS)


def test_a_document_that_mentions_a_task_is_not_a_request_for_it() -> None:
    """Instructions count at the ends of a text, not in its middle."""
    filler = "The river runs along the old town. " * 40
    text = f"{filler} They were asked to summarize it. {filler} Who was it?"
    assert measure(text).task == "question_answering"


def test_the_system_prompt_may_carry_the_instruction() -> None:
    """ "You are a translator" makes a bare sentence a translation; a user's own words win."""
    system = "You are a translator from German to English."
    assert measure("Der Himmel ist blau.", system).task == "translation"
    assert measure("Summarize: Der Himmel ist blau.", system).task == "summarization"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```\nx = 1\n```", True),
        ("def f(x):\n    return x", True),
        ("SELECT name FROM users WHERE id = 1", True),
        ("function f(a) { return a; }", True),
        ("Please select one from the list.", False),
        ("I import wine from France.", False),
        ("The class was full; the teacher left.", False),
    ],
)
def test_code_is_seen_by_its_form(text: str, code: bool) -> None:
    """Words that programming borrowed do not make a text code."""
    assert measure(text).code is code


@pytest.mark.parametrize(
    ("text", "math"),
    [
        (r"Evaluate \frac{1}{2} + x", True),
        ("3 + 4", True),
        ("prove that the square root of 2 is irrational", True),
        ("How many moons does Jupiter have?", False),
        ("I was born in 1990.", False),
    ],
)
def test_maths_is_seen_by_its_form(text: str, math: bool) -> None:
    """Formulas and counting with numbers count, a number alone does not."""
    assert measure(text).math is math


def test_words_of_unspaced_scripts_are_counted_by_characters() -> None:
    """Two characters are a word where no spaces are written."""
    assert measure("用一句话解释量子力学").words == 5
    assert measure("one two  three").words == 3


def test_words_of_a_huge_text_are_extrapolated() -> None:
    """Counting stays bounded, and close."""
    assert measure("word " * 100_000).words == pytest.approx(100_000, rel=0.01)


@given(st.text(st.characters(), max_size=300), st.text(max_size=50))
def test_traits_exist_for_any_text(text: str, system: str) -> None:
    """Nothing that can be sent breaks the rules or leaves the vocabulary."""
    traits = measure(text, system)
    assert traits.task in TASKS
    assert traits.words >= 0


@pytest.mark.parametrize(
    "piece", ["write ", "select ", "a. ", "{;\n", "function(", "\n", " ", "x^", "def a", "fass "]
)
def test_hostile_repetition_is_read_in_bounded_work(piece: str) -> None:
    """A megabyte of near-matches is sampled, so that the rules come back at all."""
    assert measure(piece * (1_000_000 // len(piece))).task in TASKS
