"""Hashing and encoding survive any text and say the same thing every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.learning.encoders.hashed_features import (
    BUCKETS,
    FAMILY_BITS,
    MAX_BYTES,
    READABLE,
    clip_bytes,
    measure,
)
from llmrouter.learning.encoders.text_encoder import DenseEncoder, HashingEncoder, UnattachedEncoder
from llmrouter.learning.model.training import FitSettings, fit_encoder

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.fixture(scope="module")
def encoder() -> HashingEncoder:
    """An encoder that learned from nothing: a fixed random projection."""
    return fit_encoder([], FitSettings(width=32), seed=0)


@given(ANY_TEXT)
@settings(deadline=None)
def test_any_text_has_finite_measurements(text: str) -> None:
    """Lone surrogates, controls and the empty text all give finite numbers of a fixed shape."""
    signals = measure(text)
    assert signals.readable.shape == (len(READABLE),)
    assert np.isfinite(signals.readable).all()
    assert np.all(np.diff(signals.terms) > 0)
    assert not len(signals.terms) or 0 <= signals.terms[0] <= signals.terms[-1] < BUCKETS
    assert np.all(signals.terms[: signals.pairs_from] < 1 << FAMILY_BITS)


@given(ANY_TEXT)
@settings(deadline=None)
def test_any_text_encodes_to_finite_numbers(encoder: HashingEncoder, text: str) -> None:
    """Encoding never fails and never gives a NaN."""
    encoded = encoder.encode(text)
    assert encoded.vector.shape == (32,)
    assert np.isfinite(encoded.vector).all()


def test_a_megabyte_is_read_by_head_and_tail() -> None:
    """A huge text costs no more than MAX_BYTES, and its last words still count."""
    long = "word " * 200_000
    assert len(clip_bytes(long)) <= MAX_BYTES
    assert clip_bytes(long + "the end").endswith(b"the end")
    assert len(clip_bytes("\u4e00" * 1_000_000)) <= MAX_BYTES


def test_case_and_position_do_not_change_a_word() -> None:
    """The same words in another case hash to the same buckets wherever they stand."""
    early, late = measure("Alpha beta"), measure("alpha BETA")
    assert early.terms.tolist() == late.terms.tolist()
    alone = set(measure("beta").terms.tolist())
    assert alone <= set(measure("some words before beta").terms.tolist())


def test_repeats_are_counted() -> None:
    """Three times the same word is one term with count three."""
    signals = measure("red red red")
    assert signals.counts[: signals.pairs_from].tolist() == [3.0]


def test_options_are_seen() -> None:
    """Lettered option lines are counted and split the stem from the options."""
    values = dict(zip(READABLE, measure("Pick one\nA. 1\nB. 2\nC. 3\nD. 4").readable, strict=True))
    assert values["options"] == 4
    assert values["four_options"] == 1
    assert values["stem_share_digit"] == 0
    assert values["option_share_digit"] > 0


def test_one_and_many_agree(encoder: HashingEncoder) -> None:
    """A batch is the single encodings, in order."""
    texts = ["one", "two words", ""]
    batch = encoder.encode_many(texts)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(batch.vectors[row], encoder.encode(text).vector)
    assert len(encoder.encode_many([])) == 0


def test_a_dense_encoder_checks_its_width() -> None:
    """A vector of the wrong length is refused by name."""
    dense = DenseEncoder("test", 3, lambda texts: np.ones((len(texts), 3), np.float32))
    assert dense.vectors(["x"]).tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match="test gives 4 numbers"):
        DenseEncoder("test", 4, dense.embed).vectors(["x"])


def test_an_unattached_encoder_says_what_is_missing() -> None:
    """A model restored without its encoder explains itself when asked to encode."""
    with pytest.raises(LookupError, match="openai"):
        UnattachedEncoder("openai:small", 3).vectors(["x"])
