"""`llmrouter catalog diff`: what an edited catalog would change, before it does.

The first part compares the two directories. The second decides recorded requests under both. Every
caveat is printed under the figures. An edited catalog that could not serve is refused, with its
problems as the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from llmrouter.catalog.loader import load
from llmrouter.errors import CatalogInvalid, StoreFailed
from llmrouter.evaluation.benchmark.report import console
from llmrouter.evaluation.catalog_diff.headline import percent, usd
from llmrouter.evaluation.catalog_diff.impact import Edit, Impact, Journaled, assess_journaled
from llmrouter.evaluation.progress_bar import bar
from llmrouter.evaluation.recorded import Parse
from llmrouter.util.json_output import print_json

DONE, NO, WRONG_USAGE = 0, 1, 2
LAST = 1000
SHIFTS = {"lost": "is out for", "gained": "is in for"}
HOW_TO_RECORD = (
    "Run `llmrouter serve` or `demo` on this store and send it requests: every decision is "
    "recorded. With LLMROUTER_RECORD_PROMPTS=true in its environment or .env the text is kept too, "
    "so that patterns and the learned model can be asked again."
)


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """The catalog that serves, the edited one, and which of the store's requests to replay."""

    directory: Path
    edited: Path
    store: str
    last: int = LAST
    json: bool = False


def run_diff(options: DiffOptions, parse: Parse) -> int:
    """The command; returns its exit code: 1 when one of the catalogs cannot be served."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    out = console()
    try:
        edit = Edit(load(options.directory), load(options.edited))
    except CatalogInvalid as invalid:
        for problem in invalid.problems:
            (errors if options.json else out).print(str(problem), markup=False, soft_wrap=True)
        return NO
    try:
        impact = asyncio.run(_assess(edit, options, parse, errors))
    except StoreFailed as error:
        errors.print(f"the store {options.store} failed: {error}", markup=False)
        return NO
    if options.json:
        print_json(impact.document())
    else:
        show(impact, options, out)
    return DONE


async def _assess(edit: Edit, options: DiffOptions, parse: Parse, errors: Console) -> Impact:
    with bar(errors) as progress:
        shown = progress.add_task("replay", total=None)
        return await assess_journaled(
            edit,
            Journaled(options.store, options.last),
            parse,
            lambda done, of: progress.update(shown, completed=done, total=of),
        )


def show(impact: Impact, options: DiffOptions, out: Console) -> None:
    """Prints what changed and, where requests are recorded, what that would do to them."""
    if impact.recorded:
        out.print(impact.headline, markup=False, soft_wrap=True)
        out.print()
    for change in impact.changes:
        out.print(str(change), markup=False)
    if not impact.changes:
        out.print("the two catalogs say the same")
    for warning in impact.warnings:
        out.print(f"warning: {warning}", markup=False, style="yellow")
    out.print()
    if not impact.recorded:
        out.print(f"no request is recorded in {options.store}, so nothing was replayed.")
        out.print(HOW_TO_RECORD, markup=False, soft_wrap=True)
        return
    for line in _summary(impact):
        out.print(line, markup=False)
    for table in _tables(impact):
        if table.row_count:
            out.print(table)
    for line in _examples(impact):
        out.print(line, markup=False, soft_wrap=True)
    for note in impact.notes:
        out.print(f"note: {note}", markup=False, style="yellow", soft_wrap=True)


def _summary(impact: Impact) -> Iterator[str]:
    since = datetime.fromtimestamp(impact.since or 0, UTC).strftime("%Y-%m-%d %H:%M")
    yield f"replayed {impact.replayed} recorded since {since} UTC, {impact.told} with their text"
    for side in ("before", "after"):
        stages = ", ".join(f"{n} {name}" for name, n in impact.decided[side].items())
        yield f"  decided {side}: {stages}"
    yield (
        f"  {impact.moved} change target; estimated cost {usd(impact.before_usd)} → "
        f"{usd(impact.after_usd)}{percent(impact.before_usd, impact.after_usd)}"
    )
    refused = sum(one.requests for one in impact.refusals)
    if refused or impact.served_again:
        yield f"  {refused} would be refused that are served now, {impact.served_again} the reverse"


def _tables(impact: Impact) -> Iterator[Table]:
    moves = _table("from", "to", "requests", "before", "after", "")
    for move in impact.moves:
        costs = move.before_usd, move.after_usd
        moves.add_row(
            move.before, move.after, str(move.requests), *map(usd, costs), percent(*costs)
        )
    yield moves
    tasks = _table("task", "", "requests", "before", "after", "", "change target")
    for line in impact.tasks:
        costs = line.before_usd, line.after_usd
        tasks.add_row(
            line.task, "", str(line.requests), *map(usd, costs), percent(*costs), str(line.moved)
        )
    yield tasks
    refusals = _table("would be refused", "because", "requests")
    for one in impact.refusals:
        refusals.add_row(str(one.status), one.message, str(one.requests))
    yield refusals
    shifts = _table("target", "mostly because", "requests")
    for shift in impact.eligibility:
        reason = shift.reason if shift.change == "lost" else f"before: {shift.reason}"
        shifts.add_row(f"{shift.target} {SHIFTS[shift.change]}", reason, str(shift.requests))
    yield shifts


def _examples(impact: Impact) -> Iterator[str]:
    if impact.examples:
        yield "\n for example"
    for case in impact.examples:
        moved = f"{case.before or 'refused'} → {case.after or 'refused'}"
        yield f" {case.decision_id}  {moved}: {case.reason}"
        if case.text:
            yield f"    “{' '.join(case.text.split())}”"
    yield ""


def _table(first: str, second: str, *numbers: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    table.add_column(second)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
