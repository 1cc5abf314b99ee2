"""Expected cost of one request at each target, learned from what requests really cost.

A target's mean cost hides that one question takes ten times the tokens of another, so a choice at
equal quality needs the cost of *this* request. Each target's cost, relative to its mean, is a ridge
regression on the readable measurements of the text (`hashing.READABLE`), never below a tenth of the
mean. The unit is the caller's: USD on outcome files, output tokens in the service, where the price
is applied afterwards and a price edit counts at once.

The regression rests on sums alone (`CostSums`), so a running service updates it request by request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import READABLE, Floats

Matrix = NDArray[np.float64]

WIDTH = len(READABLE)
FEWEST = 20
"""Recorded costs that a target needs before its cost is taken to depend on the request."""
FLOOR = 0.1
"""The least expected cost, as a share of the target's mean."""
RIDGE = 100.0
CLIP = 4.0
"""Measurements further from their mean than this many standard deviations count as that far."""
SMALLEST_SPREAD = 1e-3


class Regression(NamedTuple):
    """One target's mean cost, and how its cost relative to that follows from the measurements:
    `centre`, `spread` and `slope` float32 [WIDTH]; a slope of 0 where little is known.
    """

    mean: float
    centre: Floats
    spread: Floats
    slope: Floats


@dataclass(slots=True)
class CostSums:
    """Sums over one target's observed costs, all that the regression needs.

    With measurements x [WIDTH] and cost y: `count` of them, `x` and `y` their sums, `xx` the sum of
    outer products, `xy` the sum of x * y.
    """

    count: float = 0.0
    y: float = 0.0
    x: Matrix = field(default_factory=lambda: np.zeros(WIDTH))
    xy: Matrix = field(default_factory=lambda: np.zeros(WIDTH))
    xx: Matrix = field(default_factory=lambda: np.zeros((WIDTH, WIDTH)))

    def add(self, readable: Floats, costs: Matrix) -> None:
        """Adds observed `costs` [n] of requests measured as `readable` [n, WIDTH].

        Raises `ValueError` for a negative or non-finite cost.
        """
        if not (np.isfinite(costs).all() and (costs >= 0).all()):
            raise ValueError("a cost is negative or not finite")
        seen = readable.astype(np.float64)
        self.count += len(costs)
        self.y += float(costs.sum())
        self.x += seen.sum(axis=0)
        self.xy += costs @ seen
        self.xx += seen.T @ seen

    def fade(self, share: float) -> None:
        """Makes what was observed so far count `share` (0..1) of what it did."""
        self.count *= share
        self.y *= share
        self.x *= share
        self.xy *= share
        self.xx *= share

    @property
    def mean(self) -> float:
        """The mean observed cost; 0 without any."""
        return self.y / self.count if self.count else 0.0

    def regression(self) -> Regression:
        """The regression that these sums make; its slope is 0 under `FEWEST` costs."""
        count = max(self.count, 1.0)
        centre = self.x / count
        covariance = self.xx / count - np.outer(centre, centre)
        spread = np.sqrt(np.maximum(covariance.diagonal(), 0.0)) + SMALLEST_SPREAD
        slope: Matrix = np.zeros(WIDTH)
        if self.count >= FEWEST and self.mean > 0:
            gram = count * covariance / np.outer(spread, spread) + RIDGE * np.eye(WIDTH)
            wanted = (self.xy - self.x * self.mean) / spread / self.mean
            slope = np.asarray(np.linalg.solve(gram, wanted))
        parts = (part.astype(np.float32) for part in (centre, spread, slope))
        return Regression(self.mean, *parts)


@dataclass(frozen=True, slots=True)
class CostModel:
    """`mean` float32 [T]; `centre`, `spread`, `slope` float32 [T, WIDTH], in `targets`' order."""

    targets: tuple[str, ...]
    mean: Floats
    centre: Floats
    spread: Floats
    slope: Floats

    @classmethod
    def of(cls, regressions: Mapping[str, Regression]) -> CostModel:
        """The model of each target's regression."""
        parts, shape = list(regressions.values()), (len(regressions), WIDTH)
        centre, spread, slope = (
            np.array([part[at] for part in parts], np.float32).reshape(shape) for at in (1, 2, 3)
        )
        mean = np.array([part.mean for part in parts], np.float32)
        return cls(tuple(regressions), mean, centre, spread, slope)

    def estimate(self, readable: Floats) -> dict[str, float]:
        """The expected cost at each target of one request, measured as `readable` [WIDTH]."""
        return dict(zip(self.targets, self._costs(readable[:WIDTH]).tolist(), strict=True))

    def estimate_many(self, readable: Floats, targets: Sequence[str]) -> Floats:
        """Expected costs float32 [n, len(targets)] of n requests measured as `readable`
        [n, WIDTH or more]; NaN where a target has no observed cost.
        """
        out = np.full((len(readable), len(targets)), np.nan, np.float32)
        places = [(at, self.targets.index(t)) for at, t in enumerate(targets) if t in self.targets]
        for row, measured in enumerate(readable[:, :WIDTH]):
            costs = self._costs(measured)
            for at, place in places:
                out[row, at] = costs[place]
        return out

    def _costs(self, measured: Floats) -> Floats:
        apart = np.minimum(np.maximum((measured - self.centre) / self.spread, -CLIP), CLIP)
        relative = np.float32(1) + np.add.reduce(apart * self.slope, axis=1)
        return np.asarray(self.mean * np.maximum(relative, np.float32(FLOOR)), np.float32)


def fit_costs(readable: Floats, costs: Sequence[Mapping[str, float]]) -> CostModel:
    """Fits on recorded `costs`, one mapping a request, any subset of targets each.

    `readable` float32 [n, WIDTH or more] measures the requests (see `hashing.READABLE`). A target
    with fewer than `FEWEST` costs gets its mean for every request. Raises `ValueError` for a
    negative or non-finite cost.
    """
    sums: dict[str, CostSums] = {}
    for target in sorted({target for row in costs for target in row}):
        rows = [number for number, row in enumerate(costs) if target in row]
        paid = np.array([costs[number][target] for number in rows], np.float64)
        sums[target] = CostSums()
        sums[target].add(readable[rows, :WIDTH], paid)
    return CostModel.of({target: one.regression() for target, one in sums.items()})
