"""Encoders: from text to the numbers that the estimator reads.

Hashed words and readable measurements are always there (`hashing`, the default, no download): exact
words, format and length say much about difficulty. A dense encoder that knows synonyms, an
`/v1/embeddings` endpoint (`openai`) or a model on this machine (`local`), adds its vector to them;
in their place it scored worse.

No network and no download happens here: a dense encoder is given a function that embeds texts, and
a vector that was fetched elsewhere enters by `JointEncoder.project`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import BUCKETS, Floats, Ints, Signals, measure
from llmrouter.learning.encoders.similarity_sketch import WIDTH as SKETCH_WIDTH
from llmrouter.learning.encoders.similarity_sketch import damped, sketch
from llmrouter.learning.model.int8 import combined

Arrays = dict[str, NDArray[np.generic]]
Embed = Callable[[Sequence[str]], Floats]


class Terms(NamedTuple):
    """A text's kept words and word pairs: their `rows` in the encoder's table, and their `weights`
    (damped count times rarity, each family of unit length).
    """

    rows: Ints
    weights: Floats


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as numbers: `vector` float32 [encoder.width], `readable` float32 [R].

    `readable` is `hashed_features.READABLE` and `RARITY` after it; `sketch` is the memory's key
    (see `similarity_sketch`); `terms` are the kept words.
    """

    vector: Floats
    readable: Floats
    sketch: Floats
    terms: Terms


RARITY = ("unknown_words", "mean_rarity", "top_rarity", "rarity_spread", "known_pairs", "new_words")
"""What the hashing encoder measures beside `hashing.READABLE`: how unusual the words are."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """Many texts as numbers: `vectors` float32 [n, width], `readable` float32 [n, R], `sketches`
    float32 [n, WIDTH], and each one's `terms`.
    """

    vectors: Floats
    readable: Floats
    sketches: Floats
    terms: tuple[Terms, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def beside(self, rows: Floats) -> EncodedBatch:
        """The same texts with `rows` [n, w] after their vectors."""
        vectors = np.concatenate((self.vectors, rows), axis=1)
        return EncodedBatch(vectors, self.readable, self.sketches, self.terms)


NEWEST = 64
"""Texts whose hashed encodings are kept, some 2 KB each: about as many as are under way at once."""


@dataclass(frozen=True, slots=True)
class HashingEncoder:
    """Hashed words and word pairs, weighted by rarity, projected to a low dimension.

    The projection is learned by `fit.fit_encoder` (truncated SVD of the training texts) and kept
    as int8 rows. `rows` uint16 [BUCKETS] maps a bucket to its row (0: not kept, all zero);
    `rarity` and `scale` float32 [rows], `table` int8 [rows, width].
    """

    rows: NDArray[np.uint16]
    rarity: Floats
    scale: Floats
    table: NDArray[np.int8]
    _rarest: np.float32 = field(init=False, repr=False)
    _newest: dict[str, Encoded] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """In a sketch unknown words are worth the most."""
        most = np.float32(self.rarity.max() if len(self.rarity) > 1 else 1.0)
        object.__setattr__(self, "_rarest", most)

    @property
    def name(self) -> str:
        """The name of the default space."""
        return "hashing"

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.table.shape[1])

    def encode(self, text: str) -> Encoded:
        """Encodes any text; one with no known word has the zero vector.

        The newest are kept: one request is estimated, explored and learned from.
        """
        encoded = self._newest.get(text)
        if encoded is None:
            encoded = self._newest[text] = self.project(measure(text))
            if len(self._newest) > NEWEST:
                del self._newest[next(iter(self._newest))]
        return encoded

    def encode_many(self, texts: Sequence[str]) -> EncodedBatch:
        """Encodes texts in order."""
        return stack([self.project(measure(text)) for text in texts], self.encode(""))

    def project(self, signals: Signals) -> Encoded:
        """The vector of already measured signals."""
        every = self.rows.take(signals.terms).astype(np.int64)
        rarity, counts = self.rarity.take(every), damped(signals)
        rows, weights = _weighted(signals, every, counts * rarity)
        vector = combined(weights * self.scale.take(rows), self.table, rows)
        readable = np.concatenate((signals.readable, self._unusual(signals, rarity)))
        counts *= np.where(rarity > 0, rarity, self._rarest)
        return Encoded(vector, readable, sketch(signals, counts), Terms(rows, weights))

    def _unusual(self, signals: Signals, rarity: Floats) -> Floats:
        """The values of `RARITY`: a rare or unknown word often makes a question hard."""
        words, pairs = rarity[: signals.pairs_from], rarity[signals.pairs_from :]
        known, out = int(np.count_nonzero(words)), np.zeros(len(RARITY), np.float32)
        unknown = len(words) - known
        out[0] = 1 - known / max(len(words), 1)
        out[5] = math.log1p(unknown)
        if known:
            mean = float(np.add.reduce(words)) / known
            spread = max(float(words @ words) / known - mean * mean, 0.0)
            out[1:4] = mean, np.maximum.reduce(words), math.sqrt(spread)
        if len(pairs):
            out[4] = np.count_nonzero(pairs) / len(pairs)
        return out

    def term_weights(self, signals: Signals) -> tuple[Ints, Floats]:
        """Kept rows and their weights: damped count times rarity, each family of unit length."""
        rows = self.rows.take(signals.terms).astype(np.int64)
        return _weighted(signals, rows, damped(signals) * self.rarity.take(rows))

    def arrays(self) -> Arrays:
        """What `from_arrays` needs to restore this encoder."""
        return {
            "rows": self.rows,
            "rarity": self.rarity,
            "scale": self.scale,
            "table": self.table,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> HashingEncoder:
        """Restores an encoder. Raises `ValueError` or `KeyError` where the arrays do not fit."""
        table = arrays["table"]
        rows = arrays["rows"]
        rarity, scale = arrays["rarity"], arrays["scale"]
        if table.dtype != np.int8 or table.ndim != 2 or rows.dtype != np.uint16:
            raise ValueError("the hashing encoder's arrays have the wrong type")
        if rows.shape != (BUCKETS,) or not len(table) == len(rarity) == len(scale):
            raise ValueError("the hashing encoder's arrays have the wrong shape")
        if int(rows.max()) >= len(table):
            raise ValueError("the hashing encoder's rows point outside its table")
        return cls(
            rows.astype(np.uint16, copy=False),
            rarity.astype(np.float32, copy=False),
            scale.astype(np.float32, copy=False),
            table.astype(np.int8, copy=False),
        )


def _weighted(signals: Signals, rows: Ints, weights: Floats) -> tuple[Ints, Floats]:
    """The kept rows, and their weights with each family of unit length."""
    for part in (weights[: signals.pairs_from], weights[signals.pairs_from :]):
        norm = float(part @ part)
        if norm > 0:
            part *= np.float32(1 / math.sqrt(norm))
    known = rows.nonzero()[0]
    return rows.take(known), weights.take(known)


class Dense(Protocol):
    """What gives a text a vector. `name` identifies the space: those of two are never mixed."""

    @property
    def name(self) -> str:
        """Identifies the space, e.g. `openai:text-embedding-3-small@https://host/v1`."""
        ...

    @property
    def width(self) -> int:
        """Length of a vector."""
        ...

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Vectors float32 [n, width], in order. Raises `LookupError` for what is not at hand."""
        ...


@dataclass(frozen=True, slots=True)
class JointEncoder:
    """Hashed words, and after them what `dense` says of the text: as slow as that is."""

    hashing: HashingEncoder
    dense: Dense

    @property
    def name(self) -> str:
        """The name of the dense space: the words are learned anew with each fit."""
        return self.dense.name

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.hashing.width + self.dense.width

    def encode(self, text: str) -> Encoded:
        """Encodes a text. Raises `LookupError` where its vector is not at hand."""
        vector = self.dense.vectors([text])[0]
        return self._joined(self.hashing.encode(text), vector)

    def encode_many(self, texts: Sequence[str]) -> EncodedBatch:
        """Encodes texts in order. Raises `LookupError` where a vector is not at hand."""
        if not texts:
            return self.hashing.encode_many(texts).beside(
                np.zeros((0, self.dense.width), np.float32)
            )
        rows = self.dense.vectors(texts)
        return self.hashing.encode_many(texts).beside(rows)

    def project(self, signals: Signals, vector: Floats | None) -> Encoded:
        """The same of what was measured and fetched. Raises `LookupError` without its vector."""
        if vector is None or vector.shape != (self.dense.width,):
            raise LookupError(f"needs a vector of {self.dense.name!r} [{self.dense.width}]")
        return self._joined(self.hashing.project(signals), vector)

    def _joined(self, words: Encoded, vector: Floats) -> Encoded:
        both = np.concatenate((words.vector, vector), dtype=np.float32)
        return Encoded(both, words.readable, words.sketch, words.terms)


Encoder = HashingEncoder | JointEncoder
"""What a model reads texts by."""


@dataclass(frozen=True, slots=True)
class DenseEncoder:
    """Any embedding function, e.g. an `/v1/embeddings` endpoint or sentence-transformers.

    `embed` maps n texts to float [n, width], as fast as it is.
    """

    name: str
    width: int
    embed: Embed

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Embeds texts in one call. Raises `ValueError` for another shape than promised."""
        rows = np.asarray(self.embed(texts), np.float32)
        if rows.shape != (len(texts), self.width):
            raise ValueError(f"{self.name} gives {self.width} numbers a text, not {rows.shape}")
        return rows


@dataclass(frozen=True, slots=True)
class UnattachedEncoder:
    """Stands where a stored model was fitted on an encoder that is not attached yet.

    It knows the space's name and width, and has no vector.
    """

    name: str
    width: int

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Raises `LookupError`: attach the named encoder first."""
        raise LookupError(f"this model reads vectors of {self.name!r}: attach that encoder first")


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors that were fetched beforehand: float32 [n, width], one row a text, of space `name`."""

    name: str
    rows: Floats

    def unattached(self) -> UnattachedEncoder:
        """What a model fitted on them is stored with."""
        return UnattachedEncoder(self.name, int(self.rows.shape[1]))


def stack(encoded: Sequence[Encoded], like: Encoded) -> EncodedBatch:
    """Many `Encoded` as one batch; `like` gives the shapes when there are none."""
    if not encoded:
        width, readable = len(like.vector), len(like.readable)
        widths = (width, readable, SKETCH_WIDTH)
        vectors, measured, sketches = (np.zeros((0, wide), np.float32) for wide in widths)
        return EncodedBatch(vectors, measured, sketches, ())
    return EncodedBatch(
        np.stack([one.vector for one in encoded]),
        np.stack([one.readable for one in encoded]),
        np.stack([one.sketch for one in encoded]),
        tuple(one.terms for one in encoded),
    )
