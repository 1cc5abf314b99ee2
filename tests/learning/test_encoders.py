"""What the model reads is computed once a request, and vectors are told apart by their space."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning import encoders
from llmrouter.learning.encoders import NEWEST, HashingEncoder, Vectors
from llmrouter.learning.fit import FitSettings, fit_encoder
from llmrouter.learning.hashing import Signals, measure


def test_a_text_is_measured_once_while_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimated, explored and learned from, it is read by one pass; old ones make room."""
    hashing = fit_encoder([measure("a b c"), measure("a b d")], FitSettings(), 0)
    assert isinstance(hashing, HashingEncoder)
    read: list[str] = []

    def counted(text: str) -> Signals:
        read.append(text)
        return measure(text)

    monkeypatch.setattr(encoders, "measure", counted)
    first = hashing.encode("What is 2 + 2?")
    assert hashing.encode("What is 2 + 2?") is first
    assert read == ["What is 2 + 2?"]
    for number in range(NEWEST):
        hashing.encode(f"another {number}")
    assert np.array_equal(hashing.encode("What is 2 + 2?").vector, first.vector)
    assert len(read) == NEWEST + 2


def test_fetched_vectors_stand_beside_what_was_measured() -> None:
    """One row a text, with the text's own measurements and sketch."""
    texts = ["add 1 and 2", "a poem"]
    batch = Vectors("local:m", np.eye(2, 5, dtype=np.float32)).beside([measure(t) for t in texts])
    assert len(batch) == 2
    assert batch.vectors.shape == (2, 5)
    assert np.array_equal(batch.readable[1], measure("a poem").readable)
    assert batch.sketches.any(axis=1).all()
