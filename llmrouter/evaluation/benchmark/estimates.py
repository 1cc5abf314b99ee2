"""Estimates made without the test rows: what policies decide by.

With separate training files there is one fit. Without them the test file is cut into folds, and
each fold is predicted by a fit on the others. The result is the same in both cases: one set of
matrices over the test rows. No estimate of a row uses that row's own outcomes or costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from llmrouter.evaluation.benchmark.costs import Prices, counted, fill, mean_costs
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.benchmark.estimators import (
    FitInputs,
    HeldOut,
    Learner,
    Prediction,
    mean_quality,
    predict,
)
from llmrouter.evaluation.benchmark.training_sets import Family, answering
from llmrouter.learning.model.training import folds_of

Matrix = NDArray[np.float64]
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class PriorEstimates:
    """Everything is over test rows, in order, and targets: [n, T].

    `mean_quality` and `mean_cost` are training means (costs: or prices, or default units);
    `quality` and `expected` are each learner's own, by name; `expected_usd` is `expected` as far as
    training or prices tell it (NaN elsewhere). `held_out` is a learner's evidence for tuning, one a
    fit, with the rows [m] that the fit answers. `notes` are the fits' own, each once.
    """

    targets: tuple[str, ...]
    mean_quality: Matrix
    mean_cost: Matrix
    quality: dict[str, Matrix]
    expected: dict[str, Matrix]
    held_out: dict[str, list[tuple[NDArray[np.int64], HeldOut]]]
    usd: bool
    expected_usd: dict[str, Matrix]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitting:
    """How beliefs are formed: the same for every set of one evaluation."""

    learners: tuple[Learner, ...]
    prices: Prices
    seed: int = 0
    folds: int = 5


def prior_estimates(
    test: Sequence[Row],
    targets: tuple[str, ...],
    found: Sequence[Family],
    fitting: Fitting,
    progress: Progress,
) -> PriorEstimates:
    """Beliefs about `test` from the training families `found` (those that `families.used` names).

    Without any, by cross-validation on `test`.
    """
    if found:
        return _from_training(test, targets, found, fitting, progress)
    return _cross_validated(test, targets, fitting, progress)


def _from_training(
    test: Sequence[Row],
    targets: tuple[str, ...],
    found: Sequence[Family],
    fitting: Fitting,
    progress: Progress,
) -> PriorEstimates:
    order = answering(found, targets)
    homes = [order[target] for target in targets]
    everyone = np.arange(len(test))
    predicted: dict[str, dict[int, Prediction]] = {}
    done = 0
    for learner in fitting.learners:
        predicted[learner.name] = {}
        for family in found:

            def step(name: str, share: float, done: int = done) -> None:
                progress(name, (done + share) / (len(fitting.learners) * max(len(found), 1)))

            predicted[learner.name][id(family)] = predict(
                learner,
                family.rows,
                test,
                targets,
                FitInputs(fitting.prices, fitting.seed, step),
            )
            done += 1
    pick = _homes(test, homes)
    quality, expected, held_out = {}, {}, {}
    for learner in fitting.learners:
        parts = predicted[learner.name]
        middle = mean_quality([row for family in found for row in family.rows], targets)
        quality[learner.name] = _assemble(
            pick, {key: one.quality for key, one in parts.items()}, middle
        )
        expected[learner.name] = _assemble(
            pick,
            {key: one.expected for key, one in parts.items()},
            np.full(len(targets), np.nan),
        )
        only = next(iter(parts.values())) if len(parts) == 1 else None
        if only is not None and only.held_out is not None:
            held_out[learner.name] = [(everyone, only.held_out)]
    means = {id(f): np.tile(mean_quality(f.rows, targets), (len(test), 1)) for f in found}
    costs = {id(f): mean_costs(f.rows, test, targets, fitting.prices) for f in found}
    everything = [row for family in found for row in family.rows]
    found_estimates = _finished(
        targets,
        _assemble(pick, means, mean_quality(everything, targets)),
        _assemble(pick, costs, np.full(len(targets), np.nan)),
        quality,
        expected,
        held_out,
    )
    notes = [note for one in predicted.values() for part in one.values() for note in part.notes]
    return replace(found_estimates, notes=tuple(dict.fromkeys(notes)))


def _homes(
    test: Sequence[Row], homes: Sequence[tuple[Family, ...]]
) -> list[list[tuple[int, NDArray[np.int64]]]]:
    """Per target, which family (by identity) answers which rows: the one that knows the row's
    task, else the first.
    """
    out: list[list[tuple[int, NDArray[np.int64]]]] = []
    for families in homes:
        rows: dict[int, list[int]] = {}
        for number, row in enumerate(test):
            if families:
                knows = [family for family in families if row.task in family.tasks]
                rows.setdefault(id((knows or families)[0]), []).append(number)
        out.append([(key, np.array(numbers)) for key, numbers in rows.items()])
    return out


def _assemble(
    pick: list[list[tuple[int, NDArray[np.int64]]]],
    parts: dict[int, Matrix],
    otherwise: NDArray[np.float64],
) -> Matrix:
    count = len(next(iter(parts.values()))) if parts else 0
    out = np.tile(otherwise, (count, 1))
    for column, sources in enumerate(pick):
        for key, rows in sources:
            out[rows, column] = parts[key][rows, column]
    return out


def _cross_validated(
    test: Sequence[Row], targets: tuple[str, ...], fitting: Fitting, progress: Progress
) -> PriorEstimates:
    shape = (len(test), len(targets))
    fold = _folds([row.prompt for row in test], fitting.folds)
    means, costs = np.full(shape, 0.5), np.full(shape, np.nan)
    quality = {one.name: np.full(shape, 0.5) for one in fitting.learners}
    expected = {one.name: np.full(shape, np.nan) for one in fitting.learners}
    held_out: dict[str, list[tuple[NDArray[np.int64], HeldOut]]] = {}
    notes: list[str] = []
    for number in range(fitting.folds):
        at = np.flatnonzero(fold == number)
        rest = [row for row, where in zip(test, fold, strict=True) if where != number]
        rest = [row for row in rest if row.outcomes]
        part = [test[index] for index in at.tolist()]
        if not len(at) or not rest:
            continue
        means[at] = mean_quality(rest, targets)
        costs[at] = mean_costs(rest, part, targets, fitting.prices)
        for index, learner in enumerate(fitting.learners):

            def step(name: str, share: float, number: int = number, index: int = index) -> None:
                done = number + (index + share) / len(fitting.learners)
                progress(name, done / fitting.folds)

            one = predict(
                learner,
                rest,
                part,
                targets,
                FitInputs(fitting.prices, fitting.seed, step),
            )
            quality[learner.name][at] = one.quality
            expected[learner.name][at] = one.expected
            notes += one.notes
            if one.held_out is not None:
                held_out.setdefault(learner.name, []).append((at, one.held_out))
    found = _finished(targets, means, costs, quality, expected, held_out)
    return replace(found, notes=tuple(dict.fromkeys(notes)))


def _folds(prompts: Sequence[str], folds: int) -> NDArray[np.int64]:
    """Folds that keep prompts of one opening together; where a template makes most of them open
    alike, folds by the whole prompt.
    """
    fold = folds_of(prompts, folds)
    if np.bincount(fold, minlength=folds).max() * 2 <= len(prompts):
        return fold
    return np.array([crc32(p.strip().lower().encode("utf-8", "replace")) % folds for p in prompts])


def _finished(
    targets: tuple[str, ...],
    means: Matrix,
    costs: Matrix,
    quality: dict[str, Matrix],
    expected: dict[str, Matrix],
    held_out: dict[str, list[tuple[NDArray[np.int64], HeldOut]]],
) -> PriorEstimates:
    """Completes costs: filled where some are known, default units where none is."""
    usd, expected_usd = bool(costs.size) and not np.isnan(costs).all(), expected
    if usd:
        costs = fill(costs)
        expected = {n: np.where(np.isnan(one), costs, one) for n, one in expected.items()}
    else:
        strong = int(means.mean(axis=0).argmax()) if means.size else 0
        costs = np.tile(counted(len(targets), strong), (len(means), 1))
        expected = dict.fromkeys(expected, costs)
        held_out = {
            name: [(rows, _in_units(one, costs[0])) for rows, one in parts]
            for name, parts in held_out.items()
        }
    return PriorEstimates(
        targets,
        means,
        costs,
        quality,
        expected,
        held_out,
        usd,
        expected_usd,
    )


def _in_units(one: HeldOut, units: NDArray[np.float64]) -> HeldOut:
    tiled = np.tile(units, (len(one.quality), 1))
    return HeldOut(one.quality, one.outcomes, tiled, tiled)
