"""Tests that may be looked at after every request: their error rates hold at all times together.

All assume that grades and requests of different sessions are independent, that both arms are
graded alike, and that there are many sessions: requests of one session that fare alike count as
several.

**Grades, up to a horizon.** The standardised difference of the arms' means, times the square root
of how much of the information of `HORIZON` graded requests of the canary is there, is Brownian
motion if the catalogs answer alike. It ever reaches c before the horizon with probability
2 (1 - Phi(c)) (the reflection principle), so c = Phi^-1(1 - alpha / 2). This is O'Brien and
Fleming's boundary for looks at all times: early looks spend almost nothing, and at the horizon the
test is nearly as strong as one that looks once (Lan and DeMets, "Discrete sequential boundaries for
clinical trials", 1983). It needs large samples: the variance is never taken to be below
`LEAST_VARIANCE`, because the mean of rare events is skewed.

**Rates, for ever** (graded answers, failures). Traffic goes to the canary with a known share s,
whatever comes of it. If both catalogs answer alike, a graded request has the same distribution in
both arms, so for any rates a (current), b (canary) and o = (1 - s) a + s b the product over
requests of p_arm(y) / p_o(y) has expectation 1, also when the common rate drifts. A mixture of such
products is again one. By Ville's inequality it ever exceeds 1/alpha with probability at most alpha.
Grades between 0 and 1 enter linearly in the logarithm, which keeps the expectation at most 1, so
sums are all that must be kept. (Turner, Ly, Grunwald, "Generic E-variables for exact sequential
k-sample tests", 2024.)

**Means** (logarithms of cost and latency). The mixture sequential ratio test with a normal mixture
over the difference, with variances estimated from the data: valid for large samples (Johari et al.,
"Always valid inference", 2022). It says nothing before `LEAST` requests in each arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

LEAST: Final = 30
HORIZON: Final = 500
"""Graded requests of the canary within which a loss should be found."""
LEAST_VARIANCE: Final = 0.05
"""Of one grade from 0 to 1: a yes-or-no grade that is yes in 95% of requests has as much."""
_RATES: Final = (0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96)
_LOSSES: Final = ((0.05, 0.15), (0.1, 0.6), (0.2, 0.2), (0.35, 0.05))
"""Differences that are looked for, and how much each weighs: ten points above all."""
_SPREAD: Final = 0.3
"""Standard deviation of the differences of means that are looked for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many, and the sum of their values in 0..1."""

    count: float
    total: float

    @property
    def mean(self) -> float | None:
        """The rate, None without any."""
        return self.total / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class Sample:
    """How many, the sum of their values, and of the squares."""

    count: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """The mean, 0 without any."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Of the mean."""
        if self.count < 2:
            return math.inf
        spread = max(self.squares - self.total * self.total / self.count, 0.0)
        return spread / (self.count - 1) / self.count

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )


def crosses(current: Sample, canary: Sample, share: float, alpha: float, *, lower: bool) -> bool:
    """Whether the canary's grades are surely lower (or higher) than the current catalog's.

    If both have one mean, this is ever true with probability at most `alpha`; after `HORIZON`
    graded requests of the canary it is never true. `share` is the canary's of the sessions.
    """
    if not current.count or not canary.count:
        return False
    weight = 1.0 / current.count + 1.0 / canary.count
    information = (1.0 / HORIZON / (1.0 - share)) / weight
    if information > 1.0:
        return False
    both = current + canary
    one = max(both.squares / both.count - both.mean * both.mean, LEAST_VARIANCE)
    difference = canary.mean - current.mean
    z = (-difference if lower else difference) / math.sqrt(one * weight)
    return z * math.sqrt(information) >= _boundary(alpha)


@cache
def _boundary(alpha: float) -> float:
    return NormalDist().inv_cdf(1.0 - alpha / 2.0)


def evidence(current: Rate, canary: Rate, share: float, *, lower: bool) -> float:
    """The e-value against "the canary's rate is the same", where `lower` against "or higher".

    1/alpha or more happens with probability at most alpha while that holds, at any time.
    """
    sign = -1.0 if lower else 1.0
    logs: list[float] = []
    for rate in _RATES:
        for loss, weight in _LOSSES:
            other = rate + sign * loss
            if not 0.01 < other < 0.99:
                continue
            mixed = (1.0 - share) * rate + share * other
            logs.append(
                math.log(weight / len(_RATES))
                + _log_ratio(current, rate, mixed)
                + _log_ratio(canary, other, mixed)
            )
    top = max(logs)
    return math.exp(min(700.0, top + math.log(sum(math.exp(one - top) for one in logs))))


def _log_ratio(seen: Rate, rate: float, mixed: float) -> float:
    missed = seen.count - seen.total
    return seen.total * math.log(rate / mixed) + missed * math.log((1.0 - rate) / (1.0 - mixed))


def exceeds(current: Sample, canary: Sample, by: float, alpha: float) -> bool:
    """Whether the canary's mean is surely more than `by` above the current one's."""
    bounds = difference(current, canary, alpha)
    return bounds is not None and bounds[0] > by


def difference(current: Sample, canary: Sample, alpha: float) -> tuple[float, float] | None:
    """Bounds of the canary's mean less the current one's that hold at all times, or None so far."""
    if min(current.count, canary.count) < LEAST:
        return None
    variance = max(current.variance + canary.variance, 1e-12)
    spread = _SPREAD * _SPREAD
    radius = math.sqrt(
        variance
        * (variance + spread)
        / spread
        * math.log((variance + spread) / (variance * alpha * alpha))
    )
    middle = canary.mean - current.mean
    return middle - radius, middle + radius
