"""The arguments of `llmrouter eval`. Exit codes: 0 done, 2 wrong usage.

Only the arguments: what evaluates is imported when the command is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from llmrouter.util.arguments import JsonCommand, JsonFile, takes


class EvalCommand(JsonCommand):
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


@dataclass(frozen=True, slots=True)
class EvalArguments:
    """The arguments and options, in the order of the help."""

    test: Files
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Files to fit on; several may follow. Without: cross-validation."),
    ] = None
    prices: Annotated[
        Path | None,
        typer.Option(help="YAML of `target: USD per 1M tokens`, or `{input: …, output: …}`."),
    ] = None
    json: JsonFile = None
    html: Annotated[Path | None, typer.Option(help="Write one page with plots.")] = None
    predictions: Annotated[
        Path | None,
        typer.Option(
            help='Write `{"id", "scores": {target: 0..1}, "costs"?: {target: USD}}` a row.'
        ),
    ] = None
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="hashing, local:MODEL or openai:MODEL@BASE_URL; may be repeated."),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of fits and bootstrap.")] = 0
    draws: Annotated[int, typer.Option(min=20, max=20_000, help="Of the bootstrap.")] = 1000
    fits: Annotated[
        int, typer.Option(min=1, max=20, help="Fit so often, to say how far figures vary.")
    ] = 1


@takes(EvalArguments)
def eval_command(given: EvalArguments) -> None:
    """Evaluate every policy on recorded outcomes: score against cost, with intervals."""
    from llmrouter.evaluation.benchmark.command import EvalOptions, Outputs, run_eval

    outputs = Outputs(given.json, given.html, given.predictions)
    options = EvalOptions(
        given.train or (),
        given.prices,
        given.encoder or (),
        given.seed,
        given.draws,
        given.fits,
        outputs,
    )
    raise typer.Exit(run_eval(given.test, options))
