"""While serving, graded and audited neighbours teach how far neighbours may move an estimate."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from llmrouter.domain.decision import Source, StageResult
from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.model.neighbour_correction import EDGES
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import fit
from tests.fakes import a_decision
from tests.learning.teaching import SMALL, Bench, context

SINCE = 1
"""The kind of neighbours that came after the fit."""
WORDS = [f"{start}{end}" for start in ("ba", "de", "fi", "go", "lu") for end in ("ne", "pi", "ro")]


def _bench() -> Bench:
    """A learner that serves with a model fitted on requests unlike those that follow."""
    bench = Bench()
    examples = [
        Example(f"Add {n} to {n + 1}.", {"small": float(n % 2), "large": 1.0}) for n in range(60)
    ]
    bench.learner.adopt(fit(examples, replace(SMALL, folds=2)).model)
    return bench


def _twins(number: int) -> tuple[str, str]:
    """Two sentences of which one has a word more."""
    dice = random.Random(number)
    words = [dice.choice(WORDS) + str(dice.randrange(90)) for _ in range(14)]
    return " ".join(words), " ".join([*words, "indeed"])


def _grade(bench: Bench, text: str, number: int, good: bool) -> None:
    """A verified answer of small."""
    about = context(text, "math", f"app-{number}")
    decision = a_decision("small", task="math", fingerprint=about.features.fingerprint)
    bench.learner.decided(decision, about)
    bench.learner.graded(decision, {"small": float(good)}, 1.0)


def _audit(bench: Bench, text: str, number: int, good: bool) -> None:
    """A learned answer that the router LLM checks."""
    about = context(text, "math", f"app-{number}")
    proposal = bench.learner.propose(about)
    assert proposal is not None
    served = replace(proposal, trusted=True)
    verdict = StageResult("small" if good else "large", Source.LLM, "said so")
    bench.learner.observe_label(about, served, verdict)


def _gains(bench: Bench) -> Floats:
    model = bench.learner.state.predictor.model
    assert model is not None
    return model.correction.gains[SINCE, : len(EDGES) - 1].copy()


@pytest.mark.parametrize("teach", [_grade, _audit])
@pytest.mark.parametrize("alike", [True, False])
def test_neighbours_that_come_after_the_fit_teach_their_gain(teach: object, alike: bool) -> None:
    """It rises where twins have the same outcome, and falls to nothing where the next word turns it
    round."""
    bench = _bench()
    before = _gains(bench)
    for number in range(40):
        good = number % 2 == 0
        first, second = _twins(number)
        teach(bench, first, number, good)  # type: ignore[operator]
        teach(bench, second, number, good is alike)  # type: ignore[operator]
    after = _gains(bench)
    changed = after != before
    assert changed.any()
    assert (after[changed] > before[changed]).all() if alike else (after[changed] < 0.1).all()
