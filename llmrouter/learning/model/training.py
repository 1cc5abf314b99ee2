"""Fits a preference model from graded examples. Slow; meant for another process.

scipy and scikit-learn are imported inside these functions alone, so the serving process never loads
them. The same settings serve every data set: they were chosen by cross-validation over five. On
outcome files the number of epochs is chosen on each fit's own held-out folds (not on traffic: see
`fit_settings.OF_TRAFFIC`).

Equal examples, settings and seed give an equal model on one machine with one number of BLAS
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import (
    BUCKETS,
    Floats,
    Ints,
    Signals,
    measure,
    near_duplicates,
)
from llmrouter.learning.encoders.similarity_sketch import WIDTH
from llmrouter.learning.encoders.text_encoder import (
    Dense,
    EncodedBatch,
    Encoder,
    HashingEncoder,
    JointEncoder,
    Vectors,
    stack,
)
from llmrouter.learning.model.base_training import (
    Costs,
    Rows,
    fit_base,
    fit_blend,
    row_weights,
)
from llmrouter.learning.model.estimator_blend import Base
from llmrouter.learning.model.fit_settings import FitSettings as FitSettings
from llmrouter.learning.model.knn_memory import KnnMemory
from llmrouter.learning.model.neighbour_correction import NeighbourCorrection, fit_correction
from llmrouter.learning.model.quality_model import Example, Inputs, QualityModel
from llmrouter.learning.model.word_views import WordExamples, numbered, sparse_words
from llmrouter.util.extras import require

Progress = Callable[[str, float], None]


FEW_TERMS = 8_192  # rows of the projection where there is nothing to learn one from
FLAT = 0.01
"""An axis along which dense vectors differ by less, beside their length, is not blown up to unit
variance: what lies there is chance, and more of it in a text that was not fitted on."""
COLD_SHARPNESS, COLD_SHRINK = 8.0, 1.0
"""Without networks and trees there is only the memory, so wider neighbourhoods count."""


def _silent(_stage: str, _share: float) -> None:
    """The default progress callback."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model, and for each example what was estimated without having seen it.

    `held_out` float32 [n, T] in the order of `model.targets`: the evidence for calibrating trust.
    `notes` say what a reader of the figures must know.
    """

    model: QualityModel
    held_out: Floats
    notes: tuple[str, ...] = ()


def fit(
    examples: Sequence[Example],
    settings: FitSettings | None = None,
    *,
    encoder: Dense | Vectors | None = None,
    costs: Costs | None = None,
    seed: int = 0,
    progress: Progress = _silent,
) -> Fitted:
    """Fits on sparse graded examples of any number of data sets at once.

    A hashing encoder is learned from the examples' texts; what `encoder` says of them is read
    beside it. `Vectors` are those of the examples, fetched beforehand. With `costs` and every
    outcome graded, the blend is the one that saves the most on held-out folds. `progress` hears a
    stage's name and its share done, 0..1. Raises `ValueError` for a grade or weight out of range.
    """
    settings = settings or FitSettings()
    if not settings.memory_alone:
        require("learn", "fitting a quality model")
    targets, grades, weights = grade_matrix(examples)
    signals = [_signals(example) for example in examples]
    words = fit_encoder(signals, settings, seed)
    batch = stack([words.project(one) for one in signals], words.encode(""))
    reads: Encoder = words
    if isinstance(encoder, Vectors):
        batch, reads = batch.beside(encoder.rows), JointEncoder(words, encoder.unattached())
    elif encoder is not None:
        batch = batch.beside(encoder.vectors(_texts(examples)))
        reads = JointEncoder(words, encoder)
    progress("encode", 1.0)
    inputs = _fit_inputs(batch, words.width, settings)
    centres = _fit_centres(batch.sketches, settings, seed)
    prior = _prior(grades, weights)
    notes: tuple[str, ...] = ()
    if settings.memory_alone or len(examples) < 2 * settings.folds or not targets:
        base = Base(targets, prior)
        held_out = np.tile(prior, (len(examples), 1))
        correction, sharpness = NeighbourCorrection(COLD_SHRINK, flat=True), COLD_SHARPNESS
    else:
        built = inputs.build(batch.vectors, batch.readable)
        task, tasks = numbered([example.task for example in examples])
        seen = WordExamples(
            sparse_words(batch.terms, len(words.rarity)), grades, weights, task, tasks
        )
        fold = _folds(examples, settings.folds)
        rows = Rows(built, seen, batch.terms, fold)
        blended = fit_blend(rows, prior, settings, costs, seed, progress)
        held_out, notes, sharpness = blended.held_out, blended.notes, settings.sharpness
        base = fit_base(targets, rows, prior, blended, seed, lambda share: progress("fit", share))
        correction = fit_correction(
            batch.sketches, grades - held_out, weights, fold, settings.shrink
        )
    memory = KnnMemory(centres, len(targets), settings.capacity, sharpness)
    model = QualityModel(reads, inputs, base, memory, correction)
    worth = row_weights(weights)
    for row in range(max(0, len(examples) - settings.capacity), len(examples)):
        known = np.where(weights[row] > 0, grades[row], np.float32(np.nan))
        memory.add(batch.sketches[row], known, held_out[row], float(worth[row]), fitted=True)
    progress("remember", 1.0)
    return Fitted(model, held_out, notes)


def grade_matrix(examples: Sequence[Example]) -> tuple[tuple[str, ...], Floats, Floats]:
    """Targets (sorted), grades [n, T] and weights [n, T]; a weight of 0 marks no grade."""
    targets = tuple(sorted({target for example in examples for target in example.grades}))
    column = {target: number for number, target in enumerate(targets)}
    grades = np.zeros((len(examples), len(targets)), np.float32)
    weights = np.zeros_like(grades)
    for row, example in enumerate(examples):
        for target, grade in example.grades.items():
            given = example.weights
            weight = given if isinstance(given, (int, float)) else given.get(target, 1.0)
            if not (0 <= grade <= 1 and 0 <= weight <= 1):
                raise ValueError(
                    f"grade {grade!r} or weight {weight!r} of {target!r} is not in 0..1"
                )
            grades[row, column[target]] = grade
            weights[row, column[target]] = weight
    return targets, grades, weights


def fit_encoder(signals: Sequence[Signals], settings: FitSettings, seed: int) -> HashingEncoder:
    """Learns which terms to keep, their rarity, and their projection (truncated SVD).

    Too few texts to learn from give a fixed random projection, which still tells texts apart.
    """
    terms = np.concatenate([one.terms for one in signals]) if signals else np.zeros(0, np.int64)
    seen = np.bincount(terms, minlength=BUCKETS)
    kept = np.flatnonzero(seen >= 2)
    if len(kept) > settings.vocabulary:
        order = np.argsort(-seen[kept], kind="stable")[: settings.vocabulary]
        kept = np.sort(kept[order])
    width = settings.width
    if settings.memory_alone or len(signals) < 3 * width or len(kept) < 3 * width:
        return _random_encoder(width, min(settings.vocabulary, FEW_TERMS), seed)
    rows = np.zeros(BUCKETS, np.uint16)
    rows[kept] = np.arange(1, len(kept) + 1)
    rarity = np.zeros(len(kept) + 1, np.float32)
    rarity[1:] = np.log((1 + len(signals)) / (1 + seen[kept])) + 1
    loadings = _loadings(signals, rows, rarity, width, seed)
    top = np.abs(loadings).max(axis=1)
    top[top == 0] = 1
    table = np.rint(loadings * (127 / top)[:, None]).astype(np.int8)
    return HashingEncoder(rows, rarity, (top / 127).astype(np.float32), table)


def _random_encoder(width: int, vocabulary: int, seed: int) -> HashingEncoder:
    random = np.random.default_rng(seed)
    table = random.integers(-127, 128, (vocabulary + 1, width), dtype=np.int8)
    table[0] = 0
    rows = (1 + np.arange(BUCKETS) % vocabulary).astype(np.uint16)
    flat = np.ones(vocabulary + 1, np.float32)
    return HashingEncoder(rows, flat, (flat / 73).astype(np.float32), table)


def _loadings(
    signals: Sequence[Signals], rows: NDArray[np.uint16], rarity: Floats, width: int, seed: int
) -> Floats:
    """Term loadings [terms + 1, width] whose projections have unit variance."""
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    identity = HashingEncoder(
        rows, rarity, np.ones_like(rarity), np.zeros((len(rarity), 1), np.int8)
    )
    parts = [identity.term_weights(one) for one in signals]
    bounds = np.cumsum([0] + [len(part[0]) for part in parts])
    matrix = csr_matrix(
        (np.concatenate([p[1] for p in parts]), np.concatenate([p[0] for p in parts]), bounds),
        shape=(len(signals), len(rarity)),
    )
    _, _, components = randomized_svd(matrix, width, n_iter=3, random_state=seed)
    projected = matrix @ components.T
    size = np.sqrt((projected**2).mean(axis=0)) + 1e-9
    return np.asarray(components.T / size, np.float32)


def _fit_inputs(batch: EncodedBatch, words: int, settings: FitSettings) -> Inputs:
    """A dense vector, which comes after `words` numbers, is told by its leading axes."""
    count = len(batch)
    readable = batch.readable
    centre = readable.mean(axis=0) if count else np.zeros(readable.shape[1], np.float32)
    spread = readable.std(axis=0) + 1e-3 if count else np.ones(readable.shape[1], np.float32)
    basis = shift = None
    width, dense = batch.vectors.shape[1], batch.vectors[:, words:]
    leading = min(dense.shape[1], settings.width, count // 2)
    if leading:
        shift = dense.mean(axis=0)
        axes, sizes = _principal(dense - shift, leading)
        least = FLAT * np.sqrt((dense**2).sum(axis=1).mean()) + 1e-9
        basis = (axes / np.maximum(sizes, least)).astype(np.float32)
        width = words + leading
    return Inputs(
        centre.astype(np.float32),
        spread.astype(np.float32),
        width + readable.shape[1],
        basis,
        shift,
    )


def _principal(values: Floats, count: int) -> tuple[Floats, Floats]:
    """The leading `count` axes [d, count] of centred values [n, d] and their deviations."""
    covariance = values.T.astype(np.float64) @ values / max(len(values), 1)
    sizes, axes = np.linalg.eigh(covariance)
    order = np.argsort(-sizes)[:count]
    return axes[:, order].astype(np.float32), np.sqrt(np.maximum(sizes[order], 0)).astype(
        np.float32
    )


def _fit_centres(keys: Floats, settings: FitSettings, seed: int) -> Floats:
    """Centres of the memory's lists: clusters of the keys, then random directions."""
    random = np.random.default_rng(seed)
    learned = 0 if settings.memory_alone else min(settings.lists, len(keys) // 16)
    centres = np.zeros((0, WIDTH), np.float32)
    if learned >= 2:
        from sklearn.cluster import MiniBatchKMeans

        means = MiniBatchKMeans(
            learned, random_state=seed, n_init=1, batch_size=4096, max_iter=20, compute_labels=False
        ).fit(keys)
        centres = means.cluster_centers_.astype(np.float32)
    extra = random.normal(size=(settings.lists - len(centres), WIDTH))
    centres = np.concatenate((centres, extra.astype(np.float32)))
    norm = np.sqrt((centres**2).sum(axis=1, keepdims=True))
    return np.asarray(centres / np.maximum(norm, 1e-9), np.float32)


def _prior(grades: Floats, weights: Floats) -> Floats:
    mass = weights.sum(axis=0)
    return np.asarray(((grades * weights).sum(axis=0) + 1) / (mass + 2), np.float32)


def folds_of(texts: Sequence[str], folds: int) -> Ints:
    """A fold per text; texts that open alike share one, so that twins are held out together.

    Where a template makes most of them open alike, and one fold would hold most of the rest's
    evidence, folds go by the whole text.
    """
    return _balanced([near_duplicates(text) for text in texts], folds)


def _folds(examples: Sequence[Example], folds: int) -> Ints:
    return _balanced(
        [e.measured.near_duplicates if e.measured else near_duplicates(e.text) for e in examples],
        folds,
    )


def _balanced(groups: Sequence[tuple[int, int]], folds: int) -> Ints:
    by_opening, by_whole = np.array(groups, np.int64).reshape(-1, 2).T % folds
    even = np.bincount(by_opening, minlength=folds).max(initial=0)
    return by_opening if even <= len(groups) * (1 + 1 / folds) / 2 else by_whole


def _texts(examples: Sequence[Example]) -> list[str]:
    if any(example.measured is not None for example in examples):
        raise ValueError("measurements without their texts fit with no encoder that reads texts")
    return [example.text for example in examples]


def _signals(example: Example) -> Signals:
    return measure(example.text) if example.measured is None else example.measured.signals
