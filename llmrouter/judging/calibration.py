"""What a judge's probabilities are worth, by what came of them. Pure.

A server's probabilities are not a target's success rate. For each judge (protocol and model) and
target, a logistic curve over the log-odds is fitted on graded outcomes. It starts from the judge's
curve over all its targets, which starts from taking probabilities as they are: with few outcomes a
target's curve moves to the target's own mean level, with more its slope follows, too.

The same outcomes say how judgement and learned estimate are best combined for a task: by the weight
that would have had the least squared error, drawn to where it started while there are few.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
KEPT: Final = 1000
"""Newest outcomes of a judge and target that count."""
BINS: Final = 10
POOLED: Final = (2.0, 8.0)
"""What holds the judge's curve to probabilities as they are: on its level and on its slope."""
OWN: Final = (2.0, 20.0)
"""What holds a target's curve to its judge's."""
BLEND: Final = 2.0
"""Squared difference between both estimates that outweighs the weight one starts from."""
OTHERS: Final = 10.0
"""Weight of others' outcomes from which on one caller's count for no more than half."""
Line = tuple[float, float]
"""Level and slope over log-odds; (0, 1) takes probabilities as they are."""
AS_IT_IS: Final[Line] = (0.0, 1.0)


class Outcome(NamedTuple):
    """What came of one target's answer: `grade` 0..1, worth `weight`; what had been expected.

    `judged` is the judge's own probability, `learned` the learned model's (None without), `shown`
    what callers were told, which rests on earlier outcomes alone. `caller` is whose word it is.
    """

    judge: str
    target: str
    task: str
    grade: float
    weight: float
    judged: float | None
    learned: float | None
    shown: float | None
    caller: str = ""


class Reliability(NamedTuple):
    """How far probabilities were off: expected calibration error, and its bins.

    Each of `bins` is (mean probability, mean grade, weight); `outcomes` in all.
    """

    outcomes: int
    error: float
    bins: tuple[tuple[float, float, float], ...]


@dataclass(slots=True)
class Calibration:
    """Curves and weights, fitted on the outcomes so far."""

    outcomes: dict[tuple[str, str], deque[Outcome]] = field(default_factory=dict)
    _curves: dict[tuple[str, str], Line] = field(default_factory=dict)
    _pooled: dict[str, Line] = field(default_factory=dict)
    _blend: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; it counts from the next fit on."""
        place = outcome.judge, outcome.target
        self.outcomes.setdefault(place, deque(maxlen=KEPT)).append(outcome)

    def probability(self, judge: str, target: str, judged: float) -> float:
        """What a judge's probability for a target is worth, 0..1."""
        line = self._curves.get((judge, target)) or self._pooled.get(judge)
        return judged if line is None else _sigmoid(line[0] + line[1] * _logit(judged))

    def learned_share(self, task: str, start: float) -> float:
        """The weight (0..1) of the learned estimate beside the judgement, for a task."""
        against, products = self._blend.get(task, (0.0, 0.0))
        return min(1.0, max(0.0, (products + BLEND * start) / (against + BLEND)))

    def fit(self) -> None:
        """Fit every curve and weight anew."""
        by_judge: dict[str, list[Outcome]] = defaultdict(list)
        for (judge, _), kept in self.outcomes.items():
            by_judge[judge] += [one for one in kept if one.judged is not None]
        self._pooled = {
            judge: _fitted(rows, AS_IT_IS, POOLED) for judge, rows in by_judge.items() if rows
        }
        self._curves = {
            (judge, target): _fitted(rows, self._pooled[judge], OWN)
            for (judge, target), kept in self.outcomes.items()
            if (rows := [one for one in kept if one.judged is not None])
        }
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for kept in self.outcomes.values():
            for one in kept:
                if one.judged is not None and one.learned is not None:
                    said = self.probability(one.judge, one.target, one.judged)
                    apart = one.learned - said
                    sums[one.task][0] += one.weight * apart * apart
                    sums[one.task][1] += one.weight * (one.grade - said) * apart
        self._blend = {task: (both[0], both[1]) for task, both in sums.items()}

    def mean(self, target: str) -> tuple[float, float]:
        """A target's mean grade over all judges, and the weight of the outcomes behind it."""
        rows = [one for (_, name), kept in self.outcomes.items() if name == target for one in kept]
        weight = sum(one.weight for one in rows)
        return (sum(one.weight * one.grade for one in rows) / weight if weight else 0.0), weight

    def public(self) -> dict[str, Any]:
        """For `/stats` and the console: by judge and target, and the blend's weights by task."""
        judges: dict[str, dict[str, Any]] = {}
        for (judge, target), kept in sorted(self.outcomes.items()):
            shown = reliability((one.shown, one.grade, one.weight) for one in kept)
            raw = reliability((one.judged, one.grade, one.weight) for one in kept)
            judges.setdefault(judge or "none", {})[target] = {
                "outcomes": shown.outcomes,
                "mean_grade": round(self.mean(target)[0], 4),
                "calibration_error": round(shown.error, 4),
                "uncalibrated_error": round(raw.error, 4),
                "curve": [[round(value, 4) for value in one] for one in shown.bins],
            }
        whole = reliability(
            (one.shown, one.grade, one.weight) for kept in self.outcomes.values() for one in kept
        )
        return {
            "calibration_error": round(whole.error, 4),
            "outcomes": whole.outcomes,
            "judges": judges,
            "learned_share": {
                task: round(self.learned_share(task, 0.5), 3) for task in sorted(self._blend)
            },
        }


def reliability(rows: Iterable[tuple[float | None, float, float]]) -> Reliability:
    """Expected calibration error over BINS bins of equal width, of (probability, grade, weight)."""
    known = [(p, grade, weight) for p, grade, weight in rows if p is not None]
    sums = [[0.0, 0.0, 0.0] for _ in range(BINS)]
    for p, grade, weight in known:
        row = sums[min(int(p * BINS), BINS - 1)]
        row[0] += weight * p
        row[1] += weight * grade
        row[2] += weight
    total = sum(row[2] for row in sums)
    if not total:
        return Reliability(0, 0.0, ())
    error = sum(abs(row[0] - row[1]) for row in sums) / total
    bins = tuple((row[0] / row[2], row[1] / row[2], row[2]) for row in sums if row[2])
    return Reliability(len(known), error, bins)


def _fitted(rows: Sequence[Outcome], start: Line, held: tuple[float, float]) -> Line:
    """Level and slope by penalised maximum likelihood; the slope is never below 0."""
    odds = np.array([_logit(one.judged or 0.0) for one in rows])
    grades = np.array([one.grade for one in rows])
    weights = _capped(rows)
    inputs = np.stack((np.ones(len(rows)), odds), axis=1)
    centre, ridge = np.array(start), np.diag(held)
    line = centre.copy()
    for _ in range(15):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ line, -30, 30)))
        slope = inputs.T @ (weights * (grades - chance)) - ridge @ (line - centre)
        spread = weights * chance * (1.0 - chance)
        step = np.linalg.solve((inputs * spread[:, None]).T @ inputs + ridge, slope)
        line = line + np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-6:
            break
    return float(line[0]), max(float(line[1]), 0.0)


def _capped(rows: Sequence[Outcome]) -> Values:
    """Each outcome's weight; no caller's are more than half of all once others have some."""
    weights = np.array([one.weight for one in rows])
    totals: dict[str, float] = defaultdict(float)
    for one in rows:
        totals[one.caller] += one.weight
    worst = max(totals, key=totals.__getitem__)
    others = sum(totals.values()) - totals[worst]
    if worst and others >= OTHERS and totals[worst] > others:
        mine = np.array([one.caller == worst for one in rows])
        weights[mine] *= others / totals[worst]
    return weights


def _logit(p: float) -> float:
    kept = min(max(p, 0.005), 0.995)
    return math.log(kept / (1.0 - kept))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(value, -30.0), 30.0)))
