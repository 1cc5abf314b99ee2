"""A command's arguments as one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from llmrouter.util.arguments import takes


@dataclass(frozen=True)
class Arguments:
    """An argument, an option and a switch."""

    name: Annotated[str, typer.Argument(help="Whom to greet.")]
    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1
    loud: Annotated[bool, typer.Option("--loud")] = False


def app() -> typer.Typer:
    """A program of one command."""
    made = typer.Typer(rich_markup_mode=None)

    @made.command()
    @takes(Arguments)
    def greet(given: Arguments) -> None:
        """Greets."""
        typer.echo(f"{given.name} {given.times} {given.loud}")

    return made


def test_fields_are_read_as_arguments_and_options() -> None:
    """Defaults hold where nothing is given."""
    runner = CliRunner()
    assert runner.invoke(app(), ["Ada"]).output == "Ada 1 False\n"
    assert runner.invoke(app(), ["--loud", "Ada", "--times", "3"]).output == "Ada 3 True\n"


def test_the_help_and_the_bounds_are_the_fields_own() -> None:
    """What a field says of itself reaches the user."""
    runner = CliRunner()
    shown = runner.invoke(app(), ["--help"]).output
    assert "Whom to greet." in shown
    assert "Greets." in shown
    assert runner.invoke(app(), ["Ada", "--times", "0"]).exit_code == 2
