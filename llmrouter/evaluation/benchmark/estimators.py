"""Fits estimators on training rows and predicts each target's quality for each test row.

The estimators are the learned model, with each encoder, and two baselines that it must beat:
nearest neighbours and a linear model on tf-idf words. Fitting is slow and shows progress. An
estimator never sees a test row's outcome or cost. It sees its `task` where training rows declare
tasks that were not made from outcomes (see `learning.model.word_views`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.patterns import compile_pattern
from llmrouter.evaluation.benchmark.costs import Prices, mean_costs, recorded_costs
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.text_encoders import known_encoder
from llmrouter.learning.encoders.hashed_features import measure
from llmrouter.learning.encoders.text_encoder import Dense
from llmrouter.learning.model.base_training import Costs
from llmrouter.learning.model.cost_model import fit_costs
from llmrouter.learning.model.fit_settings import FitSettings
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import fit
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
    """Expected quality [n, T] in 0..1, and expected cost in USD [n, T] (NaN: nothing known).

    `notes` say what a reader of the figures must know.
    """

    quality: Matrix
    expected: Matrix
    held_out: HeldOut | None = None
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class FitInputs:
    """What a fit is given besides rows: prices, the seed of its chance, who is told of progress."""

    prices: Prices
    seed: int
    progress: Progress


def predict(
    learner: Learner,
    train: Sequence[Row],
    test: Sequence[Row],
    targets: Sequence[str],
    given: FitInputs,
) -> Prediction:
    """Fits on `train` and estimates `targets` for `test`."""
    if learner.kind == "model":
        return _model(learner, train, test, targets, given)
    quality = _baseline(learner.kind, train, test, targets)
    given.progress(learner.name, 1.0)
    return Prediction(quality, mean_costs(train, test, targets, given.prices))


def _model(
    learner: Learner,
    train: Sequence[Row],
    test: Sequence[Row],
    targets: Sequence[str],
    given: FitInputs,
) -> Prediction:
    prices, progress = given.prices, given.progress
    examples = [Example(row.prompt, row.outcomes, 1.0, row.task or None) for row in train]
    stages = {"encode": (0.0, 0.05), "hold out": (0.05, 0.7), "fit": (0.7, 0.95)}

    def stage(name: str, share: float) -> None:
        start, end = stages.get(name, (0.95, 0.97))
        progress(learner.name, start + (end - start) * share)

    graded = tuple(sorted({target for row in train for target in row.outcomes}))
    expected, expected_train = _expected_costs(train, test, targets, graded, prices)
    fitted = fit(
        examples,
        learner.settings,
        encoder=learner.encoder,
        costs=_costs(train, graded, expected_train, prices),
        seed=given.seed,
        progress=stage,
    )
    model = fitted.model
    batch = model.encoder.encode_many([row.prompt for row in test])
    tasks = [row.task or None for row in test]
    quality = model.estimate_many(batch, targets, tasks).astype(np.float64)
    progress(learner.name, 1.0)
    held_out = None
    if set(targets) <= set(graded):
        columns = [graded.index(target) for target in targets]
        paid = expected_train[:, columns]
        held_out = _held_out(train, targets, graded, fitted.held_out, paid, prices)
    return Prediction(quality, expected, held_out, fitted.notes)


def _expected_costs(
    train: Sequence[Row],
    test: Sequence[Row],
    targets: Sequence[str],
    graded: Sequence[str],
    prices: Prices,
) -> tuple[Matrix, Matrix]:
    """Expected USD of `test` at `targets` and of `train` at those `graded` there: by regression
    where training rows record costs, else their means, else by price; NaN where nothing is known.
    """
    expected = mean_costs(train, test, targets, prices)
    expected_train = mean_costs(train, train, graded, prices)
    if any(row.costs for row in train):
        asked, seen = (
            np.stack([measure(row.prompt).readable for row in rows]) for rows in (test, train)
        )
        model = fit_costs(seen, [row.costs for row in train])
        expected = _prefer(model.estimate_many(asked, targets), expected)
        expected_train = _prefer(model.estimate_many(seen, graded), expected_train)
    return expected, expected_train


def _costs(
    train: Sequence[Row], graded: Sequence[str], expected: Matrix, prices: Prices
) -> Costs | None:
    """What the blend may be chosen by; None where some cost is not known."""
    if not expected.size or np.isnan(expected).any():
        return None
    paid = recorded_costs(train, graded, prices)
    return Costs(expected, np.where(np.isnan(paid), expected, paid))


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


_WORD = compile_pattern(r"\w+")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


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
