"""Fits a preference model from graded examples. Slow; meant for another process.

Why it exists: everything that needs scipy or scikit-learn happens here, inside functions, so the
serving process never imports them. The same settings serve every data set: they were chosen by
cross-validation over five; on outcome files, how long the networks are fitted is chosen on each
fit's own held-out folds (not on traffic: see `OF_TRAFFIC`).

What it refuses: no tuning on what is tested, no unseeded randomness. Equal examples, settings and
seed give an equal model on the same machine with the same number of BLAS threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

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
from llmrouter.learning.model.knn_memory import KnnMemory
from llmrouter.learning.model.mlp import NetworkSettings, fit_network
from llmrouter.learning.model.quality_model import (
    Base,
    Example,
    Inputs,
    NeighbourCorrection,
    QualityModel,
)
from llmrouter.learning.model.tree_ensemble import Forest, flatten
from llmrouter.util.extras import require

Progress = Callable[[str, float], None]


FEW_TERMS = 8_192  # rows of the projection where there is nothing to learn one from
FLAT = 0.01
"""An axis along which dense vectors differ by less, beside their length, is not blown up to unit
variance: what lies there is chance, and more of it in a text that was not fitted on."""
COLD_SHARPNESS, COLD_PULL = 8.0, NeighbourCorrection(1.0, 1.0)
"""Without networks and trees there is only the memory, so wider neighbourhoods count."""


def _silent(_stage: str, _share: float) -> None:
    """The default progress callback."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """One configuration for every data set.

    `width`: vector length; `vocabulary`: kept terms; `trees`, `leaf`, `depth`: the forest;
    `folds`: held-out folds for calibration and the memory's residuals; `lists`, `capacity`,
    `sharpness`, `gain`, `shrink`: the memory; `blend`: the networks' share; `memory_alone`: neither
    networks nor trees, for which numpy is enough. Few examples make few steps an epoch: where it
    errs less on the folds, the networks are fitted for up to `epochs`, as far as that is no more
    than `steps` steps.
    """

    width: int = 128
    vocabulary: int = 32_000
    network: NetworkSettings = field(default_factory=NetworkSettings)
    trees: int = 100
    leaf: int = 5
    depth: int = 14
    features: float = 0.3
    blend: float = 0.5
    memory_alone: bool = False
    epochs: int = 40
    steps: int = 1000
    folds: int = 3
    lists: int = 256
    capacity: int = 50_000
    sharpness: float = 80.0
    gain: float = 1.0
    shrink: float = 0.3


OF_TRAFFIC = FitSettings(epochs=0)
"""For lessons of live traffic: a repeat in other words may stand in two folds, which makes a long
fit look better than it is. Replayed, it was never better, once worse, and took twice as long."""

MEMORY_ALONE = replace(OF_TRAFFIC, memory_alone=True)
"""For lessons of live traffic where scikit-learn is not installed: the neighbour memory alone."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model, and for each example what was estimated without having seen it.

    `held_out` float32 [n, T] in the order of `model.targets`: the evidence for calibrating trust.
    """

    model: QualityModel
    held_out: Floats


def fit(
    examples: Sequence[Example],
    settings: FitSettings | None = None,
    *,
    encoder: Dense | Vectors | None = None,
    seed: int = 0,
    progress: Progress = _silent,
) -> Fitted:
    """Fits on sparse graded examples of any number of data sets at once.

    A hashing encoder is learned from the examples' texts; what `encoder` says of them is read
    beside it. `Vectors` are those of the examples, fetched beforehand. `progress` hears a stage's
    name and its share done, 0..1. Raises `ValueError` for a grade or weight out of range.
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
    built = inputs.build(batch.vectors, batch.readable)
    centres = _fit_centres(batch.sketches, settings, seed)
    prior = _prior(grades, weights)
    if settings.memory_alone or len(examples) < 2 * settings.folds or not targets:
        base = Base(targets, prior)
        held_out = np.tile(prior, (len(examples), 1))
    else:
        held_out, settings = _held_out(
            built, grades, weights, _folds(examples, settings.folds), settings, seed, progress
        )
        base = _fit_base(
            targets, built, grades, weights, settings, seed, lambda s: progress("fit", s)
        )
    sharpness, pull = settings.sharpness, NeighbourCorrection(settings.gain, settings.shrink)
    if base.network is None:
        sharpness, pull = COLD_SHARPNESS, COLD_PULL
    memory = KnnMemory(centres, len(targets), settings.capacity, sharpness)
    model = QualityModel(reads, inputs, base, memory, pull)
    row_weights = _row_weights(weights)
    for row in range(max(0, len(examples) - settings.capacity), len(examples)):
        known = np.where(weights[row] > 0, grades[row], np.float32(np.nan))
        memory.add(batch.sketches[row], known, held_out[row], float(row_weights[row]))
    progress("remember", 1.0)
    return Fitted(model, held_out)


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


def _row_weights(weights: Floats) -> Floats:
    graded = (weights > 0).sum(axis=1)
    return np.asarray(weights.sum(axis=1) / np.maximum(graded, 1), np.float32)


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


def _held_out(
    built: Floats,
    grades: Floats,
    weights: Floats,
    fold: Ints,
    settings: FitSettings,
    seed: int,
    progress: Progress,
) -> tuple[Floats, FitSettings]:
    """What folds that did not see a row estimate for it, and the settings that erred less there."""
    names = tuple(str(number) for number in range(grades.shape[1]))
    tried: list[tuple[float, Floats, FitSettings]] = []
    variants = _variants(settings, len(built))
    for at, variant in enumerate(variants):
        held_out = np.tile(_prior(grades, weights), (len(built), 1))
        for number in range(settings.folds):
            test, rest = fold == number, fold != number
            if test.any() and rest.sum() > 1:
                base = _fit_base(names, built[rest], grades[rest], weights[rest], variant, seed)
                held_out[test] = base.estimate(built[test])[0]
            progress("hold out", (at + (number + 1) / settings.folds) / len(variants))
        tried.append((float((weights * (grades - held_out) ** 2).sum()), held_out, variant))
    _, held_out, chosen = min(tried, key=lambda one: one[0])
    return held_out, chosen


def _variants(settings: FitSettings, examples: int) -> list[FitSettings]:
    """The settings, and with few examples also with more epochs."""
    network = settings.network
    epochs = min(settings.epochs, -(-settings.steps * network.batch // examples))
    return [
        replace(settings, network=replace(network, epochs=count))
        for count in sorted({network.epochs, max(network.epochs, epochs)})
    ]


def _fit_base(
    targets: tuple[str, ...],
    built: Floats,
    grades: Floats,
    weights: Floats,
    settings: FitSettings,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Base:
    network = fit_network(built, grades, weights, settings.network, seed, lambda s: progress(s / 2))
    guess = network.members(built).mean(axis=0)
    trust = np.minimum(weights, 1)
    filled = trust * grades + (1 - trust) * guess
    forest = _fit_forest(built, filled, _row_weights(weights), settings, seed)
    progress(1.0)
    return Base(targets, _prior(grades, weights), network, forest, settings.blend)


def _fit_forest(
    built: Floats, filled: Floats, row_weights: Floats, settings: FitSettings, seed: int
) -> Forest:
    from sklearn.ensemble import ExtraTreesRegressor

    leaf = max(settings.leaf, len(built) // 2400)
    trees = ExtraTreesRegressor(
        settings.trees,
        min_samples_leaf=leaf,
        max_features=settings.features,
        max_depth=settings.depth,
        random_state=seed,
    ).fit(
        built,
        filled if filled.shape[1] > 1 else filled[:, 0],
        sample_weight=np.maximum(row_weights, 1e-3),
    )
    return flatten([tree.tree_ for tree in trees.estimators_])
