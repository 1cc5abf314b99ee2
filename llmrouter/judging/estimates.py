"""One estimate a target of all that is known: judgement, learned model, or the catalog alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import QualityEstimate, TargetEstimate
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Target

PRIOR_SPREAD = 0.25
"""Standard deviation of what is expected of a target of which nothing was seen."""
JUDGED_SPREAD = 0.15
"""That of a judgement."""
PRIOR_LOW, PRIOR_HIGH = 0.6, 0.9
"""What is expected of the cheapest and the dearest target where nothing is known."""
_LEAST = 0.1  # USD per million tokens that a free target counts as


class Estimates:
    """Implements `Estimator`."""

    def __init__(self) -> None:
        self.version = 0

    def estimates(
        self,
        context: RoutingContext,
        judgement: Judgement | None,
        learned: Sequence[QualityEstimate],
    ) -> tuple[TargetEstimate, ...]:
        """One for each eligible target, in their order."""
        targets = context.targets()
        expected = {one.target: one for one in learned}
        found: list[TargetEstimate] = []
        for target, prior in zip(targets, priors(targets), strict=True):
            judged = None
            if judgement is not None:
                judged = judgement.probabilities.get(text_key(target))
            found.append(_blended(target, prior, judged, expected.get(target.id)))
        return tuple(found)


def priors(targets: Sequence[Target]) -> list[float]:
    """What to expect of each target where only prices are known: dearer ones do more."""
    prices = [math.log(max(target.price.cost(3, 1) * 250_000, _LEAST)) for target in targets]
    low, high = min(prices), max(prices)
    if high <= low:
        return [(PRIOR_LOW + PRIOR_HIGH) / 2] * len(prices)
    return [PRIOR_LOW + (PRIOR_HIGH - PRIOR_LOW) * (p - low) / (high - low) for p in prices]


def _blended(
    target: Target, prior: float, judged: float | None, learned: QualityEstimate | None
) -> TargetEstimate:
    if judged is None and learned is None:
        return TargetEstimate(target.id, prior, PRIOR_SPREAD)
    if judged is None and learned is not None:
        spread = learned.uncertainty
        return TargetEstimate(target.id, _kept(learned.quality), spread, None, learned.quality)
    assert judged is not None  # noqa: S101 - one of the two is known
    if learned is None:
        return TargetEstimate(target.id, judged, JUDGED_SPREAD, judged)
    precise = 1.0 / JUDGED_SPREAD**2, 1.0 / max(learned.uncertainty, 0.05) ** 2
    both = (precise[0] * judged + precise[1] * _kept(learned.quality)) / sum(precise)
    return TargetEstimate(target.id, both, sum(precise) ** -0.5, judged, learned.quality)


def _kept(quality: float) -> float:
    return min(1.0, max(0.0, quality))
