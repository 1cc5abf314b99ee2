"""Each view counts for what it is worth out of fold."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.model.estimator_blend import blended, fit_weights

START = np.array([0.5, 0.5], np.float32)


def _views(rows: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grades, a view that tells them, a view that tells nothing, and the mean grades."""
    draw = np.random.default_rng(2)
    truth = draw.uniform(0, 1, (rows, 3)).astype(np.float32)
    grades = (draw.uniform(0, 1, (rows, 3)) < truth).astype(np.float32)
    noise = draw.uniform(0, 1, (rows, 3)).astype(np.float32)
    return grades, truth, noise, grades.mean(axis=0)


def test_a_view_that_tells_more_weighs_more() -> None:
    """The one that knows gains over its start, the one that guesses loses most of it."""
    grades, truth, noise, prior = _views()
    weights = fit_weights([truth, noise], prior, grades, np.ones_like(grades), START)
    assert weights[0] > 0.6
    assert 0 <= weights[1] < 0.3
    mixed = blended([truth, noise], prior, weights)
    even = blended([truth, noise], prior, START)
    assert ((mixed - grades) ** 2).mean() < ((even - grades) ** 2).mean()


def test_a_view_without_a_start_stays_out() -> None:
    """Where a view must not be read, no fit brings it back."""
    grades, truth, noise, prior = _views()
    start = np.array([0.0, 1.0], np.float32)
    weights = fit_weights([truth, noise], prior, grades, np.ones_like(grades), start)
    assert weights[0] == 0


def test_what_is_not_graded_does_not_count() -> None:
    """Grades without weight may hold anything."""
    grades, truth, noise, prior = _views()
    mass = np.ones_like(grades)
    mass[::2] = 0
    spoilt = grades.copy()
    spoilt[::2] = 1 - spoilt[::2]
    wanted = fit_weights([truth[1::2], noise[1::2]], prior, grades[1::2], mass[1::2], START)
    found = fit_weights([truth, noise], prior, spoilt, mass, START)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_errors_in_a_rows_level_can_be_left_out() -> None:
    """Of two views, one tells how hard a request is for all targets and the other which target does
    better: the first gains weight where the level counts, the second where it does not."""
    draw = np.random.default_rng(4)
    level = draw.uniform(0.2, 0.8, (4000, 1)).astype(np.float32)
    lead = draw.normal(0, 0.1, (4000, 3)).astype(np.float32)
    lead -= lead.mean(axis=1, keepdims=True)
    grades = level + lead
    mass, prior = np.ones_like(grades), grades.mean(axis=0)
    views = [np.repeat(level, 3, axis=1), prior + lead]
    by_level, by_difference = (
        fit_weights(views, prior, grades, mass, START, level=share) for share in (1.0, 0.0)
    )
    assert by_level[0] > 0.6
    assert by_difference[0] < 0.3


def test_views_that_all_err_are_followed_as_far_as_others() -> None:
    """Out of fold each may point the wrong way, or too timidly the right one: their sum stays."""
    grades, truth, noise, prior = _views()
    wrong = [2 * prior - truth, noise]
    timid = [prior + (truth - prior) / 20, prior + (noise - prior) / 20]
    for views in (wrong, timid):
        weights = fit_weights(views, prior, grades, np.ones_like(grades), START)
        assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert weights[0] == pytest.approx(0.75, abs=1e-5), (
        "the one that knows, as far as weights move at all"
    )


def test_no_grades_leave_the_start() -> None:
    """Without evidence every view counts as it starts."""
    grades, truth, noise, prior = _views(10)
    weights = fit_weights([truth, noise], prior, grades, np.zeros_like(grades), START)
    np.testing.assert_array_equal(weights, START)
