"""The preference model: for each target, the probability that it answers this request well.

A frozen estimator (networks and trees over encoded text) gives a base estimate that is comparable
across targets, and a neighbour memory corrects it with graded outcomes as they arrive. A live
request grades one target only, so no full row of grades is assumed.

Fitting is elsewhere (`training`), and so is I/O (`storage`). Only the memory changes, by
`remember`, and it is bounded. One thread writes; readers on that thread need no lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Measured
from llmrouter.learning.encoders.text_encoder import (
    Dense,
    Encoded,
    EncodedBatch,
    Encoder,
    HashingEncoder,
    JointEncoder,
    UnattachedEncoder,
)
from llmrouter.learning.model.cold_start import DOUBT, ColdStartEstimate
from llmrouter.learning.model.estimator_blend import Base, BlendWeights
from llmrouter.learning.model.knn_memory import KnnMemory, Neighbours
from llmrouter.learning.model.mlp import Network
from llmrouter.learning.model.neighbour_correction import NeighbourCorrection
from llmrouter.learning.model.storage import Arrays, ModelUnreadable, pack, unpack
from llmrouter.learning.model.tree_ensemble import Forest
from llmrouter.learning.model.word_views import WordViews

CLIP = np.float32(4)
VECTOR_SHARE = np.float32(0.5)
LOWEST, HIGHEST = np.float32(0.001), np.float32(0.999)


@dataclass(frozen=True, slots=True)
class Example:
    """One graded request: `grades` per target in 0..1, any subset of the targets.

    `weights` says how much each grade is worth (1: an outcome that was checked); one number or one
    per graded target. `task` is the request's declared task, if any. Where the text is not kept,
    `measured` stands for it; a fit then learns its own (hashing) encoder.
    """

    text: str
    grades: Mapping[str, float]
    weights: Mapping[str, float] | float = 1.0
    task: str | None = None
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is expected of each target for one request; every array is in the order of `targets`.

    `quality` float32: probability in 0..1 that the target satisfies the request. `uncertainty`
    float32:
    standard deviation of the ensemble's opinions. `support` float32: graded near neighbours of
    this target, each counting for how near it is. `known` bool: False where the target was not in
    the fit and `quality` is a prior. `nearest`: cosine of the nearest remembered request.
    """

    targets: tuple[str, ...]
    quality: Floats
    uncertainty: Floats
    support: Floats
    known: NDArray[np.bool_]
    nearest: float


@dataclass(frozen=True, slots=True)
class Inputs:
    """From encodings to the estimator's inputs [width].

    `centre`, `spread` [R] standardise the readable measurements; `basis` [w, v] and `shift` [w]
    reduce a dense encoder's vector, the last w numbers of an encoding's (None: all are taken as
    they are). `width` is the length of an input.
    """

    centre: Floats
    spread: Floats
    width: int
    basis: Floats | None = None
    shift: Floats | None = None

    def build(self, vectors: Floats, readable: Floats) -> Floats:
        """Inputs [n, d] of n encodings (or [d] of one)."""
        if self.basis is not None and self.shift is not None:
            words = vectors.shape[-1] - len(self.shift)
            dense = (vectors[..., words:] - self.shift) @ self.basis
            vectors = np.concatenate((vectors[..., :words], dense), axis=-1, dtype=np.float32)
        measured = np.minimum(np.maximum((readable - self.centre) / self.spread, -CLIP), CLIP)
        return np.concatenate((vectors * VECTOR_SHARE, measured), axis=-1)


class _Place(NamedTuple):
    """Where targets are among `columns` columns: `at` (-1: nowhere), which are `here` at all, which
    are `known` to the fit, and whether that is the `whole` of them."""

    targets: tuple[str, ...]
    columns: int
    at: NDArray[np.int64]
    here: NDArray[np.bool_]
    known: NDArray[np.bool_]
    whole: bool


class QualityModel:
    """A frozen `base` and a growing, bounded `memory`. See `Estimates` for what it answers."""

    SPARE_TARGETS = 16
    """Targets that a catalog edit may add before the next refit; more are priors without memory."""

    def __init__(
        self,
        encoder: Encoder,
        inputs: Inputs,
        base: Base,
        memory: KnnMemory,
        correction: NeighbourCorrection | None = None,
    ) -> None:
        self.encoder = encoder
        self.inputs = inputs
        self.base = base
        self.memory = memory
        self.correction = correction or NeighbourCorrection()
        self.columns = {target: column for column, target in enumerate(base.targets)}
        self._placed: _Place | None = None
        self.heirs: Mapping[str, ColdStartEstimate] = {}
        """What to expect of targets outside the fit (see `prior`); the mean of all without."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it was fitted on."""
        return self.base.targets

    def encode(self, text: str) -> Encoded:
        """Encodes one text with this model's encoder."""
        return self.encoder.encode(text)

    def encode_measured(self, measured: Measured, vector: Floats | None = None) -> Encoded:
        """Encodes what was measured earlier. Where a dense encoder is read, `vector` is what that
        said of the text; raises `LookupError` without it.
        """
        if isinstance(self.encoder, JointEncoder):
            return self.encoder.project(measured.signals, vector)
        return self.encoder.project(measured.signals)

    def graded(self, encoded: Encoded, least: float = 1.0) -> dict[str, float]:
        """Mean grades (0..1) remembered of this very request, other clothes allowed, per target.

        Only grades worth `least` or more count.
        """
        grades = self.memory.same(encoded.sketch, least).tolist()
        return {name: grades[at] for name, at in self.columns.items() if grades[at] >= 0}

    def estimate(
        self, text: str | Encoded, targets: Sequence[str], task: str | None = None
    ) -> Estimates:
        """Estimates each of `targets` for one request; the order is kept.

        `task` is the one that the request declares; without it the words tell.
        """
        encoded = self.encoder.encode(text) if isinstance(text, str) else text
        quality, uncertainty = self._base(encoded, task)
        place = self._place(targets)
        wide, unsure = self._widen(quality, uncertainty, place)
        found = self.memory.look(encoded.sketch, self.correction)
        final, support = self._corrected(wide, place, found)
        return Estimates(place.targets, final, unsure, support, place.known, found.nearest)

    def estimate_many(
        self,
        texts: Sequence[str] | EncodedBatch,
        targets: Sequence[str],
        tasks: Sequence[str | None] | None = None,
    ) -> Floats:
        """Quality float32 [n, T] for n texts, as `estimate` gives it one by one."""
        batch = texts if isinstance(texts, EncodedBatch) else self.encoder.encode_many(texts)
        inputs = self.inputs.build(batch.vectors, batch.readable)
        quality, uncertainty = self.base.estimate(inputs, batch.terms, tasks)
        place = self._place(targets)
        out = np.zeros((len(batch), len(place.at)), np.float32)
        for row in range(len(batch)):
            wide, _ = self._widen(quality[row], uncertainty[row], place)
            found = self.memory.look(batch.sketches[row], self.correction)
            out[row], _ = self._corrected(wide, place, found)
        return out

    def remember(
        self,
        encoded: Encoded,
        grades: Mapping[str, float],
        weight: float = 1.0,
        task: str | None = None,
    ) -> None:
        """Adds one graded request; it counts from the next `estimate` on.

        `grades` in 0..1 for any targets, new ones included. `weight` in (0, 1] is what the grades
        are worth. Raises `ValueError` for a grade or weight outside its range.
        """
        if not 0 < weight <= 1 or not all(0 <= grade <= 1 for grade in grades.values()):
            raise ValueError("grades are in 0..1 and a weight is in (0, 1]")
        at = [column for target in grades if (column := self._column(target)) >= 0]
        bases, _ = self._widen(*self._base(encoded, task), self._place(list(self.columns)))
        row = np.full(len(self.columns), np.nan, np.float32)
        row[at] = [grade for target, grade in grades.items() if target in self.columns]
        apart = row - bases
        for kind, band, pull, known in self.memory.pulls(encoded.sketch, self.correction.shrink):
            both = (known > 0) & ~np.isnan(row)
            self.correction.learn(kind, band, pull[both], apart[both])
        self.memory.add(encoded.sketch, row, bases, weight)

    def _base(self, encoded: Encoded, task: str | None) -> tuple[Floats, Floats]:
        """The frozen part's quality and uncertainty, both [T], for one request."""
        inputs = self.inputs.build(encoded.vector, encoded.readable)
        quality, uncertainty = self.base.estimate(inputs[None], (encoded.terms,), (task,))
        return quality[0], uncertainty[0]

    def _place(self, targets: Sequence[str]) -> _Place:
        """Where `targets` are; requests in a row mostly ask for the same."""
        names, columns = tuple(targets), len(self.columns)
        place = self._placed
        if place is None or place.targets != names or place.columns != columns:
            at = np.array([self.columns.get(target, -1) for target in names], np.int64)
            known = (at >= 0) & (at < len(self.targets))
            known.flags.writeable = False  # it is handed out
            place = self._placed = _Place(names, columns, at, at >= 0, known, bool(known.all()))
        return place

    def _corrected(self, wide: Floats, place: _Place, found: Neighbours) -> tuple[Floats, Floats]:
        """Base qualities at `place` moved by what neighbours showed, and their support."""
        if not found.any:
            return np.minimum(np.maximum(wide, LOWEST), HIGHEST), np.zeros_like(wide)
        moves, support = found.moves.take(place.at), found.support.take(place.at)
        if not place.whole:
            moves, support = moves * place.here, support * place.here
        return np.minimum(np.maximum(wide + moves, LOWEST), HIGHEST), support

    def _column(self, target: str) -> int:
        """The column of a target, made for a new one while there is room; -1 where there is not."""
        column = self.columns.get(target)
        if column is None:
            if len(self.columns) >= len(self.targets) + self.SPARE_TARGETS:
                return -1
            column = self.columns[target] = len(self.columns)
            self.memory.widen(len(self.columns))
        return column

    def _widen(self, quality: Floats, uncertainty: Floats, place: _Place) -> tuple[Floats, Floats]:
        """Base quality and doubt at `place`; a target outside the fit gets what an heir gets."""
        at, inside = place.at, place.known
        if not self.targets:
            half = np.full(len(at), 0.5, np.float32)
            return half, half * np.float32(0.5)
        if place.whole:
            return quality.take(at), uncertainty.take(at)
        safe = np.where(inside, at, 0)
        mean = quality.mean(dtype=np.float32)
        wide = np.where(inside, quality[safe], mean)
        unsure = np.where(inside, uncertainty[safe], np.float32(DOUBT))
        for number in np.flatnonzero(~inside).tolist():
            if (heir := self.heirs.get(place.targets[number])) is not None:
                wide[number], unsure[number] = heir.expect(quality)
        return wide, unsure

    def to_bytes(self) -> bytes:
        """Everything but a dense encoder, as versioned bytes (see `storage`)."""
        base, inputs, memory = self.base, self.inputs, self.memory
        arrays: Arrays = {
            "prior": base.prior,
            "centre": inputs.centre,
            "spread": inputs.spread,
        }
        if inputs.basis is not None and inputs.shift is not None:
            arrays |= {"basis": inputs.basis, "shift": inputs.shift}
        words = self.encoder if isinstance(self.encoder, HashingEncoder) else self.encoder.hashing
        arrays |= {f"encoder_{name}": array for name, array in words.arrays().items()}
        for part, value in (("network", base.network), ("forest", base.forest)):
            if value is not None:
                arrays |= {f"{part}_{f}": np.asarray(getattr(value, f)) for f in value.__slots__}
        if base.words is not None and base.weights is not None:
            views, weights = base.words, base.weights
            arrays |= {f"words_{f}": getattr(views, f) for f in ("table", "scale", "odds", "means")}
            arrays |= {"blend_inferred": weights.inferred, "blend_declared": weights.declared}
        arrays["correction"] = self.correction.sums
        arrays |= {f"memory_{name}": array for name, array in memory.arrays().items()}
        meta = {
            "encoder": self.encoder.name,
            "width": self.encoder.width,
            "inputs": inputs.width,
            "targets": list(base.targets),
            "columns": list(self.columns),
            "tasks": list(base.words.tasks) if base.words is not None else [],
            "shrink": self.correction.shrink,
            "flat": self.correction.flat,
            "capacity": memory.capacity,
            "sharpness": memory.sharpness,
        }
        return pack(meta, arrays)

    @classmethod
    def from_bytes(cls, data: bytes, dense: Dense | None = None, *, at: int = 0) -> QualityModel:
        """Restores the model whose bytes begin `at`. One fitted on a dense encoder needs that.

        Without it the model still answers for ready `Encoded` values. Raises `ModelUnreadable`
        for damaged or foreign bytes, and where `dense` is not the one the model was fitted on.
        """
        meta, arrays = unpack(data, at)
        try:
            return _restore(cls, meta, arrays, dense)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelUnreadable(f"the stored parts do not fit together: {error}") from error


def _restore(
    kind: type[QualityModel], meta: dict[str, Any], arrays: Arrays, dense: Dense | None
) -> QualityModel:
    def part(name: str) -> Arrays:
        return {key[len(name) + 1 :]: a for key, a in arrays.items() if key.startswith(f"{name}_")}

    encoder: Encoder
    name, width = str(meta["encoder"]), int(meta["width"])
    if "encoder_table" not in arrays:
        raise ModelUnreadable(f"fitted on vectors of {name!r} without the words: fit it again")
    encoder = hashing = HashingEncoder.from_arrays(part("encoder"))
    if name != hashing.name or dense is not None:
        dense = dense or UnattachedEncoder(name, width - hashing.width)
        encoder = JointEncoder(hashing, dense)
    if (encoder.name, encoder.width) != (name, width):
        raise ValueError(f"fitted on {name!r} [{width}], not {encoder.name!r} [{encoder.width}]")
    whole: dict[str, Any] = arrays
    reduced = whole.get("basis"), whole.get("shift")
    inputs = Inputs(whole["centre"], whole["spread"], int(meta["inputs"]), *reduced)
    network, forest = part("network"), part("forest")
    restored: dict[str, Any] = {**forest, "depth": int(forest["depth"])} if forest else {}
    base = Base(
        tuple(meta["targets"]),
        whole["prior"],
        Network(**network) if network else None,  # type: ignore[arg-type]
        Forest(**restored) if restored else None,
        *_restored_views(meta, arrays),
    )
    stored = part("memory")
    centres: Any = stored["centres"]
    memory = KnnMemory(
        centres, stored["grades"].shape[1], int(meta["capacity"]), float(meta["sharpness"])
    )
    memory.load(stored)
    correction = NeighbourCorrection(float(meta["shrink"]), bool(meta.get("flat", not network)))
    if "correction" in whole:
        correction = replace(correction, sums=whole["correction"].astype(np.float64))
    model = kind(encoder, inputs, base, memory, correction)
    model.columns = {str(target): column for column, target in enumerate(meta["columns"])}
    return model


def _restored_views(
    meta: dict[str, Any], arrays: Arrays
) -> tuple[WordViews | None, BlendWeights | None]:
    """The words' views and the blend; a model of an older version has neither."""
    stored: dict[str, Any] = arrays
    if "words_table" not in stored:
        return None, None
    parts = (stored[f"words_{name}"] for name in ("table", "scale", "odds", "means"))
    table, scale, odds, means = parts
    tasks = tuple(str(task) for task in meta["tasks"])
    if table.dtype != np.int8 or table.shape[1] != len(scale) != means.shape[1] + len(tasks):
        raise ValueError("the words' views have the wrong shape")
    views = WordViews(table, scale, tasks, odds, means)
    return views, BlendWeights(stored["blend_inferred"], stored["blend_declared"])
