"""The results of an evaluation as frozen values, and as the JSON document of `--json`.

The table, the page and the JSON show the same figures, so they are computed once, here. A figure
that does not exist is null in JSON, never 0 and never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llmrouter.evaluation.benchmark.metrics import Interval

SCHEMA = 1
FIXED_PRICE = 0.1
"""Quality worth the dearest target's mean cost, at which curves are compared."""


@dataclass(frozen=True, slots=True)
class Single:
    """One target used for everything. `train_score` is NaN where training never graded it."""

    target: str
    train_score: float
    score: float
    cost: float


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """A policy's mean score and cost, and both against always using the best single target.

    `saving` is the share of the reference's cost, `gain` the difference in score (paired).
    `known`: share of first choices whose outcome is recorded. `sees_test`: decides by test grades.
    """

    name: str
    detail: str
    score: Interval
    cost: Interval
    saving: Interval
    gain: Interval
    known: float
    sees_test: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a dial: `price` is quality worth the dearest target's cost."""

    price: float
    score: float
    low: float
    high: float
    cost: float


@dataclass(frozen=True, slots=True)
class CurveResult:
    """A dial's whole range.

    `saving_equal`: saved at the cheapest point that scores no less than the reference;
    `saving_point`: no less than one point (0.01) below it. `top`: the score at best (price 0).
    `area`: mean score over costs from the cheapest target's to the reference's. `oracle_share`:
    how much of the way from the reference to the oracle the top goes. `lead`: `top` above that of
    plain nearest neighbours on the same rows, which says how much these rows let anyone gain.
    `fixed`: the score at `FIXED_PRICE`; `saving_average`: saved, averaged over a slack of 0 to 2
    points, which does not jump with a single row as `saving_equal` does.
    """

    policy: str
    points: tuple[Point, ...]
    top: Interval
    area: Interval
    saving_equal: Interval
    saving_point: Interval
    oracle_share: Interval
    lead: Interval
    fixed: Interval
    saving_average: Interval


@dataclass(frozen=True, slots=True)
class PairResult:
    """RouteLLM's figures for two targets: `cpt50`, `cpt80` are shares of strong calls."""

    policy: str
    strong: str
    weak: str
    apgr: Interval
    cpt50: Interval
    cpt80: Interval


@dataclass(frozen=True, slots=True)
class Noise:
    """How far figures vary between draws of this many rows, as standard deviations.

    `score`: of the first policy's score at best; `gain`: of its lead over always-best. A difference
    that is smaller is no progress.
    """

    rows: int
    score: float
    gain: float


@dataclass(frozen=True, slots=True)
class FitSpread:
    """One figure of the first policy over `fits` fits that differ in their seed alone."""

    figure: str
    fits: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """How far a policy's estimates were off: expected calibration error over all known outcomes.

    `curve` is (mean estimate, mean score, outcomes) by bin: a reliability curve.
    """

    policy: str
    error: float
    outcomes: int
    curve: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class SetResult:
    """One test set. `protocol` says what was fitted on what; `notes` what a reader must know."""

    name: str
    rows: int
    protocol: str
    unit: str
    cost_source: str
    reference: str
    reference_score: float
    reference_cost: float
    oracle_gap: float
    singles: tuple[Single, ...]
    policies: tuple[PolicyResult, ...]
    curves: tuple[CurveResult, ...]
    pairs: tuple[PairResult, ...]
    notes: tuple[str, ...]
    noise: Noise | None = None
    spread: tuple[FitSpread, ...] = ()
    calibration: tuple[CalibrationResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Every set of one run, with what makes it repeatable."""

    sets: tuple[SetResult, ...]
    seed: int
    draws: int


def document(report: Report) -> dict[str, Any]:
    """The `--json` document; docs/evaluation.md describes it."""
    return {
        "schema": SCHEMA,
        "seed": report.seed,
        "bootstrap_draws": report.draws,
        "confidence": 0.95,
        "sets": [_set(one) for one in report.sets],
    }


def _set(one: SetResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "rows": one.rows,
        "protocol": one.protocol,
        "cost": {"unit": one.unit, "source": one.cost_source},
        "reference": {
            "target": one.reference,
            "score": _number(one.reference_score),
            "cost": _number(one.reference_cost),
        },
        "oracle_gap": _number(one.oracle_gap),
        "targets": [
            {
                "target": single.target,
                "train_score": _number(single.train_score),
                "score": _number(single.score),
                "cost": _number(single.cost),
            }
            for single in one.singles
        ],
        "policies": [
            {
                "name": policy.name,
                "detail": policy.detail,
                "score": _interval(policy.score),
                "cost": _interval(policy.cost),
                "saving": _interval(policy.saving),
                "gain": _interval(policy.gain),
                "known": _number(policy.known),
                "sees_test": policy.sees_test,
            }
            for policy in one.policies
        ],
        "curves": [_curve(curve) for curve in one.curves],
        "pair": [
            {
                "policy": pair.policy,
                "strong": pair.strong,
                "weak": pair.weak,
                "apgr": _interval(pair.apgr),
                "cpt50": _interval(pair.cpt50),
                "cpt80": _interval(pair.cpt80),
            }
            for pair in one.pairs
        ],
        "calibration": [
            {
                "policy": found.policy,
                "error": _number(found.error),
                "outcomes": found.outcomes,
                "curve": [list(map(_number, part)) for part in found.curve],
            }
            for found in one.calibration
        ],
        "notes": list(one.notes),
        "noise": None
        if one.noise is None
        else {
            "rows": one.noise.rows,
            "score": _number(one.noise.score),
            "gain": _number(one.noise.gain),
        },
        "fits": [
            {
                "figure": part.figure,
                "fits": part.fits,
                "mean": _number(part.mean),
                "low": _number(part.low),
                "high": _number(part.high),
            }
            for part in one.spread
        ],
    }


def _curve(curve: CurveResult) -> dict[str, Any]:
    return {
        "policy": curve.policy,
        "top": _interval(curve.top),
        "area": _interval(curve.area),
        "saving_at_equal_score": _interval(curve.saving_equal),
        "saving_within_one_point": _interval(curve.saving_point),
        "oracle_share": _interval(curve.oracle_share),
        "lead_over_neighbours": _interval(curve.lead),
        "score_at_fixed_price": {"price": FIXED_PRICE, **_interval(curve.fixed)},
        "saving_averaged": _interval(curve.saving_average),
        "points": [
            {
                "price": _number(point.price),
                "score": _number(point.score),
                "score_low": _number(point.low),
                "score_high": _number(point.high),
                "cost": _number(point.cost),
            }
            for point in curve.points
        ],
    }


def _interval(one: Interval) -> dict[str, float | None]:
    return {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
