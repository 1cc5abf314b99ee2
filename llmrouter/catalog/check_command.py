"""`llmrouter catalog check`: every problem with its place, and what serves but looks odd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from llmrouter.catalog.loader import load_all
from llmrouter.errors import CatalogInvalid


def run_check(directory: Path, out: TextIO, environ: Mapping[str, str] = os.environ) -> int:
    """Print what is wrong with a prompts directory. 0 when it can be served, else 1.

    Problems are lines `file:line: what is wrong`; warnings say so and fail nothing. `environ` is
    where variables that hold keys are looked for; their values are never read.
    """
    try:
        loaded = load_all(directory, environ=environ)
    except CatalogInvalid as invalid:
        for problem in invalid.problems:
            print(problem, file=out)
        count = len(invalid.problems)
        print(f"{directory}: {count} problem{'s' if count != 1 else ''}", file=out)
        return 1
    for warning in loaded.warnings:
        print(f"{warning.file}:{warning.line}: warning: {warning.message}", file=out)
    catalog = loaded.catalog
    print(
        f"{directory}: ok, {len(catalog.enabled)} of {len(catalog.targets)} targets enabled, "
        f"{len(catalog.rules)} rules, revision {catalog.revision}",
        file=out,
    )
    return 0
