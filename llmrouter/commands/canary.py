"""`llmrouter canary`: start, look at, promote or stop a canary of the running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmrouter.commands.common import Json, fail
from llmrouter.commands.service_call import Url, call
from llmrouter.util.json_output import print_json

canary_app = typer.Typer(
    help="Give a share of the traffic to an edited catalog.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@canary_app.command("start")
def start(
    directory: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="The edited prompts directory.")
    ],
    share: Annotated[str, typer.Option(help="Share of the sessions, up to 50%.")] = "10%",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Start one; it rolls itself back when it is worse."""
    from llmrouter.catalog.loader import read_directory  # loads the template engine

    files, problems = read_directory(directory, {})
    if problems:
        raise fail("\n".join(map(str, problems)), 1)
    body = {"files": files, "share": _share(share)}
    _show(call(url, "POST", "/canary", body), as_json)


@canary_app.command("status")
def status(url: Url = None, as_json: Json = False) -> None:
    """Both arms' figures, and whether it is better, worse or not yet known."""
    _show(call(url, "GET", "/canary"), as_json)


@canary_app.command("promote")
def promote(url: Url = None, as_json: Json = False) -> None:
    """Make its files the current catalog."""
    _show(call(url, "POST", "/canary/promote"), as_json)


@canary_app.command("stop")
def stop(url: Url = None, as_json: Json = False) -> None:
    """End it; everyone gets the current catalog again."""
    _show(call(url, "POST", "/canary/stop"), as_json)


def _share(text: str) -> float:
    """`10%` or `0.1`. Raises typer.Exit."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise fail(f"--share cannot be {text!r}: write 10% or 0.1") from None


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if found["status"] == "none":
        typer.echo("no canary has run")
        return
    typer.echo(f"canary {found['id']}: {found['status']}, {found['share']:.0%} of the sessions")
    typer.echo(f"  {found['verdict']}" + "".join(f"; {one}" for one in found["reasons"]))
    for name, arm in found["arms"].items():
        quality = "-" if arm["quality"] is None else f"{arm['quality']:.1%}"
        usd = "-" if arm["usd_per_request"] is None else f"${arm['usd_per_request']:.6f}"
        ms = "-" if arm["latency_ms"] is None else f"{arm['latency_ms']:.0f} ms"
        typer.echo(
            f"  {name:8} {arm['requests']:7} requests  {arm['failed']:4} failed  "
            f"{arm['graded']:5} graded {quality:>6}  {usd:>10}  {ms:>8}"
        )
