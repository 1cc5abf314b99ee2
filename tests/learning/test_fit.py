"""The fit: what it chooses on its own held-out folds."""

import random
from dataclasses import replace

import numpy as np

from llmrouter.learning.fit import FitSettings, Fitted, fit
from llmrouter.learning.model import Example
from llmrouter.learning.network import NetworkSettings

SMALL = FitSettings(
    width=16, trees=10, folds=2, network=NetworkSettings(members=1, hidden=16, epochs=2)
)


def _examples(count: int = 240) -> list[Example]:
    """Numbers suit one target, long prompts the other."""
    draw = random.Random(5)
    examples = []
    for _ in range(count):
        words = draw.choices(["sum", "river", "proof", "song", "17", "2041"], k=draw.randint(2, 30))
        grades = {"counts": float("17" in words), "writes": float(len(words) > 15)}
        examples.append(Example(" ".join(words), grades))
    return examples


def _error(fitted: Fitted, examples: list[Example]) -> float:
    grades = np.array([[e.grades[t] for t in fitted.model.targets] for e in examples])
    return float(((fitted.held_out - grades) ** 2).mean())


def test_what_errs_least_on_held_out_folds_is_what_is_fitted() -> None:
    """Of short and long networks and their shares beside the trees, the best, and no other."""
    examples = _examples()
    alone = {
        (epochs, blend): fit(
            examples,
            replace(
                SMALL, blends=(blend,), epochs=0, network=replace(SMALL.network, epochs=epochs)
            ),
        )
        for epochs in (2, 40)
        for blend in SMALL.blends
    }
    errors = {choice: _error(fitted, examples) for choice, fitted in alone.items()}
    best = min(errors, key=errors.__getitem__)
    assert best[0] == 40, "an example that two epochs do not suffice for"
    chosen = fit(examples, SMALL)
    assert chosen.model.base.blend == best[1]
    assert np.allclose(chosen.held_out, alone[best].held_out, atol=1e-5)
    prompt = "17 songs of the river"
    told = [f.model.estimate(prompt, f.model.targets).quality for f in (chosen, alone[best])]
    assert np.allclose(*told, atol=1e-5)


def test_more_epochs_are_for_few_examples() -> None:
    """Where the usual epochs make the steps already, a long fit is not even tried."""
    examples = _examples()
    enough = fit(examples, replace(SMALL, steps=2))
    short = fit(examples, replace(SMALL, epochs=0))
    assert np.array_equal(enough.held_out, short.held_out)
