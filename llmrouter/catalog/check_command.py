"""`llmrouter catalog check`: every problem with its place, and what serves but looks odd."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from llmrouter.catalog.loader import load_all
from llmrouter.errors import CatalogInvalid, Problem
from llmrouter.util.json_output import print_json


def run_check(
    directory: Path,
    out: TextIO,
    environ: Mapping[str, str] = os.environ,
    *,
    as_json: bool = False,
) -> int:
    """Print what is wrong with a prompts directory. 0 when it can be served, else 1.

    Problems are lines `file:line: what is wrong`; warnings say so and fail nothing. `environ` is
    where variables that hold keys are looked for; their values are never read.
    """
    try:
        loaded = load_all(directory, environ=environ)
    except CatalogInvalid as invalid:
        if as_json:
            print_json(document(invalid.problems, ()), out)
            return 1
        for problem in invalid.problems:
            print(problem, file=out)
        count = len(invalid.problems)
        print(f"{directory}: {count} problem{'s' if count != 1 else ''}", file=out)
        return 1
    catalog = loaded.catalog
    if as_json:
        counts = {
            "targets": len(catalog.targets),
            "enabled": len(catalog.enabled),
            "rules": len(catalog.rules),
            "revision": catalog.revision,
        }
        print_json({**document((), loaded.warnings), **counts}, out)
        return 0
    for warning in loaded.warnings:
        print(f"{warning.file}:{warning.line}: warning: {warning.message}", file=out)
    print(
        f"{directory}: ok, {len(catalog.enabled)} of {len(catalog.targets)} targets enabled, "
        f"{len(catalog.rules)} rules, revision {catalog.revision}",
        file=out,
    )
    return 0


def document(problems: Sequence[Problem], warnings: Sequence[Problem]) -> dict[str, Any]:
    """Problems and warnings as JSON-ready values; `ok` without problems."""

    def shown(one: Problem) -> dict[str, object]:
        return {"file": one.file, "line": one.line, "message": one.message}

    return {
        "ok": not problems,
        "problems": [shown(one) for one in problems],
        "warnings": [shown(one) for one in warnings],
    }
