"""`llmrouter report`: cost and quality of each task and target, today against last week.

Costs include the router LLM, audits, judges and rejected attempts. Quality is feedback; where there
is none, the share of accepted answers stands beside an empty cell and never in it. A fall beyond
chance is flagged: today against the days before it, and those days against as many before them,
because a slow decline does not show from one day to the next. A shadow's quality is an estimate and
labelled as one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from llmrouter.errors import StoreFailed
from llmrouter.evaluation.benchmark.report import console
from llmrouter.evaluation.usage_report.trend import shadows, show
from llmrouter.journal.export import rows
from llmrouter.journal.journal import Journal
from llmrouter.store.factory import open_store
from llmrouter.usage.drift import TimeSpan, TrendLine, lines
from llmrouter.usage.totals import split, total
from llmrouter.util.json_output import STDOUT, write_json

DONE, NO, WRONG_USAGE = 0, 1, 2
JOURNAL_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The last `days` against the `against` days before; `json`, `export` are files to write."""

    store: str
    days: float = 1.0
    against: float = 7.0
    json: Path | None = None
    export: Path | None = None


def run_report(options: ReportOptions, now: float | None = None) -> int:
    """The command; returns its exit code. An empty journal is 1."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for path in (options.json, options.export):
        if path not in (None, STDOUT) and (path.is_dir() or not path.parent.is_dir()):
            errors.print(f"{path}: cannot be written there", markup=False)
            return WRONG_USAGE
    try:
        entries = asyncio.run(_entries(options.store))
    except StoreFailed as error:
        errors.print(f"the store {options.store} failed: {error}", markup=False)
        return NO
    if not entries:
        errors.print(f"the journal in {options.store} is empty", markup=False)
        return NO
    span = TimeSpan(time.time() if now is None else now, options.days, options.against)
    found, alongside = lines(split(entries, span.bounds())), shadows(entries, span)
    if options.json != STDOUT:
        show(console(), found, alongside, span)
    if options.json is not None:
        write_json(options.json, document(found, alongside, span))
    if options.export is not None:
        told = rows(entries)
        options.export.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in told))
        if not told:
            errors.print("no prompt was recorded: set LLMROUTER_RECORD_PROMPTS=true", markup=False)
    return DONE


async def _entries(address: str) -> list[dict[str, Any]]:
    store = open_store(address, shared=True)
    try:
        return await Journal(store).tail(JOURNAL_ENTRIES)
    finally:
        await store.close()


def document(
    found: Sequence[TrendLine], alongside: Sequence[Mapping[str, Any]], span: TimeSpan
) -> dict[str, Any]:
    """The report as JSON-ready values; money in USD, qualities in 0..1, absent ones null."""
    return {
        "schema": 2,
        "days": span.days,
        "against": span.against,
        "lines": [{"task": one.task, "target": one.target, **one.public()} for one in found],
        "total": {
            "now": total(line.now for line in found).public(),
            "before": total(line.before for line in found).public(),
        },
        "shadows": alongside,
    }
