"""The fit: what it chooses on its own held-out folds."""

import random
from dataclasses import replace

import numpy as np
import pytest

from llmrouter.learning.model.fit_settings import FitSettings
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import Fitted, fit

SMALL = FitSettings(
    width=16, trees=10, folds=2, network=NetworkSettings(members=1, hidden=64, epochs=2)
)


def _examples(count: int = 240, noise: bool = False) -> list[Example]:
    """Numbers suit one target, long prompts the other; or, with `noise`, nothing suits anything."""
    draw = random.Random(5)
    examples = []
    for _ in range(count):
        words = draw.choices(["sum", "river", "proof", "song", "17", "2041"], k=draw.randint(2, 30))
        grades = {"counts": float("17" in words), "writes": float(len(words) > 15)}
        if noise:
            grades = {target: float(draw.random() > 0.5) for target in grades}
        examples.append(Example(" ".join(words), grades))
    return examples


def _error(fitted: Fitted, examples: list[Example]) -> float:
    grades = np.array([[e.grades[t] for t in fitted.model.targets] for e in examples])
    return float(((fitted.held_out - grades) ** 2).mean())


@pytest.mark.parametrize("noise", [False, True])
def test_what_errs_less_on_held_out_folds_is_what_is_fitted(noise: bool) -> None:
    """Of a long and a short fit of the networks; a short one where there is nothing to learn."""
    examples = _examples(noise=noise)
    short, long = (
        fit(examples, replace(SMALL, epochs=0, network=replace(SMALL.network, epochs=epochs)))
        for epochs in (2, 40)
    )
    best = min((short, long), key=lambda fitted: _error(fitted, examples))
    assert best is short or not noise
    chosen = fit(examples, SMALL)
    assert np.array_equal(chosen.held_out, best.held_out)
    told = [f.model.estimate("17 songs", f.model.targets).quality for f in (chosen, best)]
    assert np.array_equal(*told)


def test_more_epochs_are_for_few_examples() -> None:
    """Where the usual epochs make the steps already, a long fit is not even tried."""
    examples = _examples()
    enough = fit(examples, replace(SMALL, steps=2))
    short = fit(examples, replace(SMALL, epochs=0))
    assert np.array_equal(enough.held_out, short.held_out)
