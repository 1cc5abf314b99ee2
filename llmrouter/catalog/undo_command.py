"""`llmrouter catalog undo`: a target's file as it was before its last edit.

Works on the files, so a running service takes it over as it does any saved file; nothing needs to
run. It is an edit like any other: checked whole, and undone by undoing once more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from llmrouter.catalog.diff import changes
from llmrouter.catalog.editor import save, target_edit, undoing
from llmrouter.catalog.loader import TARGETS, load
from llmrouter.catalog.versions import Author
from llmrouter.errors import CatalogInvalid, LLMRouterError


def run_undo(directory: Path, name: str, version: str | None, out: TextIO) -> int:
    """Print what came back. 0 when it did, 1 when there is nothing to undo or it would not fit."""
    try:
        before = load(directory)
    except CatalogInvalid:  # a broken file is a reason to undo
        before = None
    try:
        wanted = undoing(directory, target_edit(name, None, author=Author(how="undo")), version)
        after = save(directory, wanted).catalog
    except LLMRouterError as error:
        print(error.message, file=out)
        return 1
    for change in changes(before, after) if before is not None else ():
        print(change, file=out)
    done = "is gone" if None in wanted.files.values() else "is as it was"
    print(f"{directory / TARGETS / name}.md {done}; undo again to take this back", file=out)
    return 0
