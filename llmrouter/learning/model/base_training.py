"""Fits the estimator's views, and how much each is worth, on out-of-fold estimates.

Each fold is estimated by views that have not seen it. From these estimates follow the blend's
weights, how long the networks are fitted, whether tasks may be read at all, the memory's residuals
and the evidence for calibrating trust. Then every view is fitted once more on all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Ints
from llmrouter.learning.encoders.text_encoder import Terms
from llmrouter.learning.model.estimator_blend import (
    DECLARED,
    INFERRED,
    NEUTRAL,
    Base,
    BlendWeights,
    blended,
    fit_weights,
)
from llmrouter.learning.model.fit_settings import FitSettings
from llmrouter.learning.model.mlp import fit_network
from llmrouter.learning.model.tree_ensemble import Forest, flatten
from llmrouter.learning.model.word_views import WordExamples, fit_word_views, is_leaky

Matrix = NDArray[np.float64]
Progress = Callable[[str, float], None]

LEVELS = 1.0, 0.0
"""How much errors in a row's mean may count in the blend (see `fit_weights`): where costs are
known, the one that saves more is chosen."""
SLACK = np.linspace(0.0, 0.02, 11)
PRICES = np.concatenate(([0.0], np.geomspace(1e-3, 1e2, 61)))


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples as the views read them: `built` float32 [n, d], the weighted words, each one's
    `terms`, and the `fold` [n] in which it is held out.
    """

    built: Floats
    words: WordExamples
    terms: Sequence[Terms]
    fold: Ints


@dataclass(frozen=True, slots=True)
class Costs:
    """What choices cost, for choosing the blend by what it saves: `expected` and `realised` float64
    [n, T] of the examples, targets in sorted order.
    """

    expected: Matrix
    realised: Matrix


@dataclass(frozen=True, slots=True)
class FittedBlend:
    """`held_out` float32 [n, T]: what the blend estimates for each example out of fold.

    `settings` are those whose networks erred less there. `tasks`: whether tasks are read.
    """

    held_out: Floats
    weights: BlendWeights
    settings: FitSettings
    tasks: bool
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Views:
    """Out-of-fold estimates [n, T] of each view; `told` [n] is the task that words tell."""

    prior: Floats
    network: Floats
    trees: Floats
    ridge: Floats
    inferred: Floats
    declared: Floats
    told: Ints


def fit_blend(
    rows: Rows,
    prior: Floats,
    settings: FitSettings,
    costs: Costs | None,
    seed: int,
    progress: Progress,
) -> FittedBlend:
    """Holds out each fold in turn, and fits the blend on what was estimated for it."""
    words = rows.words
    views = _word_views_held_out(rows, prior, settings.folds)
    notes: tuple[str, ...] = ()
    tasks = bool(words.tasks)
    if tasks:
        leaky, by_outcomes, by_words = is_leaky(words, rows.fold, views.told)
        if leaky:
            tasks = False
            notes = (
                f"task labels are not read: outcomes tell {by_outcomes:.0%} of them and words "
                f"{by_words:.0%}, so they were made from outcomes",
            )
    start = INFERRED if tasks else NEUTRAL
    settings = _hold_out_networks_and_trees(views, rows, start, settings, seed, progress)
    known = words.task >= 0
    found: list[tuple[float, Floats, BlendWeights]] = []
    for level in LEVELS if costs is not None and (words.weights == 1).all() else LEVELS[:1]:
        inferred = [views.network, views.trees, views.ridge, views.inferred]
        weights = fit_weights(inferred, prior, words.grades, words.weights, start, level=level)
        held_out = blended(inferred, prior, weights)
        declared = weights
        if tasks:
            told = [*inferred[:3], views.declared]
            some = [view[known] for view in told]
            declared = fit_weights(
                some, prior, words.grades[known], words.weights[known], DECLARED, level=level
            )
            held_out[known] = blended(some, prior, declared)
        saved = average_saving(held_out, words.grades, costs) if costs is not None else 0.0
        bounded = np.clip(held_out, 0.0, 1.0).astype(np.float32)
        found.append((saved, bounded, BlendWeights(weights, declared)))
    _, held_out, chosen = max(found, key=lambda one: one[0])
    return FittedBlend(held_out, chosen, settings, tasks, notes)


def average_saving(quality: Floats, grades: Floats, costs: Costs) -> float:
    """The share of the best single target's cost that is saved at its score less 0 to 2 points.

    Averaged over these, because what is saved at an equal score jumps with a single row.
    """
    scale = float(costs.expected.mean(axis=0).max())
    if not scale > 0:
        return 0.0
    penalties = costs.expected / scale
    best = int(grades.mean(axis=0).argmax())
    least, dearest = float(grades[:, best].mean()), float(costs.realised[:, best].mean())
    every = np.arange(len(quality))
    choices = [(quality - price * penalties).argmax(axis=1) for price in PRICES]
    score = np.array([grades[every, one].mean() for one in choices])
    cost = np.array([costs.realised[every, one].mean() for one in choices])
    paid = [min(cost[score >= least - slack - 1e-9], default=dearest) for slack in SLACK]
    return float(1 - np.minimum(paid, dearest).mean() / max(dearest, 1e-12))


def fit_base(
    targets: tuple[str, ...],
    rows: Rows,
    prior: Floats,
    blend: FittedBlend,
    seed: int,
    progress: Callable[[float], None],
) -> Base:
    """Fits every view on all examples."""
    words, settings = rows.words, blend.settings
    network = fit_network(
        rows.built,
        words.grades,
        words.weights,
        settings.network,
        seed,
        lambda share: progress(share / 2),
    )
    guess = network.members(rows.built).mean(axis=0)
    forest = _fit_forest(rows.built, words, guess, settings, seed)
    views = fit_word_views(words if blend.tasks else words.untold(), prior)
    progress(1.0)
    return Base(targets, prior, network, forest, views, blend.weights)


def _word_views_held_out(rows: Rows, prior: Floats, folds: int) -> _Views:
    shape = rows.words.grades.shape
    network, trees, ridge, inferred, declared = (np.tile(prior, (shape[0], 1)) for _ in range(5))
    told = np.full(shape[0], -1, np.int64)
    for number in range(folds):
        test, rest = (rows.fold == number).nonzero()[0], (rows.fold != number).nonzero()[0]
        if not len(test) or len(rest) < 2:
            continue
        fitted = fit_word_views(rows.words.part(rest), prior)
        for row in test.tolist():
            slopes, chances = fitted.scores(rows.terms[row])
            ridge[row] += slopes
            if len(chances):
                told[row] = int(chances.argmax())
                inferred[row] = chances @ fitted.means
        known = test[rows.words.task[test] >= 0]
        declared[known] = fitted.means[rows.words.task[known]]
    return _Views(prior, network, trees, ridge, inferred, declared, told)


def _hold_out_networks_and_trees(
    views: _Views,
    rows: Rows,
    start: Floats,
    settings: FitSettings,
    seed: int,
    progress: Progress,
) -> FitSettings:
    """Fills in the networks' and trees' estimates; the settings whose blend erred less there."""
    words, built, prior = rows.words, rows.built, views.prior
    tried: list[tuple[float, Floats, Floats, FitSettings]] = []
    variants = _variants(settings, len(built))
    graded = bool((words.weights == 1).all())  # then trees do not depend on what networks guess
    for at, variant in enumerate(variants):
        network, trees = (np.tile(prior, (len(built), 1)) for _ in range(2))
        if graded and tried:
            trees = tried[0][2]
        for number in range(settings.folds):
            test, rest = (rows.fold == number).nonzero()[0], (rows.fold != number).nonzero()[0]
            if not len(test) or len(rest) < 2:
                continue
            part = words.part(rest)
            fitted = fit_network(built[rest], part.grades, part.weights, variant.network, seed)
            network[test] = fitted.members(built[test]).mean(axis=0)
            if not (graded and tried):
                guess = fitted.members(built[rest]).mean(axis=0)
                forest = _fit_forest(built[rest], part, guess, variant, seed)
                trees[test] = forest.estimate(built[test])
            progress("hold out", (at + (number + 1) / settings.folds) / len(variants))
        every = [network, trees, views.ridge, views.inferred]
        weights = fit_weights(every, prior, words.grades, words.weights, start)
        apart = words.grades - blended(every, prior, weights)
        error = float((words.weights * apart**2).sum())
        tried.append((error, network, trees, variant))
    _, views.network, views.trees, chosen = min(tried, key=lambda one: one[0])
    return chosen


def _variants(settings: FitSettings, examples: int) -> list[FitSettings]:
    """The settings, and with few examples also with more epochs."""
    network = settings.network
    epochs = min(settings.epochs, -(-settings.steps * network.batch // examples))
    return [
        replace(settings, network=replace(network, epochs=count))
        for count in sorted({network.epochs, max(network.epochs, epochs)})
    ]


def _fit_forest(
    built: Floats, words: WordExamples, guess: Floats, settings: FitSettings, seed: int
) -> Forest:
    """Trees on the grades, as far as they are given; elsewhere on what networks `guess`."""
    from sklearn.ensemble import ExtraTreesRegressor

    trust = np.minimum(words.weights, 1)
    filled = trust * words.grades + (1 - trust) * guess
    trees = ExtraTreesRegressor(
        settings.trees,
        min_samples_leaf=max(settings.leaf, len(built) // 2400),
        max_features=settings.features,
        max_depth=settings.depth,
        random_state=seed,
    ).fit(
        built,
        filled if filled.shape[1] > 1 else filled[:, 0],
        sample_weight=np.maximum(row_weights(words.weights), 1e-3),
    )
    return flatten([tree.tree_ for tree in trees.estimators_])


def row_weights(weights: Floats) -> Floats:
    """The mean weight [n] of each row's grades; `weights` [n, T], 0 where there is none."""
    graded = (weights > 0).sum(axis=1)
    return np.asarray(weights.sum(axis=1) / np.maximum(graded, 1), np.float32)
