"""Fits estimators on training rows and asks them about test rows. Slow; shows its progress.

Why it exists: the learned policy, with each encoder, and the plain baselines it must beat
(nearest neighbours and a linear model on tf-idf words) answer one question: the expected quality
of each target for each prompt. Everything else in this package is arithmetic on that matrix.

What it refuses: a test row's outcome or cost never reaches an estimator. `task` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from llmrouter.evaluation.benchmark.costs import Prices, mean_costs, recorded_costs
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.text_encoders import known_encoder
from llmrouter.learning.encoders.text_encoder import Dense
from llmrouter.learning.model.cost_model import fit_costs
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import FitSettings, fit
from llmrouter.util.extras import require

Matrix = NDArray[np.float64]
Progress = Callable[[str, float], None]

NEIGHBOURS = 40
BASELINES = ("neighbours", "linear")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was estimated for training rows that the estimator had not seen, for tuning.

    Rows with an outcome for every target only: `quality`, `outcomes`, `expected`, `realised`
    are all [m, T]; the last two are costs.
    """

    quality: Matrix
    outcomes: Matrix
    expected: Matrix
    realised: Matrix


@dataclass(frozen=True, slots=True)
class Prediction:
    """Expected quality [n, T] in 0..1, and expected cost in USD [n, T] (NaN: nothing known)."""

    quality: Matrix
    expected: Matrix
    held_out: HeldOut | None = None


@dataclass(frozen=True, slots=True)
class Learner:
    """A named estimator. `encoder` is read beside the words, whose vectors the rows teach."""

    name: str
    kind: str = "model"
    encoder: Dense | None = None
    settings: FitSettings = field(default_factory=FitSettings)


def learner(spec: str) -> Learner:
    """The learner of `hashing`, `local:MODEL`, `openai:MODEL[@BASE_URL]`, or a baseline's name.

    See `encoding.known_encoder`. Raises `UnknownEncoder`.
    """
    if spec in BASELINES:
        return Learner(spec, kind=spec)
    return Learner(f"learned ({spec})", encoder=known_encoder(spec))


def learners(specs: Sequence[str]) -> tuple[Learner, ...]:
    """One learner a spec, each spec once; addresses are left out of names that differ without."""
    found = [learner(spec) for spec in dict.fromkeys(specs)]
    short = [one.name if "@" not in one.name else f"{one.name.partition('@')[0]})" for one in found]
    return tuple(
        replace(one, name=name) if short.count(name) == 1 else one
        for one, name in zip(found, short, strict=True)
    )


def predict(
    learner: Learner,
    train: Sequence[Row],
    test: Sequence[Row],
    targets: Sequence[str],
    *,
    prices: Prices,
    seed: int,
    progress: Progress,
) -> Prediction:
    """Fits on `train` and estimates `targets` for `test`."""
    if learner.kind == "model":
        return _model(learner, train, test, targets, prices, seed, progress)
    quality = _baseline(learner.kind, train, test, targets)
    progress(learner.name, 1.0)
    return Prediction(quality, mean_costs(train, test, targets, prices))


def _model(
    learner: Learner,
    train: Sequence[Row],
    test: Sequence[Row],
    targets: Sequence[str],
    prices: Prices,
    seed: int,
    progress: Progress,
) -> Prediction:
    examples = [Example(row.prompt, row.outcomes, 1.0, row.task or None) for row in train]
    stages = {"encode": (0.0, 0.05), "hold out": (0.05, 0.7), "fit": (0.7, 0.95)}

    def stage(name: str, share: float) -> None:
        start, end = stages.get(name, (0.95, 0.97))
        progress(learner.name, start + (end - start) * share)

    fitted = fit(examples, learner.settings, encoder=learner.encoder, seed=seed, progress=stage)
    model = fitted.model
    batch = model.encoder.encode_many([row.prompt for row in test])
    quality = model.estimate_many(batch, targets).astype(np.float64)
    seen = model.encoder.encode_many([row.prompt for row in train])
    expected = mean_costs(train, test, targets, prices)
    expected_train = mean_costs(train, train, targets, prices)
    if any(row.costs for row in train):
        costs = fit_costs(seen.readable, [row.costs for row in train])
        expected = _prefer(costs.estimate_many(batch.readable, targets), expected)
        expected_train = _prefer(costs.estimate_many(seen.readable, targets), expected_train)
    progress(learner.name, 1.0)
    held_out = _held_out(train, targets, model.targets, fitted.held_out, expected_train, prices)
    return Prediction(quality, expected, held_out)


def _prefer(learned: NDArray[np.float32], otherwise: Matrix) -> Matrix:
    return np.where(np.isnan(learned), otherwise, learned).astype(np.float64)


def _held_out(
    train: Sequence[Row],
    targets: Sequence[str],
    order: Sequence[str],
    estimates: NDArray[np.float32],
    expected: Matrix,
    prices: Prices,
) -> HeldOut | None:
    if not set(targets) <= set(order):
        return None
    full = [number for number, row in enumerate(train) if row.outcomes.keys() >= set(targets)]
    if not full:
        return None
    columns = [list(order).index(target) for target in targets]
    rows = [train[number] for number in full]
    outcomes = np.array([[row.outcomes[target] for target in targets] for row in rows])
    paid = recorded_costs(rows, targets, prices)
    quality = estimates[np.ix_(full, columns)].astype(np.float64)
    return HeldOut(
        quality, outcomes, expected[full], np.where(np.isnan(paid), expected[full], paid)
    )


def mean_quality(train: Sequence[Row], targets: Sequence[str]) -> NDArray[np.float64]:
    """Mean outcome [T] in training; a target never graded there gets the mean of the others."""
    means = np.full(len(targets), np.nan)
    for column, target in enumerate(targets):
        graded = [row.outcomes[target] for row in train if target in row.outcomes]
        if graded:
            means[column] = np.mean(graded)
    middle = 0.5 if np.isnan(means).all() else float(np.nanmean(means))
    return np.where(np.isnan(means), middle, means)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _baseline(
    kind: str, train: Sequence[Row], test: Sequence[Row], targets: Sequence[str]
) -> Matrix:
    """Plain estimators on tf-idf words: the mean of 40 neighbours, or ridge regression."""
    require("learn", "fitting the baselines")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    means = mean_quality(train, targets)
    out = np.tile(means, (len(test), 1))
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, analyzer=_words)
    try:
        seen = words.fit_transform([row.prompt for row in train])
    except ValueError:  # no word stands in two prompts: nothing to go by but the means
        return out
    asked = words.transform([row.prompt for row in test])
    for column, target in enumerate(targets):
        graded = [number for number, row in enumerate(train) if target in row.outcomes]
        if not graded:
            continue
        grades = np.array([train[number].outcomes[target] for number in graded])
        known = seen[graded]
        if kind == "linear":
            out[:, column] = Ridge(alpha=3.0).fit(known, grades).predict(asked)
            continue
        near = min(NEIGHBOURS, len(graded))
        for at in range(0, len(test), 512):
            close = np.asarray((asked[at : at + 512] @ known.T).todense())
            top = np.argpartition(-close, near - 1, axis=1)[:, :near]
            out[at : at + 512, column] = grades[top].mean(axis=1)
    return np.clip(out, 0.0, 1.0)
