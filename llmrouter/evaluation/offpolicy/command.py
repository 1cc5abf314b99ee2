"""`llmrouter report --policy`: what another policy would have scored on the logged traffic.

It needs traffic on which the router explored (`learned.explore_rate`); without any it gives no
figure. Each estimate comes with its interval, the part of the traffic that it is about, and the
number of rows that it effectively rests on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from llmrouter.catalog.loader import load
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import CatalogInvalid, StoreFailed
from llmrouter.evaluation.benchmark.report import MISSING, console
from llmrouter.evaluation.offpolicy.counterfactual import (
    LEARNED,
    Policies,
    PolicyLine,
    choices,
    lines,
    names_of,
)
from llmrouter.evaluation.offpolicy.estimators import Estimated, Judged
from llmrouter.evaluation.offpolicy.logged import Record, read
from llmrouter.evaluation.progress_bar import bar
from llmrouter.evaluation.recorded import Parse, RecordedRequest, newest, pasts
from llmrouter.learning.online.online_learner import OnlineLearner
from llmrouter.store.factory import open_store
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.util.json_output import STDOUT, write_json

DONE, NO, WRONG_USAGE = 0, 1, 2
DAY = 86_400.0
DECISIONS = 1_000_000
WIDE = 150
"""Columns of a terminal that show every interval; JSON has them all."""


@dataclass(frozen=True, slots=True)
class OffPolicyOptions:
    """Which policies, on the last `days` of which store; `clip` is the largest weight."""

    store: str
    prompts: Path
    policies: tuple[str, ...]
    days: float = 7.0
    quality: float | None = None
    clip: float = math.inf
    json: Path | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The record, a line for each policy, and what the figures cannot say themselves."""

    record: Record
    lines: tuple[PolicyLine, ...]
    notes: tuple[str, ...]


def run_offpolicy(options: OffPolicyOptions, parse: Parse) -> int:
    """The command; returns its exit code. Nothing explored is 1."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    path = options.json
    if path not in (None, STDOUT) and (path.is_dir() or not path.parent.is_dir()):
        errors.print(f"{path}: cannot be written there", markup=False)
        return WRONG_USAGE
    try:
        catalog = load(options.prompts)
        names = names_of(options.policies, catalog)
        found = asyncio.run(_find(options, names, catalog, parse, errors))
    except CatalogInvalid as invalid:
        for problem in invalid.problems:
            errors.print(str(problem), markup=False)
        return NO
    except StoreFailed as error:
        errors.print(f"the store {options.store} failed: {error}", markup=False)
        return NO
    except ValueError as error:
        errors.print(str(error), markup=False)
        return WRONG_USAGE
    if path != STDOUT:
        show(found, options, console())
    if path is not None:
        write_json(path, document(found))
    return DONE if found.lines else NO


async def _find(
    options: OffPolicyOptions,
    names: tuple[str, ...],
    catalog: Catalog,
    parse: Parse,
    errors: Console,
) -> Finding:
    store = open_store(options.store, shared=True)
    try:
        batches = await newest(store, DECISIONS)
        record = read(_entries(batches), time.time() - options.days * DAY)
        if not record.rows:
            return Finding(record, (), ())
        known = {past.name: past for past in pasts(batches, DECISIONS, parse)}
        learner = OnlineLearner(store, Telemetry(), lambda: catalog.learned.target_agreement)
        learned = LEARNED in names and await learner.load()
        policies = Policies(names, catalog, learner if learned else None, options.quality)
        with bar(errors) as progress:
            task = progress.add_task("judging", total=None)
            chosen = await choices(
                record,
                known,
                policies,
                lambda done, of: progress.update(task, completed=done, total=of),
            )
        found = tuple(lines(record, chosen, options.clip))
        return Finding(record, found, tuple(_notes(record, found, known, policies)))
    finally:
        await store.close()


def _entries(batches: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for line in batch.split(b"\n"):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # a write that was cut off


def _notes(
    record: Record,
    found: Sequence[PolicyLine],
    known: dict[str, RecordedRequest],
    policies: Policies,
) -> Iterator[str]:
    yield (
        "about requests that were open to exploring, and of these, for quality, the ones somebody "
        "graded: where grading depends on the answer, so do these figures"
    )
    untold = sum(row.name not in known or known[row.name].text is None for row in record.rows)
    if untold:
        yield (
            f"{untold} of {len(record.rows)} were recorded without their text "
            "(LLMROUTER_RECORD_PROMPTS=true keeps it): rules with `matches` saw nothing there, and "
            "the learned model is not judged on them"
        )
    if LEARNED in policies.names:
        yield (
            "the learned model takes every request here, trusted or not, and has learned from this "
            "very feedback: its figure is kind"
            if policies.preferences is not None
            else "no learned model is stored"
        )
    if any(math.isnan(line.quality.ips.low) for line in found):
        yield "no interval: under ten effective rows, whatever the value"
    clipped = max(line.cost.clipped for line in found)
    if clipped:
        yield f"up to {clipped} weights were cut: those estimates lean towards less, or the model"


def show(found: Finding, options: OffPolicyOptions, out: Console) -> None:
    """Prints the tables, or what is missing for them."""
    record = found.record
    out.print(
        f"{record.decisions:,} decisions in the last {options.days:g} days: {len(record.rows):,} "
        f"were open to exploring, {record.settled:,} could not have come out otherwise, "
        f"{record.unusable:,} have no usable propensity"
    )
    if not found.lines:
        out.print(
            "nothing was explored: set `learned: {explore_rate: 0.02}` in routing.yaml and let "
            "requests come",
            markup=False,
        )
        return
    graded = [line.quality for line in found.lines]
    costs = [line.cost for line in found.lines]
    wide = out.width >= WIDE
    out.print(_table("quality (0..1), graded requests", found.lines, graded, 1.0, wide))
    out.print(_table("USD per 1,000 requests", found.lines, costs, 1000.0, wide))
    weights = "weights as they are" if options.clip == math.inf else f"weights ≤ {options.clip:g}"
    out.print(
        f"[low, high]: 95%; DR: doubly robust, SNIPS: self-normalised, IPS: inverse propensity; "
        f"same: rows on which the policy takes what was served, worth that many effective; "
        f"{weights}",
        markup=False,
        style="dim",
    )
    for note in found.notes:
        out.print(f"note: {note}", markup=False, style="yellow")


def _table(
    title: str, found: Sequence[PolicyLine], judged: Sequence[Judged], scale: float, wide: bool
) -> Table:
    table = Table(title=title, title_justify="left", title_style="italic", box=SIMPLE_HEAD)
    table.add_column("policy", no_wrap=True)
    for name in ("DR", "", "SNIPS", "", "IPS", "", "rows", "same", "effective", "heaviest"):
        table.add_column(name, justify="right", no_wrap=True)
    for line, one in zip(found, judged, strict=True):
        rows = line.graded if one is line.quality else line.rows
        table.add_row(
            line.policy,
            *_cells(one.dr, scale),
            *_cells(one.snips, scale, wide),
            *_cells(one.ips, scale, wide),
            f"{rows:,}",
            f"{one.matched:,}",
            f"{one.effective:,.0f}",
            f"{one.heaviest:.1f}",
        )
    return table


def _cells(one: Estimated | None, scale: float, bounds: bool = True) -> tuple[str, str]:
    if one is None or math.isnan(one.value):
        return MISSING, ""
    value, low, high = (f"{round(x * scale, 3) + 0.0:.3f}" for x in (one.value, one.low, one.high))
    return value, f"[{low}, {high}]" if bounds and not math.isnan(one.low) else ""


def document(found: Finding) -> dict[str, Any]:
    """Every figure; NaN becomes null."""
    record = found.record
    return {
        "decisions": record.decisions,
        "explorable": len(record.rows),
        "settled": record.settled,
        "unusable": record.unusable,
        "graded": sum(row.reward is not None for row in record.rows),
        "policies": [asdict(line) for line in found.lines],
        "notes": list(found.notes),
    }
