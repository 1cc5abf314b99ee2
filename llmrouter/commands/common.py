"""What commands share: their options, the settings, and how they fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmrouter.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on. [default: 8080]")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: 1]")]
PromptsDir = Annotated[
    Path | None,
    typer.Option(help="Prompts directory. [default: prompts, or the shipped ones]"),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def refused(message: str, code: int = 2) -> int:
    """Say what is wrong on standard error; the exit code."""
    typer.echo(f"llmrouter: {message}", err=True)
    return code


def fail(message: str, code: int = 2) -> typer.Exit:
    """Say what is wrong on standard error; the exit to raise."""
    return typer.Exit(refused(message, code))


def settings_of(
    host: str | None, port: int | None, workers: int | None, prompts: Path | None
) -> Settings:
    """The settings, with what the command line says over them. Raises typer.Exit."""
    from pydantic import ValidationError

    from llmrouter.settings import Settings, explained

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers, "prompts": prompts}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise fail(explained(error)) from None
