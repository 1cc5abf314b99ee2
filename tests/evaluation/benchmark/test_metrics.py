"""Every figure against a value worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.evaluation.benchmark import metrics


def test_saving_takes_the_cheapest_point_that_scores_enough() -> None:
    """Of points 0.5/1, 0.7/2, 0.8/4 against a score of 0.7 at cost 8, the second saves 75%."""
    score, cost = np.array([0.5, 0.7, 0.8]), np.array([1.0, 2.0, 4.0])
    assert metrics.saving(score, cost, 0.7, 8.0) == pytest.approx(0.75)
    assert metrics.saving(score, cost, 0.71, 8.0) == pytest.approx(0.5)


def test_saving_is_zero_where_no_point_is_enough_or_cheaper() -> None:
    """The reference itself remains to be used, so nothing is saved and nothing is lost."""
    score, cost = np.array([0.5, 0.7]), np.array([1.0, 9.0])
    assert metrics.saving(score, cost, 0.9, 8.0) == 0.0
    assert metrics.saving(score, cost, 0.7, 8.0) == 0.0


def test_saving_on_a_free_reference_does_not_exist() -> None:
    """A share of nothing is not a number."""
    assert math.isnan(metrics.saving(np.array([1.0]), np.array([0.0]), 0.5, 0.0))


def test_envelope_drops_points_that_a_cheaper_one_matches() -> None:
    """A dearer point with an equal or lower score is not on the envelope."""
    score, cost = np.array([0.4, 0.6, 0.5, 0.6, 0.9]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    kept, at = metrics.envelope(score, cost)
    assert kept.tolist() == [0.4, 0.6, 0.9]
    assert at.tolist() == [1.0, 2.0, 5.0]


def test_area_is_the_mean_score_over_costs() -> None:
    """From 0.4 at cost 1 to 0.8 at cost 3, flat until 5: (0.6 * 2 + 0.8 * 2) / 4 = 0.7."""
    score, cost = np.array([0.4, 0.8]), np.array([1.0, 3.0])
    assert metrics.area(score, cost, 1.0, 5.0) == pytest.approx(0.7)


def test_perfect_ranking_recovers_the_gap_first() -> None:
    """Two of four requests gain; ranked first, half the calls recover all: APGR is 0.75."""
    weak, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    curve = metrics.pair_curve(np.array([4.0, 3.0, 2.0, 1.0]), weak, strong)
    assert curve.recovered.tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert metrics.apgr(curve.recovered) == pytest.approx(0.75)
    assert metrics.cpt(curve.recovered, 0.5) == pytest.approx(0.25)
    assert metrics.cpt(curve.recovered, 0.8) == pytest.approx(0.4)


def test_worst_ranking_recovers_the_gap_last() -> None:
    """The same requests ranked backwards: APGR 0.25, and 80% needs nine tenths of the calls."""
    weak, strong = np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)
    curve = metrics.pair_curve(np.array([4.0, 3.0, 2.0, 1.0]), weak, strong)
    assert metrics.apgr(curve.recovered) == pytest.approx(0.25)
    assert metrics.cpt(curve.recovered, 0.8) == pytest.approx(0.9)


def test_equal_gains_count_as_chance_in_any_order() -> None:
    """A ranking that says nothing has an APGR of one half, however the rows lie."""
    weak, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3]):
        curve = metrics.pair_curve(np.zeros(4), weak[order], strong[order])
        assert metrics.apgr(curve.recovered) == pytest.approx(0.5)


def test_a_loss_among_the_gains_lowers_the_curve() -> None:
    """Where the strong target is worse the recovered share falls, and may pass 1 before."""
    weak, strong = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    curve = metrics.pair_curve(np.array([3.0, 2.0, 1.0]), weak, strong)
    assert curve.recovered.tolist() == [0.0, 1.0, 2.0, 1.0]


def test_no_gap_gives_no_recovered_share() -> None:
    """Where the strong target gains nothing there is nothing to recover."""
    same = np.array([1.0, 0.0])
    curve = metrics.pair_curve(np.array([1.0, 2.0]), same, same)
    assert np.isnan(curve.recovered).all()
    assert math.isnan(metrics.cpt(curve.recovered, 0.5))


def test_bootstrap_draws_hold_every_row_once_on_average() -> None:
    """Each draw has as many rows as there are, and equal seeds give equal draws."""
    first, again = metrics.bootstrap_weights(50, 200, 7), metrics.bootstrap_weights(50, 200, 7)
    assert (first.sum(axis=1) == 50).all()
    assert (first == again).all()
    assert (metrics.bootstrap_weights(50, 200, 8) != first).any()


def test_means_under_draws_are_paired() -> None:
    """A constant difference between two policies has no spread, because draws are shared."""
    random = np.random.default_rng(0)
    one = random.random(60)
    weights = metrics.bootstrap_weights(60, 100, 0)
    apart = metrics.means(one + 0.25, weights) - metrics.means(one, weights)
    assert np.allclose(apart, 0.25)


def test_interval_covers_a_known_mean() -> None:
    """The percentile interval of the mean of 0/1 values is near the normal one."""
    values = np.repeat([0.0, 1.0], 200)
    found = metrics.interval(0.5, metrics.means(values, metrics.bootstrap_weights(400, 2000, 1)))
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_wilson_of_a_few_stays_inside_and_wide() -> None:
    """Five of five is no proof of 95%: the textbook interval starts at 0.566."""
    found = metrics.wilson(5, 5)
    assert found.low == pytest.approx(0.5655, abs=1e-3)
    assert found.high == pytest.approx(1.0)
    assert math.isnan(metrics.wilson(0, 0).value)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=30))
def test_the_envelope_rises_in_both(points: list[tuple[float, float]]) -> None:
    """Whatever the points, envelope scores and costs both rise, and the best score is kept."""
    score, cost = (np.array(part) for part in zip(*points, strict=True))
    kept, at = metrics.envelope(score, cost)
    assert (np.diff(kept) > 0).all()
    assert (np.diff(at) >= 0).all()
    assert kept[-1] >= score.max() - 1e-8


def test_a_saving_averaged_over_slack_does_not_jump_with_one_point() -> None:
    """Where the cheap point is a hair below the reference, nothing is saved at an equal score, and
    nearly all of it on average over two points of slack."""
    score, cost = np.array([[0.899, 0.9]]), np.array([[0.1, 1.0]])
    reference = np.array([0.9]), np.array([1.0])
    assert metrics.savings(score, cost, *reference)[0] == 0
    found = metrics.average_savings(score, cost, *reference)[0]
    assert 0.8 < found < 0.9
