"""How far a policy's figures vary: between draws of rows, and between fits with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from llmrouter.evaluation.benchmark import metrics, policies
from llmrouter.evaluation.benchmark.costs import Prices, realise
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.benchmark.estimates import Fitting, PriorEstimates, prior_estimates
from llmrouter.evaluation.benchmark.policies import PolicyRun, Truth
from llmrouter.evaluation.benchmark.results import FIXED_PRICE, FitSpread, Noise
from llmrouter.evaluation.benchmark.training_sets import Family


def key_figures(
    rows: Sequence[Row], held: PriorEstimates, name: str, prices: Prices
) -> dict[str, float]:
    """The figures of the estimator `name` on `rows` that fits are compared by."""
    score, known = policies.weighed(rows, held.targets)
    strong = int(held.mean_quality.mean(axis=0).argmax())
    beforehand = held.mean_cost if held.usd else np.full_like(held.mean_cost, np.nan)
    costs = realise(rows, held.targets, prices, beforehand, strong)
    truth = Truth(score, costs.realised, known)
    curve = policies.learned(held, truth, name).curve
    reference = policies.always_best(held, truth)
    if curve is None:
        return {}
    scores, spent = curve.score.mean(axis=0), curve.cost.mean(axis=0)
    least, dearest = float(reference.score.mean()), float(reference.cost.mean())
    average = metrics.average_savings(
        scores[None], spent[None], np.array([least]), np.array([dearest])
    )
    found = {
        "score at best": float(scores[0]),
        "score at a fixed price": float(scores[np.argmin(np.abs(curve.prices - FIXED_PRICE))]),
        "saved at an equal score": metrics.saving(scores, spent, least, dearest),
        "saved, averaged over 0 to 2 points": float(average[0]),
    }
    if len(held.targets) == 2 and known.all():
        gain = held.quality[name][:, strong] - held.quality[name][:, 1 - strong]
        pair = metrics.pair_curve(gain, score[:, 1 - strong], score[:, strong])
        found["APGR"] = metrics.apgr(pair.recovered)
    return found


def fitted_again(
    rows: Sequence[Row],
    targets: tuple[str, ...],
    trained: Sequence[Family],
    fitting: Fitting,
    fits: int,
) -> list[PriorEstimates]:
    """What the first estimator says of `rows` with each of the next seeds, `fits` - 1 times."""
    seeds = (fitting.seed + number for number in range(1, fits))
    each = [replace(fitting, learners=fitting.learners[:1], seed=seed) for seed in seeds]
    return [
        prior_estimates(rows, targets, trained, one, lambda _name, _share: None) for one in each
    ]


def spread_of(fits: Sequence[Mapping[str, float]]) -> tuple[FitSpread, ...]:
    """Mean, least and most of each figure over the fits."""
    out = []
    for figure in fits[0]:
        values = [one[figure] for one in fits]
        mean = float(np.mean(values))
        out.append(FitSpread(figure, len(values), mean, min(values), max(values)))
    return tuple(out)


def noise_of(played: Sequence[PolicyRun], reference: PolicyRun) -> Noise | None:
    """Standard errors of the first curve's score at best, and of its lead over the reference."""
    first = next((one.curve for one in played if one.curve is not None), None)
    if first is None or len(reference.score) < 2:
        return None
    best, rows = first.score[:, 0], len(reference.score)
    error = float(best.std(ddof=1)) / rows**0.5
    return Noise(rows, error, float((best - reference.score).std(ddof=1)) / rows**0.5)
