"""Fits of the evaluation's tests are small: what is tested is what is made of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmrouter.evaluation.benchmark import estimators
from llmrouter.evaluation.training import command, examining
from llmrouter.learning.model.fit_settings import FitSettings

USUAL = FitSettings()
SMALL = replace(
    USUAL,
    trees=20,
    epochs=0,
    folds=2,
    network=replace(USUAL.network, members=1, epochs=8),
)


def _small(fit: Callable[..., Any]) -> Callable[..., Any]:
    """The same fit, small where nothing else is asked for."""

    def fitted(examples: Any, settings: FitSettings | None = None, **given: Any) -> Any:
        return fit(examples, SMALL if settings in (None, USUAL) else settings, **given)

    return fitted


@pytest.fixture(autouse=True)
def small_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the service take seconds a fit, whatever the rows."""
    for module in (estimators, command, examining):
        monkeypatch.setattr(module, "fit", _small(module.fit))
