"""On real outcomes the model beats always using the best single target."""

import gzip
import os
from pathlib import Path

import numpy as np
import orjson
import pytest

from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import FitSettings, fit

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LLMROUTER_DATA", ROOT.parent / "shared" / "data"))
QUICK = FitSettings(trees=40, folds=2, network=NetworkSettings(members=1))


def _rows(name: str, side: str) -> list[Example]:
    path = DATA / f"{name}.{side}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no outcome data at {path}")
    with gzip.open(path) as lines:
        rows = [orjson.loads(line) for line in lines]
    return [Example(row["prompt"], row["outcomes"], 1.0, row["task"]) for row in rows]


def test_nine_models_beats_the_best_single_model() -> None:
    """Taking the highest estimate scores more, and the estimates say more than means do."""
    model = fit(_rows("nine-models", "train"), QUICK).model
    rows = _rows("nine-models", "dev")
    grades = np.array([[row.grades[target] for target in model.targets] for row in rows])
    estimates = model.estimate_many([row.text for row in rows], model.targets)
    score = grades[np.arange(len(rows)), estimates.argmax(axis=1)].mean()
    assert score > grades.mean(axis=0).max()
    assert ((estimates - grades) ** 2).mean() < 0.9 * grades.var(axis=0).mean()


def test_gsm8k_gap_is_recovered_better_than_by_chance() -> None:
    """Ranking prompts by the estimated gain recovers clearly more than half the gap by area."""
    model = fit(_rows("gsm8k-pair", "train"), QUICK).model
    rows = _rows("gsm8k-pair", "dev")
    grades = np.array([[row.grades[target] for target in model.targets] for row in rows])
    estimates = model.estimate_many([row.text for row in rows], model.targets)
    order = np.argsort(-(estimates[:, 0] - estimates[:, 1]), kind="stable")
    gain = np.concatenate(([0.0], np.cumsum((grades[:, 0] - grades[:, 1])[order])))
    assert np.trapezoid(gain / gain[-1], dx=1 / len(rows)) >= 0.58
