"""How far graded near neighbours move an estimate, learned from how far they were right to.

A neighbour's residual (its grade less what was estimated without it) is evidence about a request
that resembles it, but how much is a matter of the traffic: a question in other words repeats its
outcome, a twin sentence with one word changed may turn it round. So each band of similarity has its
own gain, learned by least squares: of a request's pull p (its neighbours' weighted mean residual)
and its residual r, the gain is sum(p * r) / sum(p * p), within 0..1. Only an exact repeat counts in
full, always.

What the fit has seen it has partly absorbed, so neighbours that were in the fit and neighbours that
came since have their own gains. The first are learned from requests of other folds, the second from
requests of the same fold, which their estimate had not seen either, and both from what is
remembered while serving. A caller that floods near neighbours moves a gain within 0..1 at the most.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Ints

EDGES = np.array([0.8, 0.9, 0.97, 0.995], np.float32)
"""Least cosine of each band; the last is that of exact repeats (keys are bytes, so 1 is rare)."""
BANDS = len(EDGES)
EXACT = BANDS - 1
STARTING = np.array([[0.1, 0.2, 0.4, 1.0], [0.25, 0.5, 0.75, 1.0]])
"""Gains [in the fit or since, band] before there is evidence,"""
EVIDENCE = 1.0
"""and the squared pull that they count as."""
CHUNK = 512


@dataclass(slots=True)
class NeighbourCorrection:
    """Gains by kind (0: in the fit, 1: since) and band; `shrink` is the weight of no neighbour.

    `sums` float64 [2, 2, BANDS] are sum(p * r) and sum(p * p). `flat` ignores bands: every
    neighbour counts in full, for a model that has nothing but its memory.
    """

    shrink: float = 0.3
    flat: bool = False
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2, BANDS)))
    gains: Floats = field(init=False)

    def __post_init__(self) -> None:
        """The gains follow from the sums."""
        self._refresh()

    def learn(self, kind: int, band: int, pull: Floats, residual: Floats) -> None:
        """One request's `pull` and `residual`, over the targets where both are known."""
        if band != EXACT:
            self.sums[:, kind, band] += float(pull @ residual), float(pull @ pull)
            self._refresh()

    def of(self, close: Floats, fitted: NDArray[np.bool_]) -> Floats:
        """The gain of each neighbour with cosine `close`, 0 below the lowest band."""
        if self.flat:
            return np.ones(len(close), np.float32)
        band = EDGES.searchsorted(close, side="right") - 1
        gains = self.gains.take(band + np.where(fitted, 0, BANDS), mode="clip")
        return gains * (band >= 0)

    def _refresh(self) -> None:
        gains = (self.sums[0] + EVIDENCE * STARTING) / (self.sums[1] + EVIDENCE)
        gains[:, EXACT] = 1.0
        self.gains = np.clip(gains, 0.0, 1.0).astype(np.float32)


def fit_correction(
    keys: Floats, residual: Floats, mass: Floats, fold: Ints, shrink: float
) -> NeighbourCorrection:
    """Learns the gains from out-of-fold residuals.

    `keys` float32 [n, w] are unit vectors, `residual` and `mass` [n, T] (0: not graded),
    `fold` [n].
    """
    found = NeighbourCorrection(shrink)
    given = (mass > 0).astype(np.float32)
    known = residual * given
    for at in range(0, len(keys), CHUNK):
        close = keys[at : at + CHUNK] @ keys.T
        close[np.arange(len(close)), at + np.arange(len(close))] = 0
        rows, others = (close >= EDGES[0]).nonzero()
        near = close[rows, others]
        band = EDGES.searchsorted(near, side="right") - 1
        kind = (fold[at + rows] == fold[others]).astype(np.int64)
        for which in range(2):
            for number in range(EXACT):
                pairs = (band == number) & (kind == which)
                if not pairs.any():
                    continue
                mine, theirs = rows[pairs], others[pairs]
                total = np.zeros((len(close), known.shape[1]), np.float32)
                weight = np.zeros_like(total)
                np.add.at(total, mine, known[theirs] * mass[theirs])
                np.add.at(weight, mine, mass[theirs])
                pull = total / (weight + np.float32(shrink))
                part = slice(at, at + len(close))
                pull *= given[part]
                found.sums[0, which, number] += float((pull * known[part]).sum())
                found.sums[1, which, number] += float((pull * pull).sum())
    found._refresh()
    return found
