"""`llmrouter init`: a prompts/ directory to begin with. It asks nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import typer

from llmrouter.catalog.starter import NoKeys, starter, write
from llmrouter.util.json_output import print_json

PROBE_S = 0.3


def init(directory: Path, everything: bool, as_json: bool = False) -> int:
    """Write the directory and say what is in it. The exit code."""
    try:
        made = starter(os.environ, listens, everything)
        write(directory, made.files)
    except NoKeys as error:
        typer.echo(f"llmrouter: {error.message}", err=True)
        return 1
    except FileExistsError:
        typer.echo(
            f"llmrouter: {directory} is there already and not empty: name another directory",
            err=True,
        )
        return 1
    except OSError as error:
        typer.echo(f"llmrouter: {directory} cannot be written: {error.strerror}", err=True)
        return 1
    if as_json:
        print_json(
            {"directory": str(directory), "targets": made.kept, "left_out": dict(made.left_out)}
        )
        return 0
    typer.echo(f"{directory}: {len(made.kept)} targets: {', '.join(made.kept)}")
    for name, reason in made.left_out.items():
        typer.echo(f"  left out {name}: {reason}")
    at = "" if directory == Path("prompts") else f" --prompts {directory}"
    typer.echo(f"Next: llmrouter serve{at}")
    return 0


def listens(base_url: str) -> bool:
    """Whether a TCP connection to a server opens within `PROBE_S`."""
    try:
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), PROBE_S):
            return True
    except (OSError, ValueError):
        return False
