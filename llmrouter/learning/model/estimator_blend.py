"""The frozen estimator: four views of a request, blended into one quality a target.

The views are networks, trees, a ridge regression on all kept words, and what the request's task
tells (see `word_views`). They err differently, so each fit learns from estimates that it had not
seen how much each view is worth (`fit_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.encoders.text_encoder import Terms
from llmrouter.learning.model.mlp import Network
from llmrouter.learning.model.tree_ensemble import Forest
from llmrouter.learning.model.word_views import WordViews

NEUTRAL = np.array([0.40, 0.40, 0.20, 0.0], np.float32)
"""Weights of networks, trees, ridge and task where nothing speaks for others: without a task,"""
INFERRED = np.array([0.35, 0.35, 0.15, 0.15], np.float32)
"""with a task that is inferred from the words,"""
DECLARED = np.array([0.30, 0.30, 0.10, 0.30], np.float32)
"""and with a task that the request declares."""
TRUSTED = 0.5
"""How far weights move from these to those of least squares. Where folds differ more than requests
will (each holds out one template, say), every view errs out of fold and least squares drops all."""

SUM_IS_FIRM = 1e3
"""How much the weights' sum counts beside all errors together."""


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """float32 [4] each: the weights of networks, trees, ridge and task view."""

    inferred: Floats
    declared: Floats


@dataclass(frozen=True, slots=True)
class Base:
    """The frozen part. `prior` float32 [T]: mean grade.

    Every view's deviation from the prior counts by its weight. A model that was never fitted has
    no views; one stored by an older version has no `words`.
    """

    targets: tuple[str, ...]
    prior: Floats
    network: Network | None = None
    forest: Forest | None = None
    words: WordViews | None = None
    weights: BlendWeights | None = None

    def estimate(
        self, inputs: Floats, terms: Sequence[Terms], tasks: Sequence[str | None] | None = None
    ) -> tuple[Floats, Floats]:
        """Quality and uncertainty, each [n, T], for `inputs` [n, d] and each text's `terms`.

        `tasks` are those that the requests declare; None, or one that no example had, leaves it to
        the words.
        """
        if self.network is None or self.forest is None:
            shape = (len(inputs), len(self.targets))
            return np.tile(self.prior, (len(inputs), 1)), np.full(shape, 0.25, np.float32)
        members = self.network.members(inputs)
        if len(inputs) == 1:
            trees = self.forest.estimate_one(inputs[0])[None]
        else:
            trees = self.forest.estimate(inputs)
        count = np.float32(1 / len(members))
        mean = np.add.reduce(members, axis=0)
        mean *= count
        apart = members - mean
        apart *= apart
        gap = mean - trees
        uncertainty = np.add.reduce(apart, axis=0)
        uncertainty *= count
        uncertainty += np.float32(0.25) * gap * gap
        if self.words is None or self.weights is None:
            return (mean + trees) * np.float32(0.5), np.sqrt(uncertainty)
        quality = np.empty_like(mean)
        for row, text in enumerate(terms):
            task = None if tasks is None else tasks[row]
            ridge, by_task, declared = self.words.views(text, task)
            weights = self.weights.declared if declared else self.weights.inferred
            views = (mean[row], trees[row], self.prior + ridge, by_task)
            quality[row] = blended(views, self.prior, weights)
        return np.minimum(np.maximum(quality, 0), 1), np.sqrt(uncertainty)


def blended(views: Sequence[Floats], prior: Floats, weights: Floats) -> Floats:
    """The prior [T], moved by each view's [..., T] deviation from it as far as its weight says."""
    total = prior * np.float32(1 - float(weights.sum()))
    for view, weight in zip(views, weights, strict=True):
        total = total + view * weight
    return np.asarray(total, np.float32)


def fit_weights(
    views: Sequence[Floats],
    prior: Floats,
    grades: Floats,
    mass: Floats,
    start: Floats,
    *,
    level: float = 1.0,
) -> Floats:
    """Weights [V] of out-of-fold `views` (V of [n, T]) by non-negative least squares.

    They sum to what `start` [V] does: views that all err out of fold, or are all too timid there,
    say which of them errs least, and nothing about how far to follow them. `grades` [n, T] count
    where `mass` [n, T] > 0, as much as that says. Weights stay half way to `start`; a view that
    starts at 0 stays there. `level` (0..1) is what errors in a row's mean over its targets count
    beside differences between targets, which alone decide a choice.
    """
    from scipy.optimize import nnls

    used = np.flatnonzero(start > 0)
    if not len(used) or not (mass > 0).any():
        return start.astype(np.float32)
    weight = np.sqrt(mass.astype(np.float64))
    columns = [(views[at] - prior).astype(np.float64) for at in used.tolist()]
    parts = [_levelled(one, mass, level) * weight for one in columns]
    wanted = _levelled((grades - prior).astype(np.float64), mass, level) * weight
    seen = np.stack([part.ravel() for part in parts], axis=1)
    firm = SUM_IS_FIRM * float(np.sqrt((seen**2).sum()) + 1e-6)
    seen = np.vstack((seen, np.full((1, len(used)), firm)))
    found, _ = nnls(seen, np.append(wanted.ravel(), firm * start[used].sum()))
    weights = start.astype(np.float32)
    weights[used] += TRUSTED * (found - start[used])
    return weights


def _levelled(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], mass: Floats, level: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`values` [n, T] with each row's mean over graded targets taken `level` times.

    A row with one graded target has no differences, so its values stay.
    """
    given = mass > 0
    count = given.sum(axis=1, keepdims=True)
    mean = np.where(given, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    return np.asarray(values - np.where(count > 1, (1 - level) * mean, 0.0))
