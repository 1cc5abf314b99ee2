"""What a target's own confidence has been worth: a reading in, a probability of being good out.

One model's 0.9 is right nine times in ten, another's every other time, so no constant serves both.
Each target and measure has a curve of its own, fitted to what came of its answers (Platt scaling:
`logit p = slope * logit reading + shift`). The prior is that a reading is the probability itself,
and a curve leaves it only as far as the evidence goes: with no outcomes it is that prior, with a
few it leans, with hundreds it is the target's record. A curve never falls: where higher readings
did worse, the readings tell nothing and the record alone counts.

Outcomes are kept as sums in a few bins, and older ones fade, so memory is bounded and a model that
changes is followed. Pure; `witness` feeds and keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BINS = 25
EDGE = 6.0
"""Readings are told apart between logits of -6 and 6 (0.25% and 99.75%)."""
KEPT = 500.0
"""Beyond so much evidence a curve's older outcomes fade."""
CURVES = 256
_SHIFT_PRIOR, _SLOPE_PRIOR = 1.0, 4.0  # precisions: what so many bits of evidence would weigh
_STEPS = 30


class PlattCurve:
    """One target's record for one measure: evidence and goodness per bin of readings."""

    __slots__ = ("_fitted", "good", "seen")

    def __init__(self) -> None:
        self.seen = [0.0] * BINS
        self.good = [0.0] * BINS
        self._fitted: tuple[float, float] | None = (1.0, 0.0)

    @property
    def evidence(self) -> float:
        """How many outcomes it rests on."""
        return sum(self.seen)

    def add(self, reading: float, good: float, weight: float = 1.0) -> None:
        """One outcome: `good` in 0..1."""
        at = round((_logit(reading) + EDGE) / (2 * EDGE) * (BINS - 1))
        self.seen[at] += weight
        self.good[at] += weight * good
        self._fade()

    def merge(self, other: PlattCurve) -> None:
        """Take another's outcomes in."""
        self.seen = [mine + theirs for mine, theirs in zip(self.seen, other.seen, strict=True)]
        self.good = [mine + theirs for mine, theirs in zip(self.good, other.good, strict=True)]
        self._fade()

    def _fade(self) -> None:
        self._fitted = None
        if (total := self.evidence) > KEPT:
            self.seen = [value * KEPT / total for value in self.seen]
            self.good = [value * KEPT / total for value in self.good]

    def probability(self, reading: float) -> float:
        """How likely an answer with this reading is good."""
        if self._fitted is None:
            self._fitted = _fit(self.seen, self.good)
        slope, shift = self._fitted
        return _sigmoid(slope * _logit(reading) + shift)


def _fit(seen: list[float], good: list[float]) -> tuple[float, float]:
    """Slope and shift that make the outcomes likeliest, given the prior (Newton's method)."""
    points = [
        (2 * EDGE * at / (BINS - 1) - EDGE, n, k)
        for at, (n, k) in enumerate(zip(seen, good, strict=True))
        if n > 0
    ]
    slope, shift = _newton(points, 1.0, free=True)
    return (slope, shift) if slope >= 0 else _newton(points, 0.0, free=False)


def _newton(
    points: list[tuple[float, float, float]], slope: float, *, free: bool
) -> tuple[float, float]:
    """The maximum of a concave likelihood; `free` False holds the slope where it is."""
    shift = 0.0
    for _ in range(_STEPS):
        down_a, down_b = _SLOPE_PRIOR * (slope - 1.0), _SHIFT_PRIOR * shift
        aa, ab, bb = _SLOPE_PRIOR, 0.0, _SHIFT_PRIOR
        for x, n, k in points:
            p = _sigmoid(slope * x + shift)
            down_a += (n * p - k) * x
            down_b += n * p - k
            bend = n * p * (1.0 - p)
            aa, ab, bb = aa + bend * x * x, ab + bend * x, bb + bend
        if not free:
            step_a, step_b = 0.0, down_b / bb
        else:
            determinant = aa * bb - ab * ab
            step_a = (bb * down_a - ab * down_b) / determinant
            step_b = (aa * down_b - ab * down_a) / determinant
        reach = max(1.0, abs(step_a), abs(step_b))  # never further than 1 at a time
        slope, shift = slope - step_a / reach, shift - step_b / reach
        if abs(step_a) + abs(step_b) < 1e-6:
            break
    return slope, shift


class Calibration:
    """Curves by name and measure, at most CURVES of them: those with least evidence go."""

    def __init__(self) -> None:
        self.curves: dict[tuple[str, str], PlattCurve] = {}

    def probability(self, name: str, measure: str, reading: float) -> float:
        """How likely an answer of `name` with this reading is good; the reading, unheard of."""
        curve = self.curves.get((name, measure))
        return min(1.0, max(0.0, reading)) if curve is None else curve.probability(reading)

    def add(self, name: str, readings: Mapping[str, float], good: float, weight: float) -> None:
        """One outcome of an answer with these readings by measure."""
        for measure, reading in readings.items():
            self._curve(name, measure).add(reading, good, weight)

    def merge(self, other: Calibration) -> None:
        """Take another's outcomes in."""
        for (name, measure), curve in other.curves.items():
            self._curve(name, measure).merge(curve)

    def _curve(self, name: str, measure: str) -> PlattCurve:
        curve = self.curves.get((name, measure))
        if curve is None:
            if len(self.curves) >= CURVES:
                del self.curves[min(self.curves, key=lambda key: self.curves[key].evidence)]
            curve = self.curves[name, measure] = PlattCurve()
        return curve

    def dump(self) -> list[list[Any]]:
        """As JSON may hold it."""
        return [
            [name, measure, [round(v, 3) for v in curve.seen], [round(v, 3) for v in curve.good]]
            for (name, measure), curve in self.curves.items()
        ]

    @classmethod
    def load(cls, dumped: Any) -> Calibration:
        """The inverse of `dump`. Raises ValueError or TypeError on anything else."""
        made = cls()
        for name, measure, seen, good in dumped:
            curve = PlattCurve()
            curve.seen, curve.good = [float(v) for v in seen], [float(v) for v in good]
            if len(curve.seen) != BINS or len(curve.good) != BINS:
                raise ValueError("a curve has another number of bins")
            if not all(0.0 <= k <= n + 0.01 < math.inf for n, k in zip(seen, good, strict=True)):
                raise ValueError("a curve's sums are no outcomes")
            curve._fade()
            made.curves[str(name), str(measure)] = curve
        return made


def _logit(p: float) -> float:
    floor = _sigmoid(-EDGE)
    p = min(1.0 - floor, max(floor, p))
    return math.log(p / (1.0 - p))


def _sigmoid(x: float) -> float:
    if x < 0:
        odds = math.exp(max(x, -700.0))
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + math.exp(-x))
