"""Evaluates every policy on one outcome set, with paired bootstrap intervals.

Equal rows and an equal seed give equal figures on one machine. Progress goes to a callback; nothing
is printed or written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llmrouter.evaluation.benchmark import metrics, policies
from llmrouter.evaluation.benchmark.costs import realise
from llmrouter.evaluation.benchmark.dataset import Dataset, Row
from llmrouter.evaluation.benchmark.estimates import Fitting, PriorEstimates, prior_estimates
from llmrouter.evaluation.benchmark.estimators import BASELINES
from llmrouter.evaluation.benchmark.fit_spread import (
    fitted_again,
    key_figures,
    noise_of,
    spread_of,
)
from llmrouter.evaluation.benchmark.intervals import (
    ONE_POINT,
    Draws,
    Marks,
    curve_result,
    with_interval,
)
from llmrouter.evaluation.benchmark.metrics import Interval, interval
from llmrouter.evaluation.benchmark.policies import PolicyRun, Truth
from llmrouter.evaluation.benchmark.results import (
    CalibrationResult,
    PairResult,
    SetResult,
    Single,
)
from llmrouter.evaluation.benchmark.training_sets import Family, answering, used
from llmrouter.judging.calibration import reliability

Matrix = NDArray[np.float64]
Progress = Callable[[str, float], None]

PLAIN = "neighbours"
"""The baseline that leads are over."""


@dataclass(frozen=True, slots=True)
class Options:
    """`fitting` as it says; `draws` of the bootstrap; `accuracies` of the simulated verifier.

    With more than one of `fits`, the first estimator is fitted that often, with seeds from the
    given one on, to say how far its figures vary.
    """

    fitting: Fitting
    draws: int = 1000
    accuracies: tuple[float, ...] = (0.9, 0.8)
    fits: int = 1


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`result` is None where no row has outcomes.

    `scores` [n, T] are the first learner's; `costs` [n, T] its expected USD, NaN where unknown.
    """

    rows: tuple[Row, ...]
    targets: tuple[str, ...]
    scores: Matrix
    costs: Matrix
    result: SetResult | None


def evaluate(
    test: Dataset, found: Sequence[Family], options: Options, progress: Progress
) -> Evaluated:
    """Predicts for every row of `test`, and evaluates the rows that have outcomes."""
    prompts = {row.prompt for row in test.rows}
    targets = test.targets or tuple(sorted({t for family in found for t in family.graded}))
    useful = used(found, targets, alone=bool(test.targets))
    trained = [family.without(prompts) for family in useful]
    shared = sum(len(a.rows) - len(b.rows) for a, b in zip(useful, trained, strict=True))
    trained = [family for family in trained if family.rows]
    held = prior_estimates(
        test.rows, targets, trained, options.fitting, lambda n, s: progress(n, s * 0.85)
    )
    first = options.fitting.learners[0].name
    graded = [number for number, row in enumerate(test.rows) if row.outcomes]
    result = None
    if graded:
        rows = [test.rows[number] for number in graded]
        notes = _notes(rows, targets, trained, shared, held)
        part = _part(held, np.array(graded))
        result = _measured(_Graded(test.name, rows, part), options, trained, notes, progress)
        result = replace(result, calibration=_calibration(rows, part, options))
        if options.fits > 1:
            again = fitted_again(test.rows, targets, trained, options.fitting, options.fits)
            each = [held, *again]
            figures = [
                key_figures(rows, _part(one, np.array(graded)), first, options.fitting.prices)
                for one in each
            ]
            result = replace(result, spread=spread_of(figures))
    progress("done", 1.0)
    scores = np.clip(held.quality[first], 0.0, 1.0)
    return Evaluated(test.rows, targets, scores, held.expected_usd[first], result)


def _calibration(
    rows: Sequence[Row], held: PriorEstimates, options: Options
) -> tuple[CalibrationResult, ...]:
    """How far each learner's estimates were from what came of them."""
    found = []
    for learner in options.fitting.learners:
        estimates = np.clip(held.quality[learner.name], 0.0, 1.0)
        one = reliability(
            (float(estimates[number, column]), row.outcomes[target], 1.0)
            for number, row in enumerate(rows)
            for column, target in enumerate(held.targets)
            if target in row.outcomes
        )
        found.append(CalibrationResult(learner.name, one.error, one.outcomes, one.bins))
    return tuple(found)


def _part(held: PriorEstimates, rows: NDArray[np.int64]) -> PriorEstimates:
    """Beliefs about some of the rows only."""
    if len(rows) == len(held.mean_quality):
        return held
    place = np.full(len(held.mean_quality), -1)
    place[rows] = np.arange(len(rows))
    held_out = {
        name: [(place[at][place[at] >= 0], one) for at, one in parts]
        for name, parts in held.held_out.items()
    }
    return PriorEstimates(
        held.targets,
        held.mean_quality[rows],
        held.mean_cost[rows],
        {name: one[rows] for name, one in held.quality.items()},
        {name: one[rows] for name, one in held.expected.items()},
        held_out,
        held.usd,
        {name: one[rows] for name, one in held.expected_usd.items()},
        held.notes,
    )


def _notes(
    rows: Sequence[Row],
    targets: Sequence[str],
    trained: Sequence[Family],
    shared: int,
    held: PriorEstimates,
) -> list[str]:
    notes = list(held.notes)
    if not trained:
        notes.append(
            "no training rows: every figure comes from cross-validation on the test file, each "
            "row estimated by a fit that has not seen it"
        )
    if shared:
        notes.append(f"{shared} training rows share a prompt with the test set and were left out")
    unseen = [t for t, families in answering(trained, targets).items() if trained and not families]
    if unseen:
        notes.append(f"never graded in training, so known by a prior alone: {', '.join(unseen)}")
    partial = sum(len(row.outcomes) < len(targets) for row in rows)
    if partial:
        notes.append(
            f"{partial} of {len(rows)} rows lack the outcome of some target: scores are weighted "
            "means of recorded outcomes, right as far as targets were not picked by difficulty; "
            "oracle and cascades need every outcome and are left out"
        )
    if not held.usd:
        notes.append(
            "no costs and no prices: "
            + (
                "cost is the share of calls to the stronger target"
                if len(targets) == 2
                else "every call costs 1 unit, so that there is nothing to save"
            )
        )
    return notes


@dataclass(frozen=True, slots=True)
class _Graded:
    """The rows of a test set that have outcomes, and what is estimated of them."""

    name: str
    rows: Sequence[Row]
    held: PriorEstimates


def _measured(
    graded: _Graded,
    options: Options,
    trained: Sequence[Family],
    notes: list[str],
    progress: Progress,
) -> SetResult:
    rows, held = graded.rows, graded.held
    score, known = policies.weighed(rows, held.targets)
    strong = int(held.mean_quality.mean(axis=0).argmax())
    nothing = np.full_like(held.mean_cost, np.nan)
    costs = realise(
        rows, held.targets, options.fitting.prices, held.mean_cost if held.usd else nothing, strong
    )
    if costs.unit == "USD" and not held.usd:
        notes.append("costs are known for the test rows alone, so decisions ignore them")
    truth = Truth(score, costs.realised, known)
    played = _play(held, truth, rows, options)
    draws = Draws(len(rows), options.draws, options.fitting.seed)
    reference = next(one for one in played if one.name == "always-best")
    top = next((one for one in played if one.name == "oracle"), None)
    plain = next((one.curve for one in played if one.name == PLAIN and one.curve), None)
    results, curves = [], []
    for number, one in enumerate(played):
        results.append(with_interval(one, reference, draws))
        if one.curve is not None:
            lowest = float(costs.realised.mean(axis=0).min())
            curves.append(curve_result(one, one.curve, Marks(reference, top, plain, lowest), draws))
        progress("bootstrap", 0.85 + 0.15 * (number + 1) / len(played))
    return SetResult(
        name=graded.name,
        rows=len(rows),
        protocol=_protocol(trained, options),
        unit=costs.unit,
        cost_source=costs.source,
        reference=reference.detail,
        reference_score=float(reference.score.mean()),
        reference_cost=float(reference.cost.mean()),
        oracle_gap=float(top.score.mean() - reference.score.mean()) if top else float("nan"),
        singles=_singles(held, truth),
        policies=tuple(results),
        curves=tuple(curves),
        pairs=_pairs(held, truth, options, draws) if known.all() else (),
        notes=tuple(notes),
        noise=noise_of(played, reference),
    )


def _protocol(trained: Sequence[Family], options: Options) -> str:
    if not trained:
        return f"{options.fitting.folds}-fold cross-validation on the test file"
    names = [name for family in trained for name in family.names]
    rows = sum(len(family.rows) for family in trained)
    return f"fitted on {' + '.join(names)} ({rows:,} rows)"


def _play(
    held: PriorEstimates, truth: Truth, rows: Sequence[Row], options: Options
) -> list[PolicyRun]:
    complete = bool(truth.coverage.all())
    played = [
        policies.always_cheapest(held, truth),
        policies.always_best(held, truth),
        policies.random(held, truth),
        policies.rules(held, truth, [row.prompt for row in rows]),
    ]
    best = policies.best_on_test(held, truth)
    if best.detail != played[1].detail:
        played.insert(2, best)
    for learner in options.fitting.learners:
        played.append(policies.learned(held, truth, learner.name))
        for below in (0.0, ONE_POINT):
            dialled = policies.tuned(held, truth, learner.name, below)
            if dialled is not None:
                played.append(dialled)
    if complete:
        for accuracy in options.accuracies:
            played.append(policies.plain_cascade(held, truth, accuracy))
            played += [
                policies.learned_cascade(held, truth, learner.name, accuracy)
                for learner in options.fitting.learners
                if learner.kind not in BASELINES
            ]
        played.append(policies.oracle(held, truth))
    return played


def _singles(held: PriorEstimates, truth: Truth) -> tuple[Single, ...]:
    return tuple(
        Single(
            target,
            float(held.mean_quality[:, column].mean()),
            float(truth.score[:, column].mean()),
            float(truth.cost[:, column].mean()),
        )
        for column, target in enumerate(held.targets)
    )


def _pairs(
    held: PriorEstimates, truth: Truth, options: Options, draws: Draws
) -> tuple[PairResult, ...]:
    if len(held.targets) != 2:
        return ()
    strong = int(held.mean_quality.mean(axis=0).argmax())
    weak = 1 - strong
    out = []
    for learner in options.fitting.learners:
        quality = held.quality[learner.name]
        gain = quality[:, strong] - quality[:, weak]
        scores = truth.score[:, weak], truth.score[:, strong]
        whole = metrics.pair_curve(gain, *scores).recovered
        drawn = metrics.pair_recovered(gain, *scores, draws.weights)

        def figure(
            measure: Callable[[Matrix], float], whole: Matrix = whole, drawn: Matrix = drawn
        ) -> Interval:
            there = drawn[~np.isnan(drawn).any(axis=1)]
            return interval(measure(whole), np.array([measure(one) for one in there]))

        out.append(
            PairResult(
                learner.name,
                held.targets[strong],
                held.targets[weak],
                figure(metrics.apgr),
                figure(lambda recovered: metrics.cpt(recovered, 0.5)),
                figure(lambda recovered: metrics.cpt(recovered, 0.8)),
            )
        )
    return tuple(out)
