"""How a model is fitted: one configuration for every data set, and one for live traffic."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmrouter.learning.model.mlp import NetworkSettings


@dataclass(frozen=True, slots=True)
class FitSettings:
    """One configuration for every data set.

    `width`: vector length; `vocabulary`: kept terms; `trees`, `leaf`, `depth`: the forest;
    `folds`: held-out folds for the blend, for calibration and for the memory's residuals; `lists`,
    `capacity`, `sharpness`, `shrink`: the memory; `memory_alone`: no estimator, for which numpy is
    enough. Few examples make few steps an epoch: where it errs less on the folds, the networks are
    fitted for up to `epochs`, as far as that is no more than `steps` steps.
    """

    width: int = 128
    vocabulary: int = 32_000
    network: NetworkSettings = field(default_factory=NetworkSettings)
    trees: int = 100
    leaf: int = 5
    depth: int = 14
    features: float = 0.3
    memory_alone: bool = False
    epochs: int = 40
    steps: int = 1000
    folds: int = 3
    lists: int = 256
    capacity: int = 50_000
    sharpness: float = 80.0
    shrink: float = 0.3


OF_TRAFFIC = FitSettings(epochs=0)
"""For lessons of live traffic: a repeat in other words may stand in two folds, which makes a long
fit look better than it is. Replayed, it was never better, once worse, and took twice as long."""

MEMORY_ALONE = replace(OF_TRAFFIC, memory_alone=True)
"""For lessons of live traffic where scikit-learn is not installed: the neighbour memory alone."""
