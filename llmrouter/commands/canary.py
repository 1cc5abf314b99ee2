"""`llmrouter canary`: start, look at, promote or stop a canary of the running service."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from llmrouter.commands.common import fail, settings_of

TIMEOUT_S = 30.0

canary_app = typer.Typer(
    help="Give a share of the traffic to an edited catalog.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Url = Annotated[
    str | None, typer.Option(help="The service. [default: LLMROUTER_HOST and LLMROUTER_PORT]")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


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
    _show(_call(url, "POST", "/canary", body), as_json)


@canary_app.command("status")
def status(url: Url = None, as_json: Json = False) -> None:
    """Both arms' figures, and whether it is better, worse or not yet known."""
    _show(_call(url, "GET", "/canary"), as_json)


@canary_app.command("promote")
def promote(url: Url = None, as_json: Json = False) -> None:
    """Make its files the current catalog."""
    _show(_call(url, "POST", "/canary/promote"), as_json)


@canary_app.command("stop")
def stop(url: Url = None, as_json: Json = False) -> None:
    """End it; everyone gets the current catalog again."""
    _show(_call(url, "POST", "/canary/stop"), as_json)


def _share(text: str) -> float:
    """`10%` or `0.1`. Raises typer.Exit."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise fail(f"--share cannot be {text!r}: write 10% or 0.1") from None


def _call(url: str | None, method: str, path: str, body: object = None) -> dict[str, Any]:
    """An answer of the running service. Raises typer.Exit with what it says."""
    settings = settings_of(None, None, None, None)
    base = (url or f"http://{settings.host}:{settings.port}").rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise fail(f"--url cannot be {base!r}: write http://host:port")
    headers = {"content-type": "application/json"}
    if key := os.environ.get("LLMROUTER_ADMIN_KEY"):
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(base + path, data, headers, method=method)  # noqa: S310 - see above
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310 - see above
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")
        try:
            said = json.loads(said)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = said[:300]
        raise fail(said, 1) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise fail(f"no service answers at {base}: {reason}", 1) from None


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
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
