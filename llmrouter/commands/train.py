"""`llmrouter train`: its arguments. What fits is imported when the command is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmrouter.commands.common import Json, PromptsDir, settings_of
from llmrouter.util.arguments import takes


@dataclass(frozen=True, slots=True)
class TrainArguments:
    """The arguments and options, in the order of the help."""

    dataset: Annotated[
        list[Path] | None, typer.Argument(help="Outcome files (.jsonl, .jsonl.gz).")
    ] = None
    journal: Annotated[bool, typer.Option("--journal", help="Learn from the journal too.")] = False
    from_rules: Annotated[
        bool,
        typer.Option(
            "--from-rules",
            help="Label what nobody graded by the rules of routing.yaml: the dataset's prompts, or "
            "recorded requests where none is given.",
        ),
    ] = False
    encoder: Annotated[
        str | None,
        typer.Option(
            help="hashing, local:MODEL or openai:MODEL@BASE_URL. [default: routing.yaml's]"
        ),
    ] = None
    prompts: PromptsDir = None
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the model before this one.")
    ] = False
    seed: Annotated[int, typer.Option(min=0, help="Of the fit.")] = 0
    json: Json = False


@takes(TrainArguments)
def train(given: TrainArguments) -> None:
    """Learn preferences from outcomes or rules; a running service takes the model over."""
    from llmrouter.api.request_parser import Endpoint, parse
    from llmrouter.evaluation.training.command import TrainOptions, run_train

    settings = settings_of(None, None, None, given.prompts)
    options = TrainOptions(
        settings.store,
        settings.prompts,
        given.journal,
        given.from_rules,
        given.rollback,
        given.encoder,
        given.seed,
        given.json,
    )
    raise typer.Exit(
        run_train(given.dataset or [], options, lambda body: parse(body, Endpoint.COMPLETE))
    )
