"""Expected cost per request and target, learned from what requests really cost.

Why it exists: a target's mean cost hides that one question takes it ten times the tokens of
another. Saving money at equal quality needs the cost of *this* request; it helps where answers
vary in length, and changes nothing where they do not.

What it refuses: it knows nothing of prices. It learns from recorded costs in USD and predicts
USD; where a catalog's prices change, scale its answers or fit it again. No scikit-learn needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.encoders.text_encoder import Encoded, EncodedBatch
from llmrouter.learning.model.quality_model import Inputs
from llmrouter.learning.model.storage import ModelUnreadable, pack, unpack

FEWEST = 20
"""Recorded costs that a target needs before they are believed to depend on the request."""
_FLOOR = 1e-9
_RIDGE = 100.0
_FAR = 5.0


@dataclass(frozen=True, slots=True)
class CostModel:
    """Log-linear in the preference model's inputs: `slope` float32 [d, T], `level` float32 [T].

    `level` is the log of the mean cost in USD, corrected so that the mean over the training
    requests is the recorded one. Costs are kept within e**5 of the level.
    """

    targets: tuple[str, ...]
    inputs: Inputs
    slope: Floats
    level: Floats

    def estimate(self, encoded: Encoded) -> dict[str, float]:
        """USD per target for one request."""
        built = self.inputs.build(encoded.vector, encoded.readable)
        return dict(zip(self.targets, self._usd(built[None])[0].tolist(), strict=True))

    def estimate_many(self, batch: EncodedBatch, targets: Sequence[str]) -> Floats:
        """USD float32 [n, T] for n requests; NaN where a target has no recorded cost."""
        usd = self._usd(self.inputs.build(batch.vectors, batch.readable))
        out = np.full((len(batch), len(targets)), np.nan, np.float32)
        for column, target in enumerate(targets):
            if target in self.targets:
                out[:, column] = usd[:, self.targets.index(target)]
        return out

    def _usd(self, built: Floats) -> Floats:
        moved = np.minimum(np.maximum(built @ self.slope, -_FAR), _FAR)
        return np.asarray(np.exp(moved + self.level), np.float32)

    def to_bytes(self) -> bytes:
        """Versioned bytes (see `storage`), without the shared `inputs`."""
        meta = {"kind": "costs", "targets": list(self.targets)}
        return pack(meta, {"slope": self.slope, "level": self.level})

    @classmethod
    def from_bytes(cls, data: bytes, inputs: Inputs) -> CostModel:
        """Restores a model for the `inputs` it was fitted on. Raises `ModelUnreadable`."""
        meta, arrays = unpack(data)
        targets = meta.get("targets")
        slope, level = arrays.get("slope"), arrays.get("level")
        if meta.get("kind") != "costs" or not isinstance(targets, list):
            raise ModelUnreadable("these bytes are not a cost model")
        width = inputs.width
        if slope is None or level is None or slope.shape != (width, len(targets)):
            raise ModelUnreadable(f"the cost model does not fit inputs of width {width}")
        return cls(
            tuple(map(str, targets)), inputs, slope.astype(np.float32), level.astype(np.float32)
        )


def fit_costs(
    inputs: Inputs, batch: EncodedBatch, costs: Sequence[Mapping[str, float]]
) -> CostModel:
    """Fits on recorded costs in USD, one mapping a request, any subset of targets each.

    Ridge regression of each target's log cost. A target with fewer than `FEWEST` costs gets its
    mean for every request. Raises `ValueError` for a negative or non-finite cost.
    """
    targets = tuple(sorted({target for row in costs for target in row}))
    built = inputs.build(batch.vectors, batch.readable)
    slope = np.zeros((built.shape[1], len(targets)), np.float32)
    level = np.zeros(len(targets), np.float32)
    for column, target in enumerate(targets):
        rows = np.array([number for number, row in enumerate(costs) if target in row])
        usd = np.array([costs[number][target] for number in rows], np.float64)
        if not (np.isfinite(usd).all() and (usd >= 0).all()):
            raise ValueError(f"a cost of {target!r} is negative or not finite")
        moved = np.zeros(len(usd))
        if len(rows) >= FEWEST:
            seen = built[rows].astype(np.float64)
            slope[:, column] = _ridge(seen, np.log(np.maximum(usd, _FLOOR)))
            moved = np.minimum(np.maximum(seen @ slope[:, column], -_FAR), _FAR)
        level[column] = np.log(max(float(usd.mean()), _FLOOR) / float(np.exp(moved).mean()))
    return CostModel(targets, inputs, slope, level)


def _ridge(seen: np.ndarray[tuple[int, int], np.dtype[np.float64]], wanted: Floats) -> Floats:
    centred = seen - seen.mean(axis=0)
    gram = centred.T @ centred + _RIDGE * np.eye(seen.shape[1])
    return np.asarray(np.linalg.solve(gram, centred.T @ (wanted - wanted.mean())), np.float32)
