"""`llmrouter eval`: reads files, evaluates, prints the tables and writes what was asked for.

Why it exists: the command's words, its exit codes (0 done, 2 wrong usage) and its progress bar are
here; everything it computes is elsewhere. On a terminal it shows progress, in a pipe it is quiet.

What it refuses: to overwrite an input, and to go on after a row it cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from typer.core import TyperCommand

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

WRONG_USAGE = 2


class EvalCommand(TyperCommand):
    """Lets `--train` take several files in a row, as a shell's glob gives them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives each file of a `--train a b c` its own `--train` before the usual parsing."""
        return super().parse_args(ctx, spread(args, "--train"))


def spread(arguments: Sequence[str], option: str) -> list[str]:
    """`option a b --x` as `option a option b --x`; a run ends at the next option or at `--`."""
    out: list[str] = []
    within = False
    for argument in arguments:
        if argument == option:
            within = True
            continue
        if argument.startswith("-") and argument != "-":
            within = False
        out += [option, argument] if within else [argument]
    if arguments and arguments[-1] == option:
        out.append(option)  # left for the parser to refuse
    return out


Files = Annotated[
    list[Path], typer.Argument(metavar="TEST...", help="Outcome files (.jsonl, .jsonl.gz).")
]


def eval_command(
    test: Files,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Files to fit on; several may follow. Without: cross-validation."),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="YAML of `target: USD per 1M tokens`, or `{input: …, output: …}`."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page with plots.")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help='Write `{"id", "scores": {target: 0..1}, "costs"?: {target: USD}}` a row.'
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="hashing, local:MODEL or openai:MODEL@BASE_URL; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of fits and bootstrap.")] = 0,
    draws: Annotated[int, typer.Option(min=20, max=20_000, help="Of the bootstrap.")] = 1000,
) -> None:
    """Evaluate every policy on recorded outcomes: score against cost, with intervals."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        outputs = [path for path in (json, html, predictions) if path is not None]
        _check_outputs(outputs, [*test, *(train or []), *([prices] if prices else [])])
        tests, trains = read_all(test), read_all(train or [])
        _check_sets(tests, trains)
        known = read_prices(prices) if prices else {}
        encoders = list(dict.fromkeys(encoder or ["hashing"]))
        fitted = learners([*encoders, *BASELINES])
    except (BadInput, UnknownEncoder, Usage) as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(WRONG_USAGE) from None
    if known and not _named([*tests, *trains]) & known.keys():
        errors.print(f"note: {prices} prices none of the targets in these files", markup=False)
    options = Options(Fitting(fitted, known, seed), draws)
    if all(not one.graded for one in tests):
        options = Options(Fitting(fitted[: len(encoders)], known, seed), draws)
    found = families(trains)
    done = []
    with bar(errors) as progress:
        for one in tests:
            task = progress.add_task(one.name, total=1.0)

            def step(name: str, share: float, task: Any = task, title: str = one.name) -> None:
                progress.update(task, completed=share, description=f"{title}: {name}")

            done.append(evaluate(one, found, options, step))
    try:
        _write(done, Report(_results(done), seed, draws), json, html, predictions)
    except OSError as error:
        errors.print(f"{error.filename}: cannot be written: {error.strerror}", markup=False)
        raise typer.Exit(WRONG_USAGE) from None
    results = _results(done)
    if results:
        tables.show(Report(results, seed, draws), tables.console())
    for one, found_one in zip(tests, done, strict=True):
        if found_one.result is None:
            errors.print(
                f"{one.path}: no row has outcomes, so there is no table for it", markup=False
            )


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
    json: Path | None,
    html: Path | None,
    predictions: Path | None,
) -> None:
    if predictions is not None:
        lines = b"".join(line for one in done for line in _prediction_lines(one))
        predictions.write_bytes(lines)
    if json is not None:
        json.write_bytes(orjson.dumps(document(report), option=orjson.OPT_INDENT_2) + b"\n")
    if html is not None:
        html.write_text(page(report), "utf-8")


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
