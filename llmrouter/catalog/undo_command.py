"""`llmrouter catalog undo`: a target's file as it was before its last edit.

Works on the files, so a running service takes it over as it does any saved file; nothing needs to
run. It is an edit like any other: checked whole, and undone by undoing once more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from llmrouter.catalog.diff import changes
from llmrouter.catalog.editor import save, target_edit, undoing
from llmrouter.catalog.loader import TARGETS, load
from llmrouter.catalog.versions import Author
from llmrouter.errors import CatalogInvalid, LLMRouterError
from llmrouter.util.json_output import print_json


def run_undo(
    directory: Path, name: str, version: str | None, out: TextIO, *, as_json: bool = False
) -> int:
    """Print what came back. 0 when it did, 1 when there is nothing to undo or it would not fit."""
    try:
        before = load(directory)
    except CatalogInvalid:  # a broken file is a reason to undo
        before = None
    try:
        wanted = undoing(directory, target_edit(name, None, author=Author(how="undo")), version)
        saved = save(directory, wanted)
    except LLMRouterError as error:
        print(error.message, file=sys.stderr if as_json else out)
        return 1
    made = () if before is None else changes(before, saved.catalog)
    removed = None in wanted.files.values()
    path = directory / TARGETS / f"{name}.md"
    if as_json:
        shown = [change.public() for change in made]
        answer = {"file": str(path), "removed": removed, "version": saved.version}
        print_json({**answer, "changes": shown}, out)
        return 0
    for change in made:
        print(change, file=out)
    done = "is gone" if removed else "is as it was"
    print(f"{path} {done}; undo again to take this back", file=out)
    return 0
