"""Expected costs follow the request's measurements, and never fall under a tenth of the mean."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders.hashed_features import measure
from llmrouter.learning.model.cost_model import FEWEST, CostModel, CostSums, fit_costs


def _requests(count: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Texts of growing length; "long" costs what is asked, "flat" always the same."""
    texts = [" ".join(["word"] * (5 + number % 50)) for number in range(count)]
    costs = [{"long": 1e-4 * len(text), "flat": 0.002} for text in texts]
    return np.stack([measure(text).readable for text in texts]), costs


def test_a_cost_that_grows_with_the_text_is_told_from_one_that_does_not() -> None:
    """The long text is expected to cost several times the short one where costs did so."""
    readable, costs = _requests(400)
    model = fit_costs(readable, costs)
    short, long = (measure(" ".join(["word"] * n)).readable for n in (6, 54))
    assert model.estimate(long)["long"] > 3 * model.estimate(short)["long"]
    assert model.estimate(long)["flat"] == pytest.approx(0.002, rel=0.01)
    assert model.estimate(short)["flat"] == pytest.approx(0.002, rel=0.01)


def test_expected_costs_have_the_recorded_mean() -> None:
    """Over the requests that were fitted, the mean expected cost is the mean recorded one."""
    readable, costs = _requests(400)
    expected = fit_costs(readable, costs).estimate_many(readable, ["long"])
    assert expected.mean() == pytest.approx(np.mean([row["long"] for row in costs]), rel=0.02)


def test_few_costs_give_their_mean_for_every_request() -> None:
    """Under the least number of costs no request differs from another."""
    readable, costs = _requests(FEWEST - 1)
    expected = fit_costs(readable, costs).estimate_many(readable, ["long"])[:, 0]
    assert np.ptp(expected) == 0
    assert expected[0] == pytest.approx(np.mean([row["long"] for row in costs]), rel=1e-5)


def test_no_cost_is_expected_below_a_tenth_of_the_mean() -> None:
    """A text far shorter than any seen does not cost less than a tenth of the target's mean."""
    readable, costs = _requests(400)
    model = fit_costs(readable, costs)
    far = np.full_like(readable[0], -1e6)
    assert min(model.estimate(far).values()) >= 0.0999 * float(model.mean.min())


def test_a_target_without_recorded_costs_has_none() -> None:
    """Its column is NaN, the others' are not."""
    readable, costs = _requests(30)
    expected = fit_costs(readable, costs).estimate_many(readable, ["unknown", "flat"])
    assert np.isnan(expected[:, 0]).all()
    assert np.isfinite(expected[:, 1]).all()


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_an_impossible_cost_is_refused(cost: float) -> None:
    """A negative or non-finite cost is an error, not an estimate."""
    readable, _ = _requests(1)
    with pytest.raises(ValueError, match="negative or not finite"):
        fit_costs(readable, [{"a": cost}])


def test_costs_added_one_by_one_give_the_model_of_all_at_once() -> None:
    """The running service's sums are those of a fit over the same requests."""
    readable, costs = _requests(200)
    sums = CostSums()
    for row, cost in zip(readable, costs, strict=True):
        sums.add(row[None], np.array([cost["long"]]))
    one_by_one = CostModel.of({"long": sums.regression()}).estimate_many(readable, ["long"])
    at_once = fit_costs(readable, costs).estimate_many(readable, ["long"])
    np.testing.assert_allclose(one_by_one, at_once, rtol=1e-3)


def test_faded_sums_follow_what_came_later() -> None:
    """After fading, newer costs move the mean as if the old ones were few."""
    readable, _ = _requests(100)
    sums = CostSums()
    sums.add(readable, np.full(100, 1.0))
    sums.fade(0.1)
    sums.add(readable, np.full(100, 3.0))
    assert sums.mean == pytest.approx((10 * 1.0 + 100 * 3.0) / 110)
