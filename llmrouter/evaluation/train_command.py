"""`llmrouter train`: fits preferences on outcome files or the journal, for the service to use.

Why it exists: a team that has graded outcomes need not wait for traffic. The model is stored under
the key that the live loop reads, the one before it is kept for `rollback`, and a running service
takes it over within minutes.

What it refuses: to hand over trust. The model proposes from the first request on, but answers only
once its choices have agreed with the router LLM often enough; see `learning.trust`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from llmrouter.domain.ports import Store
from llmrouter.errors import StoreFailed
from llmrouter.evaluation.bar import bar
from llmrouter.evaluation.dataset import BadInput, Row, read_all
from llmrouter.learning.export import rows as journal_rows
from llmrouter.learning.fit import Fitted, fit
from llmrouter.learning.journal import Journal
from llmrouter.learning.learner import LABEL_WEIGHT
from llmrouter.learning.model import Example
from llmrouter.learning.snapshot import CURRENT, PREVIOUS, Snapshot
from llmrouter.store.open import open_store

DONE, NO, WRONG_USAGE = 0, 1, 2
FEWEST = 10
JOURNAL_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """`store`: address of the service's store; `journal`: learn from its journal too."""

    store: str
    journal: bool = False
    rollback: bool = False
    seed: int = 0


def run_train(files: Sequence[Path], options: TrainOptions) -> int:
    """The command; returns its exit code and prints what was done, errors on standard error."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if options.rollback == bool(files or options.journal):
        errors.print("give outcome files or --journal, or --rollback alone", markup=False)
        return WRONG_USAGE
    try:
        return asyncio.run(_run(files, options, errors))
    except BadInput as error:
        errors.print(str(error), markup=False)
        return WRONG_USAGE
    except StoreFailed as error:
        errors.print(f"the store {options.store} failed: {error}", markup=False)
        return NO


async def _run(files: Sequence[Path], options: TrainOptions, errors: Console) -> int:
    examples = [_example(row) for one in read_all(files) for row in one.graded]
    store = open_store(options.store, shared=True)
    try:
        if options.rollback:
            return await _rollback(store, errors)
        if options.journal:
            examples += await _from_journal(store)
        if len(examples) < FEWEST:
            errors.print(f"{len(examples)} graded rows are too few: {FEWEST} are needed")
            return NO
        fitted = _fit(examples, options.seed, errors)
        await _keep(store, Snapshot(fitted.model, len(examples), [], time.time()))
    finally:
        await store.close()
    out = Console(highlight=False, soft_wrap=True)
    out.print(f"fitted on {len(examples):,} rows; stored in {options.store}", markup=False)
    out.print(f"targets: {', '.join(fitted.model.targets)}", markup=False)
    out.print(held_out(examples, fitted), markup=False)
    return DONE


def _example(row: Row) -> Example:
    return Example(row.prompt, dict(row.outcomes), 1.0, row.task or None)


async def _from_journal(store: Store) -> list[Example]:
    """Graded outcomes in full, and the router LLM's choices as labels where nobody graded."""
    entries = await Journal(store).tail(JOURNAL_ENTRIES)
    graded = {row["id"]: row["outcomes"] for row in journal_rows(entries)}
    out = []
    for row in journal_rows(entries, labels=True):
        known = graded[row["id"]]
        weights = {name: 1.0 if name in known else LABEL_WEIGHT for name in row["outcomes"]}
        if weights:
            out.append(Example(row["prompt"], row["outcomes"], weights, row["task"] or None))
    return out


def _fit(examples: Sequence[Example], seed: int, errors: Console) -> Fitted:
    with bar(errors) as progress:
        spans = {"encode": (0.0, 0.05), "hold out": (0.05, 0.7), "fit": (0.7, 0.97)}
        shown = progress.add_task("fit", total=1.0)

        def step(stage: str, share: float) -> None:
            start, end = spans.get(stage, (0.97, 1.0))
            progress.update(shown, completed=start + (end - start) * share, description=stage)

        return fit(examples, seed=seed, progress=step)


async def _keep(store: Store, snapshot: Snapshot) -> None:
    packed = await asyncio.to_thread(snapshot.to_bytes)
    previous = await store.get(CURRENT)
    if previous is not None:
        await store.put(PREVIOUS, previous, None)
    await store.put(CURRENT, packed, None)


async def _rollback(store: Store, errors: Console) -> int:
    """Swaps the stored model with the one before it, as newly trained, so services take it."""
    previous = await store.get(PREVIOUS)
    if previous is None:
        errors.print("there is no earlier model to go back to", markup=False)
        return NO
    back = await asyncio.to_thread(Snapshot.from_bytes, previous)
    await _keep(store, Snapshot(back.model, back.learned, [], time.time()))
    Console(highlight=False).print(f"back to the model of {back.learned:,} examples")
    return DONE


def held_out(examples: Sequence[Example], fitted: Fitted) -> str:
    """How the estimates chose on rows they had not seen, beside the best single target."""
    targets = fitted.model.targets
    full = [n for n, one in enumerate(examples) if one.grades.keys() >= set(targets)]
    if not full:
        return "no row grades every target, so there is no held-out score; see llmrouter eval"
    known = np.array([[examples[n].grades[target] for target in targets] for n in full])
    chosen = known[np.arange(len(full)), fitted.held_out[full].argmax(axis=1)].mean()
    single = known.mean(axis=0)
    best = int(single.argmax())
    return (
        f"held out: {chosen:.3f} where the best single target, {targets[best]}, has "
        f"{single[best]:.3f} ({len(full):,} rows graded for every target)"
    )
