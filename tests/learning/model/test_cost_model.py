"""Learned costs follow the request, keep the mean, and survive storage."""

import random

import numpy as np
import pytest

from llmrouter.learning.model.cost_model import CostModel, fit_costs
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.storage import ModelUnreadable
from llmrouter.learning.model.training import FitSettings, fit

SMALL = FitSettings(width=16, vocabulary=500, trees=2, lists=4, capacity=50)


def _requests(count: int, seed: int) -> tuple[list[str], list[dict[str, float]]]:
    """Long requests cost `talker` in proportion to their words and `terse` always the same."""
    source = random.Random(seed)
    sizes = [source.randrange(1, 40) for _ in range(count)]
    texts = [" ".join(source.choices(["red", "green", "blue"], k=size)) for size in sizes]
    return texts, [{"talker": 1e-4 * size, "terse": 2e-4} for size in sizes]


def _fitted() -> tuple[CostModel, list[str]]:
    texts, costs = _requests(200, 1)
    model = fit([Example(text, {"talker": 1.0}) for text in texts], SMALL).model
    return fit_costs(model.inputs, model.encoder.encode_many(texts), costs), texts


def test_costs_follow_the_request() -> None:
    """A long request is expected to cost a talkative target several times a short one."""
    texts, costs = _requests(200, 1)
    model = fit([Example(text, {"talker": 1.0}) for text in texts], SMALL).model
    learned = fit_costs(model.inputs, model.encoder.encode_many(texts), costs)
    short, long = (learned.estimate(model.encode("red " * size)) for size in (3, 36))
    assert long["talker"] > 4 * short["talker"]
    assert long["terse"] == pytest.approx(2e-4, rel=0.05)
    usd = learned.estimate_many(model.encoder.encode_many(texts), ("terse", "talker", "new"))
    assert usd[:, 1].mean() == pytest.approx(np.mean([c["talker"] for c in costs]), rel=0.01)
    assert np.isnan(usd[:, 2]).all()


def test_few_costs_are_a_mean() -> None:
    """Three recorded costs say nothing about how costs depend on the request."""
    texts, costs = _requests(3, 2)
    model = fit([Example(text, {"talker": 1.0}) for text in texts], SMALL).model
    learned = fit_costs(model.inputs, model.encoder.encode_many(texts), costs)
    mean = np.mean([row["talker"] for row in costs])
    assert learned.estimate(model.encode("anything"))["talker"] == pytest.approx(mean, rel=1e-4)


def test_impossible_costs_are_refused() -> None:
    """A negative cost is the caller's mistake."""
    model = fit([], SMALL).model
    with pytest.raises(ValueError, match="negative"):
        fit_costs(model.inputs, model.encoder.encode_many(["x"]), [{"a": -1.0}])


def test_costs_are_stored_beside_their_model() -> None:
    """A restored cost model answers the same, and refuses other inputs and other bytes."""
    learned, _ = _fitted()
    data = learned.to_bytes()
    restored = CostModel.from_bytes(data, learned.inputs)
    np.testing.assert_array_equal(restored.slope, learned.slope)
    narrow = FitSettings(width=8, trees=2, lists=4, capacity=10)
    other = fit([], narrow).model
    with pytest.raises(ModelUnreadable, match="does not fit"):
        CostModel.from_bytes(data, other.inputs)
    preferences = fit([], SMALL).model.to_bytes()
    with pytest.raises(ModelUnreadable, match="not a cost model"):
        CostModel.from_bytes(preferences, learned.inputs)
