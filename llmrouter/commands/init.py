"""`llmrouter init`: a prompts/ directory to begin with.

On a terminal it asks which keys are there; elsewhere, and with `--key` or `--no-input`, the
variables that are set count, and those that are named.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer

from llmrouter.catalog.starter import NoKeys, key_variables, starter, write
from llmrouter.util.json_output import print_json

PROBE_S = 0.3
Ask = Callable[[str, bool], bool]
"""A question and the answer that Enter gives, to the answer."""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """`everything` keeps every target. `keys` are variables whose key is there, though not set
    here; `ask` asks about each variable, where it is given.
    """

    directory: Path
    everything: bool = False
    keys: Sequence[str] = ()
    ask: Ask | None = None
    as_json: bool = False


def init(options: InitOptions) -> int:
    """Write the directory and say what is in it. The exit code."""
    directory, known = options.directory, key_variables()
    unknown = [name for name in options.keys if name not in known]
    if unknown:
        message = f"no shipped target has its key in {unknown[0]}; there are {', '.join(known)}"
        typer.echo(f"llmrouter: {message}", err=True)
        return 2
    environ = dict(os.environ)
    if not options.everything:
        for name, targets in known.items():
            there = bool(environ.get(name)) or name in options.keys
            if options.ask is not None:
                there = options.ask(f"{name} (for {', '.join(targets)})?", there)
            environ[name] = "there" if there else ""
    try:
        made = starter(environ, listens, options.everything)
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
    missing = [name for name in known if environ.get(name) and not os.environ.get(name)]
    if options.as_json:
        print_json(
            {
                "directory": str(directory),
                "targets": made.kept,
                "left_out": dict(made.left_out),
                "missing_keys": missing,
            }
        )
        return 0
    typer.echo(f"{directory}: {len(made.kept)} targets: {', '.join(made.kept)}")
    for name, reason in made.left_out.items():
        typer.echo(f"  left out {name}: {reason}")
    if missing:
        typer.echo(f"Set before you serve, here or in .env: {', '.join(missing)}")
    at = "" if directory == Path("prompts") else f" --prompts {directory}"
    typer.echo(f"Next: llmrouter serve{at}")
    return 0


def on_a_terminal(question: str, default: bool) -> bool:
    """Ask on the terminal."""
    return typer.confirm(f"Do you have a key in {question}", default=default)


def listens(base_url: str) -> bool:
    """Whether a TCP connection to a server opens within `PROBE_S`."""
    try:
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), PROBE_S):
            return True
    except (OSError, ValueError):
        return False
