"""Lessons survive as bytes, say nothing in words, and are checked when they are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.online.training_example import (
    BucketPermutation,
    ExampleKind,
    ExampleUnreadable,
    TrainingExample,
)
from llmrouter.learning.trust.agreement_model import NAMES, Comparison

TEXT = "My password is swordfish, and the swordfish is mine."
FACTS = tuple(0.125 * n for n in range(len(NAMES)))
VEIL = BucketPermutation(b"a secret")


def a_lesson(text: str = TEXT) -> TrainingExample:
    """One with everything in it."""
    return TrainingExample(
        ExampleKind.OUTCOME, "code", "app", measured(text), {"small": 1.0, "large": 0.25}, 0.8,
        Comparison("code", FACTS, True, False, "app"), "author", 7, 1234.5, "local:m",
        np.array([0.5, -2.0], np.float32), True,
    )  # fmt: skip


def same(one: TrainingExample, other: TrainingExample) -> bool:
    """Whether two lessons hold the same."""
    return one.to_bytes() == other.to_bytes()


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_it_comes_back_as_it_was(text: str) -> None:
    """Whatever the text was, veiled or not."""
    lesson = a_lesson(text)
    assert same(TrainingExample.from_bytes(lesson.to_bytes()), lesson)
    assert same(TrainingExample.from_bytes(lesson.to_bytes(VEIL), VEIL), lesson)


def test_a_lesson_may_be_an_exam_or_a_second_call_alone() -> None:
    """Nothing is measured then."""
    lesson = TrainingExample(ExampleKind.LABEL, "code", "app", again=False)
    back = TrainingExample.from_bytes(lesson.to_bytes(VEIL), VEIL)
    assert (back.measured, back.grades, back.comparison, back.again) == (None, {}, None, False)


def test_no_word_and_no_open_hash_is_written() -> None:
    """Neither the text nor the terms that anybody could compute from a guess at it."""
    lesson = a_lesson()
    assert lesson.measured is not None
    written = lesson.to_bytes(VEIL)
    assert b"swordfish" not in written
    other = TrainingExample.from_bytes(written)  # as whoever has no key would read it
    assert other.measured is not None
    known, seen = (set(one.measured.signals.terms.tolist()) for one in (lesson, other))
    assert len(known & seen) <= 1
    assert (
        TrainingExample.from_bytes(written, BucketPermutation(b"another")).to_bytes()
        != lesson.to_bytes()
    )


def test_a_vector_is_written_veiled_and_read_as_it_was() -> None:
    """Texts can be guessed from vectors; without the key theirs is no vector of that space."""
    vector = np.random.default_rng(1).normal(size=256).astype("<f2").astype(np.float32)
    lesson = replace(a_lesson(), space="local:m", vector=vector)
    back = TrainingExample.from_bytes(lesson.to_bytes(VEIL), VEIL)
    assert (back.space, back.vector) == ("local:m", pytest.approx(vector))
    for stranger in (None, BucketPermutation(b"another")):
        read = TrainingExample.from_bytes(lesson.to_bytes(VEIL), stranger).vector
        assert read is not None
        assert abs(float(read @ vector)) < 0.3 * float(vector @ vector)


def test_equal_secrets_make_equal_veils() -> None:
    """Another worker, or the next run, reads what this one wrote."""
    assert same(
        TrainingExample.from_bytes(a_lesson().to_bytes(VEIL), BucketPermutation(b"a secret")),
        a_lesson(),
    )


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """They came from a store, so anything may be there."""
    with pytest.raises(ExampleUnreadable):
        TrainingExample.from_bytes(data)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_lesson_is_refused_or_harmless(position: int, byte: int) -> None:
    """What is read has grades, weights and measurements that a fit accepts."""
    data = bytearray(a_lesson().to_bytes())
    data[position % len(data)] = byte
    try:
        lesson = TrainingExample.from_bytes(bytes(data))
    except ExampleUnreadable:
        return
    assert all(0 <= grade <= 1 for grade in lesson.grades.values())
    assert 0 < lesson.weight <= 1
    assert lesson.measured is None or np.isfinite(lesson.measured.signals.readable).all()
