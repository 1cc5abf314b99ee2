"""What commands share in taking arguments: many of them as one dataclass, and `--json [FILE]`.

Typer reads arguments from a function's parameters, so the function shows it the dataclass's fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

Given = TypeVar("Given")
JsonFile = Annotated[
    Path | None,
    typer.Option(
        metavar="[FILE]",
        help="Print every figure as JSON and nothing else, or write it to FILE beside the tables.",
    ),
]
DATASETS = (".jsonl", ".jsonl.gz")


class JsonCommand(TyperCommand):
    """Lets `--json` stand alone, for standard output, or name a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives a `--json` without a file the file `-` before the usual parsing."""
        return super().parse_args(ctx, with_file(args, "--json"))


def with_file(arguments: Sequence[str], option: str) -> list[str]:
    """`option` followed by `-` where no file follows it; a data set is no such file."""
    out: list[str] = []
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue="--"):
        out.append(argument)
        if argument == option and (
            (after.startswith("-") and after != "-") or after.endswith(DATASETS)
        ):
            out.append("-")
    return out


def takes(kind: type[Given]) -> Callable[[Callable[[Given], None]], Callable[..., None]]:
    """Has a command take each field of the dataclass `kind` as an argument or option."""

    def wrap(command: Callable[[Given], None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            command(kind(**values))

        hints = get_type_hints(kind, include_extras=True)
        parameters = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(kind).parameters.items()
        ]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__annotations__ = {name: hints[name] for name in hints}
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return call

    return wrap
