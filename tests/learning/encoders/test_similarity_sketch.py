"""Sketches recognise a request in other clothes, and tell others apart."""

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.learning.encoders.hashed_features import measure
from llmrouter.learning.encoders.similarity_sketch import _SIGNS, WIDTH, sketch


def _words(dice: random.Random, count: int) -> str:
    return " ".join("".join(dice.choices("abcdefghij", k=6)) for _ in range(count))


def test_a_greeting_does_not_hide_a_repeat() -> None:
    """Words of courtesy, case and marks move the cosine far less than another request does."""
    dice = random.Random(0)
    asked = [_words(dice, 15) for _ in range(200)]
    known = np.array([sketch(measure(text)) for text in asked])
    for number, text in enumerate(asked[:50]):
        again = sketch(measure(f"Hello! Please answer: {text.upper()}?"))
        close = known @ again
        assert int(close.argmax()) == number
        assert close[number] > 0.8
    other = known @ sketch(measure(_words(dice, 15)))
    assert float(other.max()) < 0.65


def test_a_rare_word_counts_more() -> None:
    """Where the shared word is the telling one, the texts are nearer."""
    one, two = measure("capital of france"), measure("capital of spain")
    flat = float(sketch(one) @ sketch(two))
    names = np.array([5.0 if n not in measure("capital of").terms else 1.0 for n in one.terms])
    others = np.array([5.0 if n not in measure("capital of").terms else 1.0 for n in two.terms])
    assert float(sketch(one, names) @ sketch(two, others)) < flat


@given(st.text(max_size=300))
def test_any_text_has_a_unit_sketch_or_none(text: str) -> None:
    """Whatever arrives: finite, of length one, or zero where there are no words."""
    signals = measure(text)
    found = sketch(signals)
    assert found.shape == (WIDTH,)
    assert float(np.linalg.norm(found)) == pytest.approx(float(bool(len(signals.terms))), abs=1e-4)


def test_the_kept_patterns_are_the_drawn_ones() -> None:
    """What is read from the file is what numpy's generator draws, so older models stay readable."""
    drawn = np.random.default_rng(64).choice(np.array([-1, 1], np.int8), size=_SIGNS.shape)
    assert np.array_equal(_SIGNS, drawn)
    assert _SIGNS.dtype == np.int8


def test_serving_loads_no_generators() -> None:
    """A process that serves has none of numpy's generators, which are megabytes."""
    program = "import sys, llmrouter.server.worker; assert 'numpy.random' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
