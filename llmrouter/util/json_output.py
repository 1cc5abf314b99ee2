"""Machine output of commands: one JSON document, on standard output or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

STDOUT: Final = Path("-")
"""Where `--json` writes when it is given no file."""


def as_json(value: Any) -> str:
    """The document, indented, without a newline at its end."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def print_json(value: Any, out: TextIO | None = None) -> None:
    """Print the document and nothing else."""
    (out or sys.stdout).write(as_json(value) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write the document to a file, or print it where the path is `STDOUT`. Raises OSError."""
    if path == STDOUT:
        print_json(value)
    else:
        path.write_text(as_json(value) + "\n", "utf-8")
