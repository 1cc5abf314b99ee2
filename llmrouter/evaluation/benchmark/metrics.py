"""Score, cost, savings, PGR, APGR, CPT and their bootstrap intervals. Pure; numpy alone.

Each figure is one function of arrays, small enough to check by hand. `score` [n] is the grade of
each chosen answer, `cost` [n] its cost; a curve is both for a row of settings `[n, L]`; `weights`
[B, n] are bootstrap draws (each row sums to n). All figures of one evaluation use the same draws,
so that differences stay paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.evaluation.offpolicy.estimators import Z

Values = NDArray[np.float64]

TINY = 1e-9
SLACK = np.linspace(0.0, 0.02, 21)
"""Points below the reference's score that a saving is averaged over."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95% bootstrap interval; NaN where a figure does not exist."""

    value: float
    low: float
    high: float


def interval(value: float, draws: Values, level: float = 0.95) -> Interval:
    """The percentile interval of `draws` [B]; draws that do not exist (NaN) are left out."""
    there = draws[~np.isnan(draws)]
    if not len(there):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - level) / 2
    return Interval(value, float(np.quantile(there, tail)), float(np.quantile(there, 1 - tail)))


def bootstrap_weights(rows: int, draws: int, seed: int) -> Values:
    """How often each row is drawn, float [draws, rows]; every draw holds `rows` rows."""
    random = np.random.default_rng(seed)
    even = np.full(rows, 1 / rows)
    return np.asarray(random.multinomial(rows, even, size=draws), np.float64)


def means(values: Values, weights: Values) -> Values:
    """Mean of `values` [n] or [n, L] under each draw: [B] or [B, L]."""
    return np.asarray(weights @ values / values.shape[0], np.float64)


def saving(score: Values, cost: Values, least_score: float, reference_cost: float) -> float:
    """The share of `reference_cost` that the cheapest sufficient point of a curve saves.

    `score`, `cost` [L]: the curve's means. Sufficient: a score of `least_score` or more. 0 where
    none is, or none is cheaper than the reference, which remains to be used; NaN where the
    reference costs nothing.
    """
    one = np.array([least_score]), np.array([reference_cost])
    return float(savings(score[None], cost[None], *one)[0])


def savings(score: Values, cost: Values, least_score: Values, reference_cost: Values) -> Values:
    """`saving` for B curves at once: [B, L], [B, L], [B], [B] give [B]."""
    enough = score >= least_score[:, None] - TINY
    cheapest = np.where(enough, cost, np.inf).min(axis=1)
    cheapest = np.minimum(cheapest, reference_cost)
    return np.asarray(1 - cheapest / np.where(reference_cost > 0, reference_cost, np.nan))


def average_savings(
    score: Values, cost: Values, reference_score: Values, reference_cost: Values
) -> Values:
    """`savings` at the reference's score less 0 to 2 points, averaged: [B].

    What is saved at an equal score jumps with a single row; this does not.
    """
    each = [savings(score, cost, reference_score - one, reference_cost) for one in SLACK.tolist()]
    return np.asarray(np.mean(each, axis=0))


def envelope(score: Values, cost: Values) -> tuple[Values, Values]:
    """The points of a curve that no cheaper point matches, by rising cost: (score, cost)."""
    order = np.lexsort((-score, cost))
    kept: list[int] = []
    best = -np.inf
    for index in order:
        if score[index] > best + TINY:
            kept.append(int(index))
            best = float(score[index])
    return score[kept], cost[kept]


def area(score: Values, cost: Values, low: float, high: float) -> float:
    """Mean score over costs from `low` to `high`, along the curve's envelope.

    Linear between envelope points; before the first point its score, after the last the last's.
    With `low` = `high`, the best score at that cost.
    """
    scores, costs = envelope(score, cost)
    if high - low <= TINY * max(abs(high), 1e-300):
        return float(np.interp(high, costs, scores))
    inside = (costs > low) & (costs < high)
    at = np.concatenate(([low], costs[inside], [high]))
    return float(np.trapezoid(np.interp(at, costs, scores), at) / (high - low))


@dataclass(frozen=True, slots=True)
class PairCurve:
    """What share of the gap is recovered at each share of strong calls.

    `share`, `recovered` [n + 1]: from no strong call (0) to all (1). Requests are ranked by the
    estimated gain; among equal ones the order is chance, so the gain of a tie is spread evenly.
    """

    share: Values
    recovered: Values


def pair_curve(gain: Values, weak: Values, strong: Values) -> PairCurve:
    """PGR against the share of strong calls, ranking by `gain` [n], highest first.

    `weak`, `strong` [n] are scores. NaN recovered where the strong target gains nothing in total.
    """
    recovered = pair_recovered(gain, weak, strong, np.ones((1, len(gain))))[0]
    return PairCurve(np.linspace(0, 1, len(gain) + 1), recovered)


def pair_recovered(gain: Values, weak: Values, strong: Values, weights: Values) -> Values:
    """`pair_curve`'s recovered shares under each draw [B, n]: [B, n + 1] on an even grid."""
    rows = len(gain)
    order = np.argsort(-gain, kind="stable")
    ranked = gain[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    drawn = weights[:, order]
    mass = np.cumsum(drawn, axis=1)[:, ends]
    won = np.cumsum(drawn * (strong - weak)[order], axis=1)[:, ends]
    grid = np.linspace(0, rows, rows + 1)
    out = np.full((len(weights), rows + 1), np.nan)
    for draw in range(len(weights)):
        total = won[draw, -1]
        if total > TINY:
            at = np.append(0.0, mass[draw])
            out[draw] = np.interp(grid, at, np.append(0.0, won[draw])) / total
    return out


def apgr(recovered: Values) -> float:
    """Average PGR over all shares of strong calls: the area under `recovered` [n + 1]."""
    return float(np.trapezoid(recovered, dx=1 / (len(recovered) - 1)))


def cpt(recovered: Values, wanted: float) -> float:
    """The least share of strong calls that recovers `wanted` (0..1) of the gap; NaN if none does.

    `recovered` [n + 1] over even shares; linear between two of them.
    """
    enough = np.flatnonzero(recovered >= wanted - TINY)
    if not len(enough):
        return float("nan")
    at = int(enough[0])
    if at == 0:
        return 0.0
    before, after = recovered[at - 1], recovered[at]
    part = (wanted - before) / (after - before) if after > before else 1.0
    return float((at - 1 + part) / (len(recovered) - 1))


def wilson(right: int, seen: int) -> Interval:
    """A share with its 95% Wilson interval; NaN where nothing was seen."""
    if not seen:
        return Interval(float("nan"), float("nan"), float("nan"))
    share = right / seen
    scale = 1 + Z * Z / seen
    middle = (share + Z * Z / (2 * seen)) / scale
    half = Z * np.sqrt(share * (1 - share) / seen + Z * Z / (4 * seen * seen)) / scale
    return Interval(share, float(middle - half), float(middle + half))
