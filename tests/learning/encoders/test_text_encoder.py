"""What the model reads is computed once a request, and vectors are told apart by their space."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders import text_encoder
from llmrouter.learning.encoders.hashed_features import Signals, measure
from llmrouter.learning.encoders.text_encoder import (
    NEWEST,
    DenseEncoder,
    HashingEncoder,
    JointEncoder,
)
from llmrouter.learning.model.training import FitSettings, fit_encoder


def test_a_text_is_measured_once_while_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimated, explored and learned from, it is read by one pass; old ones make room."""
    hashing = fit_encoder([measure("a b c"), measure("a b d")], FitSettings(), 0)
    assert isinstance(hashing, HashingEncoder)
    read: list[str] = []

    def counted(text: str) -> Signals:
        read.append(text)
        return measure(text)

    monkeypatch.setattr(text_encoder, "measure", counted)
    first = hashing.encode("What is 2 + 2?")
    assert hashing.encode("What is 2 + 2?") is first
    assert read == ["What is 2 + 2?"]
    for number in range(NEWEST):
        hashing.encode(f"another {number}")
    assert np.array_equal(hashing.encode("What is 2 + 2?").vector, first.vector)
    assert len(read) == NEWEST + 2


def joint() -> JointEncoder:
    """Words of three texts, and a space that knows of a text how long it is."""
    signals = [measure(text) for text in ("add 1 and 2", "a poem", "add a poem")]
    dense = DenseEncoder("local:m", 2, lambda texts: np.array([[len(t), 1] for t in texts]))
    return JointEncoder(fit_encoder(signals, FitSettings(width=8), 0), dense)


def test_vectors_stand_behind_the_hashed_words() -> None:
    """One text, many, none, or what was measured and fetched of one: it is the same encoding."""
    both = joint()
    words, found = both.hashing.encode("a poem"), both.encode("a poem")
    assert (both.name, both.width, len(found.vector)) == ("local:m", 10, 10)
    assert np.array_equal(found.vector, [*words.vector, 6, 1])
    assert np.array_equal(found.readable, words.readable)
    assert np.array_equal(found.sketch, words.sketch)
    known = both.project(measure("a poem"), np.array([6, 1], np.float32))
    assert np.array_equal(known.vector, found.vector)
    batch = both.encode_many(["add 1 and 2", "a poem"])
    assert np.array_equal(batch.vectors[1], found.vector)
    assert both.encode_many([]).vectors.shape == (0, 10)


def test_without_its_vector_a_text_is_not_encoded() -> None:
    """Words alone are no encoding of this space, and neither is a vector of another length."""
    for vector in (None, np.ones(3, np.float32)):
        with pytest.raises(LookupError, match=r"'local:m' \[2\]"):
            joint().project(measure("a poem"), vector)
