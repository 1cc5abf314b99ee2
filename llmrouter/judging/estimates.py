"""One estimate a target of all that is known: judgement, learned model, outcomes, or prices alone.

A judgement is calibrated first. Where the learned model has an estimate as well, both are combined
by what each has proved to be worth for this kind of work; until then, by how sure each is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import QualityEstimate, TargetEstimate
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Target
from llmrouter.judging.calibration import Calibration

PRIOR_SPREAD = 0.25
"""Standard deviation of what is expected of a target of which nothing was seen."""
JUDGED_SPREAD = 0.15
"""That of a judgement."""
PRIOR_LOW, PRIOR_HIGH = 0.6, 0.9
"""What is expected of the cheapest and the dearest target where nothing is known."""
PRIOR_WEIGHT = 5.0
"""Outcomes that a prior is worth."""
_LEAST = 0.1  # USD per million tokens that a free target counts as


class Recorded(Protocol):
    """Where outcomes are: a calibration, and a number that changes with it."""

    calibration: Calibration
    version: int


class NoOutcomes:
    """Nothing is recorded: probabilities are taken as they are."""

    def __init__(self) -> None:
        self.calibration = Calibration()
        self.version = 0


class Estimates:
    """Implements `Estimator` on recorded outcomes."""

    def __init__(self, outcomes: Recorded | None = None) -> None:
        self._outcomes = outcomes or NoOutcomes()

    @property
    def version(self) -> int:
        """Changes whenever earlier estimates may be out of date."""
        return self._outcomes.version

    def estimates(
        self,
        context: RoutingContext,
        judgement: Judgement | None,
        learned: Sequence[QualityEstimate],
    ) -> tuple[TargetEstimate, ...]:
        """One for each eligible target, in their order."""
        targets = context.targets()
        expected = {one.target: one for one in learned}
        task = context.features.traits.task
        if judgement is not None and judgement.task:
            task = judgement.task
        return tuple(
            self._one(task, target, prior, judgement, expected.get(target.id))
            for target, prior in zip(targets, priors(targets), strict=True)
        )

    def _one(
        self,
        task: str,
        target: Target,
        prior: float,
        judgement: Judgement | None,
        learned: QualityEstimate | None,
    ) -> TargetEstimate:
        calibration = self._outcomes.calibration
        said = None if judgement is None else judgement.probabilities.get(text_key(target))
        if said is None or judgement is None:
            if learned is not None:
                quality = _kept(learned.quality)
                return TargetEstimate(target.id, quality, learned.uncertainty, None, quality)
            mean, weight = calibration.mean(target.id)
            expected = (PRIOR_WEIGHT * prior + weight * mean) / (PRIOR_WEIGHT + weight)
            return TargetEstimate(target.id, expected, PRIOR_SPREAD)
        judged = calibration.probability(judgement.judge, target.id, said)
        if learned is None:
            return TargetEstimate(target.id, judged, JUDGED_SPREAD, said)
        quality = _kept(learned.quality)
        judge, model = JUDGED_SPREAD**-2, max(learned.uncertainty, 0.05) ** -2
        share = calibration.learned_share(task, model / (judge + model))
        both = (1.0 - share) * judged + share * quality
        return TargetEstimate(target.id, both, (judge + model) ** -0.5, said, quality)


def priors(targets: Sequence[Target]) -> list[float]:
    """What to expect of each target where only prices are known: dearer ones do more."""
    prices = [math.log(max(target.price.cost(3, 1) * 250_000, _LEAST)) for target in targets]
    low, high = min(prices), max(prices)
    if high <= low:
        return [(PRIOR_LOW + PRIOR_HIGH) / 2] * len(prices)
    return [PRIOR_LOW + (PRIOR_HIGH - PRIOR_LOW) * (p - low) / (high - low) for p in prices]


def _kept(quality: float) -> float:
    return min(1.0, max(0.0, quality))
