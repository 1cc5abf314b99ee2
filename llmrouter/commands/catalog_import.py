"""`llmrouter catalog import`: its arguments. What reads sources is imported when it is called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmrouter.commands.common import Json, PromptsDir, settings_of
from llmrouter.util.arguments import takes


@dataclass(frozen=True, slots=True)
class ImportArguments:
    """The argument and options, in the order of the help."""

    source: Annotated[
        str,
        typer.Argument(
            help="A LiteLLM config.yaml, an address that answers /v1/models (Ollama, vLLM, "
            "OpenRouter …), or a price list (.json)."
        ),
    ]
    only: Annotated[
        list[str] | None, typer.Option(help="A pattern of names, such as 'gpt-*'; may be repeated.")
    ] = None
    prices: Annotated[
        Path | None, typer.Option(exists=True, help="A price list for models without a price.")
    ] = None
    key_env: Annotated[
        str | None, typer.Option(help="The variable with the key that the address needs.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do.")] = False
    prompts: PromptsDir = None
    json: Json = False


@takes(ImportArguments)
def catalog_import(given: ImportArguments) -> None:
    """Write catalog files from a LiteLLM configuration, a server's models, or a price list."""
    from llmrouter.catalog.importing.command import ImportOptions, run_import

    settings = settings_of(None, None, None, given.prompts)
    options = ImportOptions(
        given.source,
        settings.prompts,
        tuple(given.only or ()),
        given.prices,
        given.key_env,
        given.dry_run,
        given.json,
    )
    raise typer.Exit(run_import(options, sys.stdout))
