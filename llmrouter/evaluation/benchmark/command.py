"""`llmrouter eval`: reads outcome files, evaluates every policy, prints tables, writes outputs.

It shows progress on a terminal and is quiet in a pipe. It does not overwrite an input file, and it
stops at a row that it cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from llmrouter.evaluation.benchmark import report as tables
from llmrouter.evaluation.benchmark.costs import read_prices
from llmrouter.evaluation.benchmark.dataset import BadInput, Dataset, read_all
from llmrouter.evaluation.benchmark.estimates import Fitting
from llmrouter.evaluation.benchmark.estimators import BASELINES, learners
from llmrouter.evaluation.benchmark.evaluate import Evaluated, Options, evaluate
from llmrouter.evaluation.benchmark.html import page
from llmrouter.evaluation.benchmark.results import Report, document
from llmrouter.evaluation.benchmark.training_sets import families
from llmrouter.evaluation.progress_bar import bar
from llmrouter.evaluation.text_encoders import UnknownEncoder
from llmrouter.util.extras import require
from llmrouter.util.json_output import STDOUT, write_json

WRONG_USAGE = 2


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files to write; None where one is not wanted. `json` may be STDOUT, for JSON alone."""

    json: Path | None = None
    html: Path | None = None
    predictions: Path | None = None

    def paths(self) -> list[Path]:
        """Those that are wanted."""
        wanted = (self.json, self.html, self.predictions)
        return [path for path in wanted if path not in (None, STDOUT)]


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What the command line gave, besides the test files."""

    train: Sequence[Path] = ()
    prices: Path | None = None
    encoders: Sequence[str] = ()
    seed: int = 0
    draws: int = 1000
    fits: int = 1
    outputs: Outputs = Outputs()


def run_eval(test: Sequence[Path], given: EvalOptions) -> int:
    """The command; returns its exit code: 0 done, 2 wrong usage. Raises ExtraMissing."""
    require("learn", "`llmrouter eval`")
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        _check_outputs(
            given.outputs.paths(), [*test, *given.train, *([given.prices] if given.prices else [])]
        )
        tests, trains = read_all(test), read_all(given.train)
        _check_sets(tests, trains)
        known = read_prices(given.prices) if given.prices else {}
        encoders = list(dict.fromkeys(given.encoders or ["hashing"]))
        fitted = learners([*encoders, *BASELINES])
    except (BadInput, UnknownEncoder, Usage) as error:
        errors.print(str(error), markup=False)
        return WRONG_USAGE
    if known and not _named([*tests, *trains]) & known.keys():
        errors.print(
            f"note: {given.prices} prices none of the targets in these files", markup=False
        )
    options = Options(Fitting(fitted, known, given.seed), given.draws, fits=given.fits)
    if all(not one.graded for one in tests):
        options = Options(Fitting(fitted[: len(encoders)], known, given.seed), given.draws)
    found = families(trains)
    done = []
    with bar(errors) as progress:
        for one in tests:
            task = progress.add_task(one.name, total=1.0)

            def step(name: str, share: float, task: Any = task, title: str = one.name) -> None:
                progress.update(task, completed=share, description=f"{title}: {name}")

            done.append(evaluate(one, found, options, step))
    try:
        _write(done, Report(_results(done), given.seed, given.draws), given.outputs)
    except OSError as error:
        errors.print(f"{error.filename}: cannot be written: {error.strerror}", markup=False)
        return WRONG_USAGE
    results = _results(done)
    if results and given.outputs.json != STDOUT:
        tables.show(Report(results, given.seed, given.draws), tables.narrow_console())
    for one, found_one in zip(tests, done, strict=True):
        if found_one.result is None:
            errors.print(
                f"{one.path}: no row has outcomes, so there is no table for it", markup=False
            )
    return 0


class Usage(ValueError):
    """Arguments that contradict each other; the message says what to change."""


def _check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    taken = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in taken:
            raise Usage(f"{path}: would overwrite an input or another output")
        taken.add(path.resolve())
        if not path.parent.is_dir():
            raise Usage(f"{path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise Usage(f"{path}: is a folder, not a file")


def _check_sets(tests: Sequence[Dataset], trains: Sequence[Dataset]) -> None:
    for one in trains:
        if not one.graded:
            raise Usage(f'{one.path}: no row has "outcomes", so there is nothing to fit on')
    for one in tests:
        if not one.graded and not trains:
            raise Usage(
                f'{one.path}: no row has "outcomes": give --train files to predict from, or a '
                "file with outcomes to evaluate"
            )
        if not trains and len(one.graded) < 10:
            raise Usage(
                f"{one.path}: {len(one.graded)} graded rows are too few for cross-validation: "
                "10 are needed, or --train files"
            )


def _named(sets: Sequence[Dataset]) -> set[str]:
    return {target for one in sets for row in one.rows for target in (*row.outcomes, *row.costs)}


def _results(done: Sequence[Evaluated]) -> tuple[Any, ...]:
    return tuple(one.result for one in done if one.result is not None)


def _write(
    done: Sequence[Evaluated],
    report: Report,
    outputs: Outputs,
) -> None:
    if outputs.predictions is not None:
        lines = b"".join(line for one in done for line in _prediction_lines(one))
        outputs.predictions.write_bytes(lines)
    if outputs.json is not None:
        write_json(outputs.json, document(report))
    if outputs.html is not None:
        outputs.html.write_text(page(report), "utf-8")


def _prediction_lines(one: Evaluated) -> list[bytes]:
    """One JSON line a row; `costs` has the targets whose cost training rows or prices tell."""
    lines = []
    for row, scores, usd in zip(one.rows, one.scores, one.costs, strict=True):
        line: dict[str, Any] = {
            "id": row.id,
            "scores": {t: round(float(s), 6) for t, s in zip(one.targets, scores, strict=True)},
        }
        costs = {t: float(f"{c:.6g}") for t, c in zip(one.targets, usd, strict=True) if isfinite(c)}
        if costs:
            line["costs"] = costs
        lines.append(orjson.dumps(line) + b"\n")
    return lines
