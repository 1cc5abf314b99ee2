"""How far figures vary is said beside them."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.evaluation.benchmark.fit_spread import noise_of, spread_of
from llmrouter.evaluation.benchmark.policies import CostQualityCurve, PolicyRun


def _run(score: np.ndarray, curve: np.ndarray | None = None) -> PolicyRun:
    cost = np.ones_like(score)
    found = None
    if curve is not None:
        found = CostQualityCurve(np.array([0.0]), curve[:, None], cost[:, None])
    return PolicyRun("p", "", score, cost, 1.0, found)


def test_noise_is_the_standard_error_of_a_score_and_of_a_paired_lead() -> None:
    """A lead varies less than a score where both policies are right on the same rows."""
    draw = np.random.default_rng(0)
    best = (draw.uniform(size=400) < 0.6).astype(float)
    learned = best.copy()
    learned[:20] = 1 - learned[:20]
    found = noise_of([_run(best), _run(learned, learned)], _run(best))
    assert found is not None
    assert found.rows == 400
    assert found.score == pytest.approx((0.24 / 400) ** 0.5, rel=0.1)
    assert found.gain < found.score / 2


def test_without_a_curve_there_is_no_noise_to_tell() -> None:
    """No dial, no score at best."""
    assert noise_of([_run(np.ones(5))], _run(np.ones(5))) is None


def test_the_spread_of_fits_holds_mean_and_extremes() -> None:
    """Figure by figure."""
    (one,) = spread_of([{"score at best": 0.6}, {"score at best": 0.7}, {"score at best": 0.62}])
    assert (one.figure, one.fits, one.low, one.high) == ("score at best", 3, 0.6, 0.7)
    assert one.mean == pytest.approx(0.64)
