"""`llmrouter report`: what each task and target cost and was worth, this week against last week.

Why it exists: a router without this degrades in silence. Costs include what the router LLM, judges
and rejected attempts took; quality is what callers said. A fall beyond chance is flagged.

What it refuses: to guess quality. Audits of learned answers run behind requests and are not in
the journal; their spending is in the metrics alone, and the report says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from llmrouter.errors import StoreFailed
from llmrouter.evaluation.report import console
from llmrouter.learning.export import rows
from llmrouter.learning.journal import Journal
from llmrouter.learning.spending import Account, Key, accounts, fell, total
from llmrouter.store.open import open_store

DONE, NO, WRONG_USAGE = 0, 1, 2
DAY = 86_400.0
JOURNAL_ENTRIES = 2_000_000
COLUMNS = ("requests", "$/1k", "router", "judge", "rejected", "quality", "rated", "quality/$")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """`days` are compared with as many before them; `json`, `export` are files to write."""

    store: str
    days: float = 7.0
    json: Path | None = None
    export: Path | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One task and target, `now` and `before`; `drifts`: its quality fell beyond chance."""

    task: str
    target: str
    now: Account
    before: Account
    drifts: bool


def run_report(options: ReportOptions, now: float | None = None) -> int:
    """The command; returns its exit code. An empty journal is 1."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for path in (options.json, options.export):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
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
    found = lines(entries, time.time() if now is None else now, options.days)
    show(found, options.days)
    if options.json is not None:
        shape = [_document(line) for line in found]
        options.json.write_bytes(orjson.dumps(shape, option=orjson.OPT_INDENT_2) + b"\n")
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


def lines(entries: Sequence[dict[str, Any]], now: float, days: float) -> list[Line]:
    """One line a task and target that was used in either span, sorted."""
    new = accounts(entries, now - days * DAY, now + DAY)
    old = accounts(entries, now - 2 * days * DAY, now - days * DAY)
    keys: list[Key] = sorted(new.keys() | old.keys())
    empty = Account()
    pairs = ((key, new.get(key, empty), old.get(key, empty)) for key in keys)
    return [Line(*key, one, other, fell(one, other)) for key, one, other in pairs]


def show(found: Sequence[Line], days: float) -> None:
    """Prints the table, the sums and what drifts."""
    out = console()
    table = Table(box=SIMPLE_HEAD)
    table.add_column("task")
    table.add_column("target", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("before", justify="right", no_wrap=True)
    for line in found:
        flag = "  FELL" if line.drifts else ""
        table.add_row(
            line.task or "–", line.target, *_cells(line.now), _part(line.before.quality) + flag
        )
    now, before = total(line.now for line in found), total(line.before for line in found)
    table.add_section()
    table.add_row("all", "", *_cells(now), _part(before.quality))
    out.print(table)
    out.print(
        f"the last {days:g} days beside the {days:g} before them; $ and $/1k are USD of 1,000 "
        f"requests, everything included; spent ${now.spent:.4f}, before ${before.spent:.4f}",
        markup=False,
        style="dim",
    )
    out.print("audits of learned answers are counted in the metrics alone", style="dim")
    for line in found:
        if line.drifts:
            out.print(
                f"quality of {line.target} on {line.task or 'unnamed'} requests fell from "
                f"{_part(line.before.quality)} to {_part(line.now.quality)}",
                markup=False,
                style="yellow",
            )


def _cells(account: Account) -> list[str]:
    each = 1000 / max(account.requests, 1)
    parts = (account.spent, account.router, account.judge, account.rejected)
    worth = "–" if account.worth is None else f"{account.worth:,.0f}"
    money = [f"{part * each:.4f}" for part in parts]
    return [str(account.requests), *money, _part(account.quality), str(len(account.ratings)), worth]


def _part(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _document(line: Line) -> dict[str, Any]:
    def side(one: Account) -> dict[str, Any]:
        return {
            "requests": one.requests,
            "spent_usd": one.spent,
            "served_usd": one.served,
            "router_usd": one.router,
            "judge_usd": one.judge,
            "rejected_usd": one.rejected,
            "quality": one.quality,
            "rated": len(one.ratings),
            "quality_per_usd": one.worth,
        }

    return {
        "task": line.task,
        "target": line.target,
        "now": side(line.now),
        "before": side(line.before),
        "drifts": line.drifts,
    }
