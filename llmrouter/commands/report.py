"""`llmrouter report`: its arguments. What reads the journal is imported when it is called."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmrouter.commands.common import fail, settings_of
from llmrouter.util.arguments import JsonFile, takes


@dataclass(frozen=True, slots=True)
class ReportArguments:
    """The options, in the order of the help."""

    days: Annotated[
        float | None,
        typer.Option(min=0.01, help="How long now is. [default: 1; of `--policy`: 7]"),
    ] = None
    against: Annotated[
        float, typer.Option(min=0.01, help="The days before, that now is compared with.")
    ] = 7.0
    json: JsonFile = None
    export: Annotated[
        Path | None, typer.Option(help="Write the journal as rows for `eval` and `train`.")
    ] = None
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="What it would have scored on this traffic instead: learned, rules, "
            "always-<target> or all; may be repeated. Needs `learned.explore_rate`."
        ),
    ] = None
    quality: Annotated[float | None, typer.Option(min=0, max=1, help="Of `--policy learned`.")] = (
        None
    )
    clip: Annotated[float, typer.Option(min=1, help="Largest weight of `--policy`.")] = math.inf


@takes(ReportArguments)
def report(given: ReportArguments) -> None:
    """Quality to cost per task and target, everything included: today against last week."""
    if given.policy and given.export:
        raise fail("--export is of the report itself: leave out --policy")
    if not given.policy and (given.quality is not None or given.clip != math.inf):
        raise fail("--quality and --clip are of --policy: name one")
    if given.policy:
        _judge(given.policy, given)
    from llmrouter.evaluation.usage_report.command import ReportOptions, run_report

    settings = settings_of(None, None, None, None)
    options = ReportOptions(
        settings.store, given.days or 1.0, given.against, given.json, given.export
    )
    raise typer.Exit(run_report(options))


def _judge(policies: list[str], given: ReportArguments) -> None:
    from llmrouter.api.request_parser import Endpoint, parse
    from llmrouter.evaluation.offpolicy.command import OffPolicyOptions, run_offpolicy

    logging.getLogger("llmrouter.learning").setLevel(logging.WARNING)
    settings = settings_of(None, None, None, None)
    options = OffPolicyOptions(
        settings.store,
        settings.prompts,
        tuple(policies),
        given.days or 7.0,
        given.quality,
        given.clip,
        given.json,
    )
    raise typer.Exit(run_offpolicy(options, lambda body: parse(body, Endpoint.COMPLETE)))
