"""The figures of one policy with their bootstrap intervals, and those of its curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmrouter.evaluation.benchmark import metrics
from llmrouter.evaluation.benchmark.metrics import Interval, interval
from llmrouter.evaluation.benchmark.policies import CostQualityCurve, Matrix, PolicyRun
from llmrouter.evaluation.benchmark.results import (
    FIXED_PRICE,
    CurveResult,
    Point,
    PolicyResult,
)

ONE_POINT = 0.01
"""How far below the best score a saving may be measured."""


class Draws:
    """Bootstrap draws of one set, the same for each of its figures."""

    def __init__(self, rows: int, draws: int, seed: int) -> None:
        self.weights = metrics.bootstrap_weights(rows, draws, seed)

    def means(self, values: Matrix) -> Matrix:
        """Mean of [n] or [n, L] under each draw."""
        return metrics.means(values, self.weights)

    def mean(self, values: Matrix) -> Interval:
        """The interval of a mean of [n]."""
        return interval(float(values.mean()), self.means(values))


def with_interval(one: PolicyRun, reference: PolicyRun, draws: Draws) -> PolicyResult:
    """The policy's figures, with the intervals of its score, cost, saving and gain."""
    base, spent = draws.means(reference.cost), draws.means(one.cost)
    paid = float(reference.cost.mean())
    saved = 1 - float(one.cost.mean()) / paid if paid > 0 else float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(base > 0, 1 - spent / base, np.nan)
    return PolicyResult(
        name=one.name,
        detail=one.detail,
        score=draws.mean(one.score),
        cost=draws.mean(one.cost),
        saving=interval(saved, drawn),
        gain=draws.mean(one.score - reference.score),
        known=one.known,
        sees_test=one.sees_test,
    )


@dataclass(frozen=True, slots=True)
class Marks:
    """What a curve is measured against; `lowest` is the mean cost of the cheapest target."""

    reference: PolicyRun
    oracle: PolicyRun | None
    plain: CostQualityCurve | None
    lowest: float


def curve_result(
    one: PolicyRun, curve: CostQualityCurve, marks: Marks, draws: Draws
) -> CurveResult:
    """The curve's figures, measured against `marks`."""
    reference, oracle, lowest = marks.reference, marks.oracle, marks.lowest
    score, cost = curve.score.mean(axis=0), curve.cost.mean(axis=0)
    scores, costs = draws.means(curve.score), draws.means(curve.cost)
    base_score, base_cost = float(reference.score.mean()), float(reference.cost.mean())
    base_scores, base_costs = draws.means(reference.score), draws.means(reference.cost)
    area = metrics.area(score, cost, lowest, max(base_cost, lowest))
    few = slice(0, 200)  # an envelope a draw is slow, and 200 draws place an area well enough
    areas = np.array(
        [
            metrics.area(s, c, lowest, max(base_cost, lowest))
            for s, c in zip(scores[few], costs[few], strict=True)
        ]
    )

    def saved(below: float) -> Interval:
        value = metrics.saving(score, cost, base_score - below, base_cost)
        return interval(value, metrics.savings(scores, costs, base_scores - below, base_costs))

    share = interval(float("nan"), np.array([]))
    if oracle is not None:
        gap = float(oracle.score.mean()) - base_score
        gaps = draws.means(oracle.score) - base_scores
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(gaps > metrics.TINY, (scores[:, 0] - base_scores) / gaps, np.nan)
        value = (float(score[0]) - base_score) / gap if gap > metrics.TINY else float("nan")
        share = interval(value, shares)
    plain = np.nan if marks.plain is None else marks.plain.score[:, 0]
    low, high = np.quantile(scores, [0.025, 0.975], axis=0)
    points = tuple(
        Point(float(p), float(s), float(lo), float(hi), float(c))
        for p, s, lo, hi, c in zip(curve.prices, score, low, high, cost, strict=True)
    )
    average = metrics.average_savings(
        score[None], cost[None], np.array([base_score]), np.array([base_cost])
    )
    averages = metrics.average_savings(scores[few], costs[few], base_scores[few], base_costs[few])
    fixed = int(np.argmin(np.abs(curve.prices - FIXED_PRICE)))
    return CurveResult(
        policy=one.name,
        points=points,
        top=interval(float(score[0]), scores[:, 0]),
        area=interval(area, areas),
        saving_equal=saved(0.0),
        saving_point=saved(ONE_POINT),
        oracle_share=share,
        lead=draws.mean(curve.score[:, 0] - plain),
        fixed=interval(float(score[fixed]), scores[:, fixed]),
        saving_average=interval(float(average[0]), averages),
    )
