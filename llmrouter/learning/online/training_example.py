"""Training examples: what one event taught, as bytes without its text.

Examples survive a crash and reach the other workers, and a later fit can start from them. An
example holds grades of a request, the request's measurements (hashed terms, readable counts) and,
where a choice was compared with its teacher's, that comparison.

Hashed terms can be guessed word by word by a reader who knows the hash, so stored terms go through
a `BucketPermutation`, a permutation of the buckets under a secret key. That hides words from a
reader of the log without the key. It is no encryption: where the key lies in the same store, a
reader of the whole store can undo it. A stored example is validated in full when it is read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b, shake_256
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import (
    BUCKETS,
    FAMILY_BITS,
    READABLE,
    Floats,
    Measured,
    Signals,
)
from llmrouter.learning.encoders.text_encoder import Encoded
from llmrouter.learning.model.quality_model import Example, QualityModel
from llmrouter.learning.trust.agreement_model import NAMES, Comparison

VERSION = 1
_SIZE = struct.Struct("<II")
_FAMILY = 1 << FAMILY_BITS


class ExampleUnreadable(ValueError):
    """Bytes that are no lesson of this version; says why."""


class ExampleKind(StrEnum):
    """Where a lesson's grades come from: the router LLM, a verified answer, or a caller's word."""

    LABEL = "label"
    OUTCOME = "outcome"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """`grades` per target in 0..1, each worth `weight` in (0, 1]; empty without `measured`.

    `vector` (finite numbers, kept in half precision) is what the encoder named `space` gave for the
    text, for an encoder that has to be asked; None for the hashing encoder. `again` tells whether
    the router LLM, asked a second time, agreed with itself.

    `key` names the caller behind it, `author` and `number` the process that wrote it down and its
    running number (0: not written yet), `at` the time, in seconds since the epoch.
    """

    kind: ExampleKind
    task: str
    key: str
    measured: Measured | None = None
    grades: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0
    comparison: Comparison | None = None
    author: str = ""
    number: int = 0
    at: float = 0.0
    space: str = ""
    vector: Floats | None = None
    again: bool | None = None

    def example(self) -> Example:
        """What a fit reads."""
        return Example("", self.grades, self.weight, self.task, self.measured)

    def encoded(self, model: QualityModel) -> Encoded | None:
        """Its request as `model` reads it; None where the model reads another space."""
        if self.measured is None:
            return None
        vector = self.vector if self.space == model.encoder.name else None
        try:
            return model.encode_measured(self.measured, vector)
        except LookupError:
            return None

    def teach(self, model: QualityModel) -> None:
        """Have `model` remember it, where it reads the same space."""
        encoded = self.encoded(model)
        if encoded is not None:
            model.remember(encoded, self.grades, self.weight, self.task or None)

    def to_bytes(self, veil: BucketPermutation | None = None) -> bytes:
        """Two lengths, a JSON head, then terms int32, counts uint16, readable float32, and the
        vector float16."""
        head: dict[str, Any] = {
            "v": VERSION,
            "kind": self.kind.value,
            "task": self.task,
            "key": self.key,
            "grades": self.grades,
            "weight": self.weight,
            "author": self.author,
            "number": self.number,
            "at": self.at,
        }
        if self.again is not None:
            head["again"] = self.again
        if self.comparison is not None:
            comparison = self.comparison
            head["exam"] = [
                comparison.facts,
                comparison.agreed,
                comparison.audited,
                comparison.named,
            ]
        body, terms = b"", 0
        if self.measured is not None:
            signals = self.measured.signals
            head["twins"] = self.measured.near_duplicates
            if veil is not None:
                signals = veil.hide(signals)
            terms = len(signals.terms)
            body = b"".join(
                (
                    signals.terms.astype("<i4").tobytes(),
                    np.minimum(signals.counts, 65535).astype("<u2").tobytes(),
                    signals.readable.astype("<f4").tobytes(),
                )
            )
        if self.vector is not None:
            head["space"] = self.space
            vector = self.vector if veil is None else veil.hide_vector(self.vector)
            body += vector.astype("<f2").tobytes()
        packed = orjson.dumps(head)
        return _SIZE.pack(len(packed), terms) + packed + body

    @classmethod
    def from_bytes(cls, data: bytes, veil: BucketPermutation | None = None) -> TrainingExample:
        """The inverse, under the same veil. Raises `ExampleUnreadable`."""
        try:
            size, terms = _SIZE.unpack_from(data)
            head = orjson.loads(data[_SIZE.size : _SIZE.size + size])
            if head["v"] != VERSION:
                raise ExampleUnreadable(f"version {head['v']} is not {VERSION}")
            body = data[_SIZE.size + size :]
            measured, used = None, 0
            if "twins" in head:
                used = 6 * terms + 4 * len(READABLE)
                signals = _signals(body[:used], terms)
                shown = signals if veil is None else veil.show(signals)
                measured = Measured(shown, (int(head["twins"][0]), int(head["twins"][1])))
            lesson = cls(
                ExampleKind(head["kind"]),
                str(head["task"]),
                str(head["key"]),
                measured,
                {str(target): float(grade) for target, grade in head["grades"].items()},
                float(head["weight"]),
                _exam(head),
                str(head["author"]),
                int(head["number"]),
                float(head["at"]),
                str(head.get("space", "")),
                _vector(body[used:], head, veil),
                bool(head["again"]) if "again" in head else None,
            )
        except ExampleUnreadable:
            raise
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ExampleUnreadable(f"not a lesson: {error}") from error
        fair = all(0 <= grade <= 1 for grade in lesson.grades.values()) and 0 < lesson.weight <= 1
        if not fair or (lesson.grades and measured is None):
            raise ExampleUnreadable("grades are in 0..1, a weight in (0, 1], of something measured")
        return lesson


class BucketPermutation:
    """Permutes hashed terms within their family, and a vector's numbers, some of which change sign,
    under a secret (at most 64 bytes).
    """

    def __init__(self, secret: bytes) -> None:
        self._seed = blake2b(b"lessons", key=secret, digest_size=32).digest()
        self._there = np.argsort(self._numbers(b"terms", _FAMILY), kind="stable").astype(np.int32)
        self._back = np.argsort(self._there).astype(np.int32)

    def hide(self, signals: Signals) -> Signals:
        """The same signals with terms that only this veil can tell."""
        return _moved(signals, self._there)

    def show(self, signals: Signals) -> Signals:
        """What was hidden."""
        return _moved(signals, self._back)

    def hide_vector(self, vector: Floats) -> Floats:
        """The same numbers in another order, and with other signs."""
        order, signs = self._turned(len(vector))
        return (vector * signs).take(order)

    def show_vector(self, hidden: Floats) -> Floats:
        """What was hidden."""
        order, signs = self._turned(len(hidden))
        vector = np.empty_like(hidden)
        vector[order] = hidden
        return vector * signs

    def _turned(self, width: int) -> tuple[NDArray[np.int64], Floats]:
        drawn = self._numbers(b"vector %d" % width, width)
        signs = np.where(drawn & 1, np.float32(1), np.float32(-1))
        return np.argsort(drawn >> 1, kind="stable"), signs

    def _numbers(self, name: bytes, count: int) -> NDArray[np.uint64]:
        """`count` numbers that follow from the secret and `name` alone."""
        return np.frombuffer(shake_256(self._seed + name).digest(8 * count), "<u8")


def _moved(signals: Signals, table: NDArray[np.int32]) -> Signals:
    terms = signals.terms
    moved = table.take(terms & (_FAMILY - 1)) | (terms & ~(_FAMILY - 1))
    order = np.argsort(moved)
    return Signals(
        moved[order].astype(np.int64), signals.counts[order], signals.pairs_from, signals.readable
    )


def _signals(body: bytes, count: int) -> Signals:
    if len(body) != 6 * count + 4 * len(READABLE):
        raise ExampleUnreadable("its measurements have another length than this build's")
    terms = np.frombuffer(body, "<i4", count).astype(np.int64)
    counts = np.frombuffer(body, "<u2", count, 4 * count).astype(np.float32)
    readable = np.frombuffer(body, "<f4", len(READABLE), 6 * count).astype(np.float32)
    rising = bool((np.diff(terms) > 0).all()) and (
        not count or 0 <= terms[0] <= terms[-1] < BUCKETS
    )
    if not rising or not (counts >= 1).all() or not np.isfinite(readable).all():
        raise ExampleUnreadable("its measurements are out of range")
    return Signals(terms, counts, int(np.searchsorted(terms, _FAMILY)), readable)


def _vector(rest: bytes, head: Mapping[str, Any], veil: BucketPermutation | None) -> Floats | None:
    if ("space" in head) != bool(rest):
        raise ExampleUnreadable("its measurements have another length than this build's")
    vector = np.frombuffer(rest, "<f2").astype(np.float32)
    if not np.isfinite(vector).all():
        raise ExampleUnreadable("its vector is out of range")
    if not rest:
        return None
    return vector if veil is None else veil.show_vector(vector)


def _exam(head: Mapping[str, Any]) -> Comparison | None:
    if "exam" not in head:
        return None
    facts, agreed, audited, named = head["exam"]
    told = tuple(float(fact) for fact in facts)
    if len(told) != len(NAMES) or not all(map(math.isfinite, told)):
        raise ExampleUnreadable("its comparison has other facts than this build's")
    whose = str(head["key"]), bool(named)
    return Comparison(str(head["task"]), told, bool(agreed), bool(audited), *whose)
