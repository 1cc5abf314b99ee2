"""Neighbours move an estimate as far as neighbours were right to."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.model.knn_memory import KnnMemory
from llmrouter.learning.model.neighbour_correction import (
    EXACT,
    NeighbourCorrection,
    fit_correction,
)

WIDTH = 64


def _pairs(cosine: float, count: int = 200) -> Floats:
    """Unit vectors, each followed by one with this cosine to it."""
    draw = np.random.default_rng(7)
    keys = []
    for _ in range(count):
        one, other = np.linalg.qr(draw.normal(size=(WIDTH, 2)))[0].T
        keys += [one, cosine * one + np.sqrt(1 - cosine * cosine) * other]
    return np.array(keys, np.float32)


@pytest.mark.parametrize(("sign", "low", "high"), [(1.0, 0.9, 1.0), (-1.0, 0.0, 0.01)])
def test_repeats_are_believed_and_twins_with_opposite_answers_are_not(
    sign: float, low: float, high: float
) -> None:
    """The gain of their band nears 1 where neighbours repeat an outcome, 0 where they turn it."""
    keys = _pairs(0.93)
    draw = np.random.default_rng(1)
    residual = np.repeat(draw.choice([-0.5, 0.5], (200, 2)), 2, axis=0).astype(np.float32)
    residual[1::2] *= sign
    mass = np.ones_like(residual)
    fold = np.arange(400) % 2  # a pair is in two folds
    found = fit_correction(keys, residual, mass, fold, 0.3)
    assert low <= found.gains[0, 1] <= high
    untouched = NeighbourCorrection()
    np.testing.assert_array_equal(found.gains[1], untouched.gains[1])
    np.testing.assert_array_equal(found.gains[0, [0, 2]], untouched.gains[0, [0, 2]])


def test_pairs_of_one_fold_teach_what_later_neighbours_are_worth() -> None:
    """Neither of them has seen the other, as it is with neighbours that came after the fit."""
    keys = _pairs(0.85)
    residual = np.repeat(np.random.default_rng(1).choice([-0.5, 0.5], (200, 1)), 2, axis=0)
    residual = residual.astype(np.float32)
    fold = np.arange(400) // 2 % 4
    found = fit_correction(keys, residual, np.ones_like(residual), fold, 0.3)
    assert found.gains[1, 0] > 0.9
    assert found.gains[0, 0] == NeighbourCorrection().gains[0, 0]


def test_an_exact_repeat_counts_in_full_whatever_came_before() -> None:
    """No evidence lowers its gain."""
    correction = NeighbourCorrection()
    one = np.ones(3, np.float32)
    for band in range(EXACT + 1):
        for _ in range(50):
            correction.learn(1, band, one, -one)
    assert correction.gains[1].tolist() == [0, 0, 0, 1]


def test_gains_stay_within_bounds_under_a_flood() -> None:
    """However often neighbours agree, they count at most in full."""
    correction = NeighbourCorrection()
    for _ in range(1000):
        correction.learn(0, 1, np.full(2, 0.1, np.float32), np.full(2, 1.0, np.float32))
    assert correction.gains.max() == 1.0


def test_a_memory_moves_estimates_by_the_learned_gain() -> None:
    """The same neighbour moves them by less after such neighbours were wrong."""
    keys = _pairs(0.93, 1)
    memory = KnnMemory(np.eye(WIDTH, dtype=np.float32)[:4], 1, 8, 80.0)
    memory.add(keys[0], np.array([1.0], np.float32), np.array([0.2], np.float32), 1.0)
    correction = NeighbourCorrection()
    before = float(memory.look(keys[1], correction).moves[0])
    assert before == pytest.approx(0.5 * 0.8 / 1.3, abs=0.02)
    pulls = list(memory.pulls(keys[1], correction.shrink))
    assert [(kind, band) for kind, band, _, _ in pulls] == [(1, 1)]
    for _ in range(100):
        for kind, band, pull, _ in pulls:
            correction.learn(kind, band, pull, -pull)
    assert memory.look(keys[1], correction).moves[0] == 0
    assert memory.look(keys[0], correction).moves[0] == pytest.approx(0.8 / 1.3, abs=0.02)
