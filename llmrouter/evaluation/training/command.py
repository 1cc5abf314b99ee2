"""`llmrouter train`: fits the preference model on outcome files, the journal or rules.

The model is stored where the service looks for it; a running service loads it at its next check,
and the model before it is kept for `rollback`. A model fitted on outcomes predicts from the first
request on, but decides alone only once its choices have agreed with the router LLM often enough
(see `learning.trust.agreement_model`). A model fitted on rules brings its held-out agreement with
the rules, and decides the tasks where that is at least `learned.target_agreement`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from llmrouter.catalog.loader import load
from llmrouter.domain.catalog import Catalog, Learned
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.errors import BadRequest, CatalogInvalid, StoreFailed
from llmrouter.evaluation.benchmark.dataset import BadInput, Row, read_all
from llmrouter.evaluation.progress_bar import bar
from llmrouter.evaluation.recorded import Parse, newest, pasts
from llmrouter.evaluation.text_encoders import UnknownEncoder, known_encoder
from llmrouter.evaluation.training.examining import comparisons, trusted
from llmrouter.evaluation.training.labelling import Label, Labelled, label, of_past, of_row
from llmrouter.journal.export import rows as journal_rows
from llmrouter.journal.journal import Journal
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import Fitted, fit
from llmrouter.learning.online.online_learner import LABEL_WEIGHT, LearnerOptions
from llmrouter.learning.online.snapshot import Snapshot, previous, publish
from llmrouter.learning.trust.agreement_model import Comparison
from llmrouter.learning.trust.predictor import TEXT_LIMIT
from llmrouter.store.factory import open_store
from llmrouter.util.extras import require
from llmrouter.util.json_output import print_json

DONE, NO, WRONG_USAGE = 0, 1, 2
FEWEST = 10
JOURNAL_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """`store`: address of the service's store; `journal`: learn from its journal too; `from_rules`:
    label what has no grade by the rules of `prompts`; `encoder`: its name (None: routing.yaml's);
    `json`: print one document in place of lines.
    """

    store: str
    prompts: Path | None = None
    journal: bool = False
    from_rules: bool = False
    rollback: bool = False
    encoder: str | None = None
    seed: int = 0
    json: bool = False


@dataclass(slots=True)
class _Material:
    """What is fitted: graded examples, and what rules labelled."""

    examples: list[Example]
    labelled: Labelled | None = None

    @property
    def labels(self) -> list[Label]:
        return self.labelled.labels if self.labelled is not None else []

    def all(self) -> list[Example]:
        return [*self.examples, *(one.example() for one in self.labels)]


def _unreadable(_: bytes) -> ChatRequest:
    raise BadRequest("no format is known for it")


class _Refused(Exception):
    """There is nothing to do; the message says why and what would help."""


def run_train(files: Sequence[Path], options: TrainOptions, parse: Parse = _unreadable) -> int:
    """The command; returns its exit code and prints what was done, errors on standard error.

    `parse` reads the bodies of recorded requests, for `from_rules` on a journal.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    sources = bool(files or options.journal or options.from_rules)
    if sources:
        require("learn", "`llmrouter train`")
    if options.rollback == sources:
        wanted = "give outcome files, --journal or --from-rules, or --rollback alone"
        errors.print(wanted, markup=False)
        return WRONG_USAGE
    try:
        return asyncio.run(_run(files, options, parse, errors))
    except (BadInput, UnknownEncoder) as error:
        errors.print(str(error), markup=False)
        return WRONG_USAGE
    except _Refused as refused:
        errors.print(str(refused), markup=False)
        return NO
    except CatalogInvalid as invalid:
        errors.print(f"the catalog cannot be read:\n{invalid}", markup=False)
        return NO
    except StoreFailed as error:
        errors.print(f"the store {options.store} failed: {error}", markup=False)
        return NO


async def _run(files: Sequence[Path], options: TrainOptions, parse: Parse, errors: Console) -> int:
    catalog = _catalog(options)
    rows = [row for one in read_all(files) for row in one.rows]
    out = Console(highlight=False, soft_wrap=True)
    store = open_store(options.store, shared=True)
    try:
        if options.rollback:
            return await _rollback(store, options, out)
        material = await _material(rows, catalog, store, options, parse)
        if material.labelled is not None and not options.json:
            out.print(material.labelled.told(), markup=False)
        _check(material, rows, options)
        made = await asyncio.to_thread(
            _fit, material, _named(options, catalog), options.seed, errors
        )
        packed = await asyncio.to_thread(made.snapshot().to_bytes)
        await publish(store, packed)
    finally:
        await store.close()
    if options.json:
        print_json(made.document(options, catalog))
        return DONE
    for line in made.told(options, catalog):
        out.print(line, markup=False)
    return DONE


def _catalog(options: TrainOptions) -> Catalog | None:
    """What routing.yaml says; None where there is none and none is needed."""
    if options.prompts is None or not (options.from_rules or options.prompts.is_dir()):
        return None
    return load(options.prompts)


def _named(options: TrainOptions, catalog: Catalog | None) -> tuple[str, str | None]:
    """The encoder's name, and the variable of its key."""
    learned = Learned() if catalog is None else catalog.learned
    own = options.encoder in (None, learned.encoder)
    return options.encoder or learned.encoder, learned.api_key_env if own else None


async def _material(
    rows: Sequence[Row],
    catalog: Catalog | None,
    store: Store,
    options: TrainOptions,
    parse: Parse,
) -> _Material:
    material = _Material([_example(row) for row in rows if row.outcomes])
    questions: list[RoutingContext] = []
    if options.from_rules and catalog is not None:
        questions = [of_row(row, catalog) for row in rows if not row.outcomes]
    if options.journal or (options.from_rules and not rows):
        graded = _graded(await Journal(store).tail(JOURNAL_ENTRIES))
        material.examples += graded.values()
        if options.from_rules and catalog is not None:
            batches = await newest(store, JOURNAL_ENTRIES)
            known = await asyncio.to_thread(pasts, batches, JOURNAL_ENTRIES, parse)
            told = [one for one in known if one.text is not None and one.name not in graded]
            questions += [of_past(one, catalog) for one in told]
    if options.from_rules and catalog is not None:
        material.labelled = label(questions, catalog)
    return material


def _example(row: Row) -> Example:
    return Example(row.prompt[:TEXT_LIMIT], dict(row.outcomes), 1.0, row.task or None)


def _graded(entries: Sequence[dict[str, Any]]) -> dict[str, Example]:
    """By decision: graded outcomes in full, the router LLM's choices as labels elsewhere."""
    graded = {row["id"]: row["outcomes"] for row in journal_rows(entries)}
    out = {}
    for row in journal_rows(entries, labels=True):
        known = graded[row["id"]]
        weights = {name: 1.0 if name in known else LABEL_WEIGHT for name in row["outcomes"]}
        if weights:
            text = row["prompt"][:TEXT_LIMIT]
            out[row["id"]] = Example(text, row["outcomes"], weights, row["task"] or None)
    return out


def _check(material: _Material, rows: Sequence[Row], options: TrainOptions) -> None:
    """Raises `_Refused` where there is too little, with what would help."""
    count = len(material.all())
    if count >= FEWEST:
        return
    said = f"{count} graded rows are too few: {FEWEST} are needed"
    if rows and not options.from_rules and not any(row.outcomes for row in rows):
        said += '; no row has "outcomes": --from-rules labels them by the rules of routing.yaml'
    elif not rows:
        said += "; a request counts where its text was kept: LLMROUTER_RECORD_PROMPTS=true"
    raise _Refused(said)


@dataclass(frozen=True, slots=True)
class _Made:
    """A fitted model, and how its like did on labels that they had not seen."""

    material: _Material
    fitted: Fitted
    compared: list[Comparison]

    def snapshot(self) -> Snapshot:
        record: list[list[object]] = [[c.task, list(c.facts), *c[2:]] for c in self.compared]
        return Snapshot(self.fitted.model, len(self.material.all()), record, time.time())

    def document(self, options: TrainOptions, catalog: Catalog | None) -> dict[str, Any]:
        """What was done and how good it is, as JSON-ready values."""
        learned = Learned() if catalog is None else catalog.learned
        labelled = self.material.labelled
        found = measured(self.material.examples, self.fitted)
        return {
            "store": options.store,
            "rolled_back": False,
            "rows": len(self.material.all()),
            "encoder": self.fitted.model.encoder.name,
            "encoder_of_service": learned.encoder,
            "targets": list(self.fitted.model.targets),
            "labelled": None if labelled is None else dict(labelled.by_rule),
            "held_out": asdict(found) if found is not None else None,
            "rules_agreement": (
                sum(one.agreed for one in self.compared) / len(self.compared)
                if self.compared
                else None
            ),
            "trusted_tasks": list(trusted(self.compared, learned.target_agreement)),
        }

    def told(self, options: TrainOptions, catalog: Catalog | None) -> Iterator[str]:
        """What was done, how good it is, and what happens now."""
        model, examples = self.fitted.model, self.material.examples
        count = len(self.material.all())
        yield f"fitted on {count:,} rows with {model.encoder.name}; stored in {options.store}"
        yield f"targets: {', '.join(model.targets)}"
        if examples:
            yield held_out(examples, self.fitted)
        learned = Learned() if catalog is None else catalog.learned
        if learned.encoder != model.encoder.name and catalog is not None:
            yield (
                f"note: routing.yaml names the encoder {learned.encoder}: the service does not "
                "use this model until it names the same"
            )
        tasks: tuple[str, ...] = ()
        if self.compared:
            right, of = sum(one.agreed for one in self.compared), len(self.compared)
            yield f"held out: the rules' target for {right:,} of {of:,} ({right / of:.1%})"
            tasks = trusted(self.compared, learned.target_agreement)
        yield (
            "a service on this store takes it over at its next check, every "
            f"{LearnerOptions().check_s:g} s; `llmrouter train --rollback` goes back"
        )
        if tasks:
            yield f"it answers {', '.join(tasks)} requests by itself from then on"
        else:
            yield (
                "it proposes from then on, and answers by itself once its choices have agreed "
                f"with the router LLM's {learned.target_agreement:.0%} of the time, task by task"
            )


def _fit(material: _Material, encoder: tuple[str, str | None], seed: int, errors: Console) -> _Made:
    known = known_encoder(*encoder)
    with bar(errors) as progress:
        spans = {"encode": (0.0, 0.05), "hold out": (0.05, 0.7), "fit": (0.7, 0.97)}
        compared: list[Comparison] = []
        if material.labels:
            exam = progress.add_task("examine", total=1.0)

            def examined(share: float) -> None:
                progress.update(exam, completed=share)

            compared = comparisons(material.labels, material.examples, known, seed, examined)
        shown = progress.add_task("fit", total=1.0)

        def step(stage: str, share: float) -> None:
            start, end = spans.get(stage, (0.97, 1.0))
            progress.update(shown, completed=start + (end - start) * share, description=stage)

        fitted = fit(material.all(), encoder=known, seed=seed, progress=step)
    return _Made(material, fitted, compared)


async def _rollback(store: Store, options: TrainOptions, out: Console) -> int:
    """Swaps the stored model with the one before it, as newly trained, so services take it."""
    packed = await previous(store)
    if packed is None:
        raise _Refused("there is no earlier model to go back to")
    back = await asyncio.to_thread(Snapshot.from_bytes, packed)
    again = Snapshot(back.model, back.learned, back.comparisons, time.time())
    await publish(store, await asyncio.to_thread(again.to_bytes))
    if options.json:
        print_json({"store": options.store, "rolled_back": True, "rows": back.learned})
        return DONE
    out.print(f"back to the model of {back.learned:,} examples", markup=False)
    return DONE


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Mean grades on rows that estimates had not seen: of their choice, and of the best target."""

    score: float
    best_target: str
    best_score: float
    rows: int


def measured(examples: Sequence[Example], fitted: Fitted) -> HeldOut | None:
    """How the estimates chose on rows they had not seen; None where no row grades every target.

    `examples` are the first of those that were fitted on.
    """
    targets = fitted.model.targets
    full = [n for n, one in enumerate(examples) if one.grades.keys() >= set(targets)]
    if not full:
        return None
    known = np.array([[examples[n].grades[target] for target in targets] for n in full])
    chosen = known[np.arange(len(full)), fitted.held_out[full].argmax(axis=1)].mean()
    single = known.mean(axis=0)
    best = int(single.argmax())
    return HeldOut(float(chosen), targets[best], float(single[best]), len(full))


def held_out(examples: Sequence[Example], fitted: Fitted) -> str:
    """The same as a line."""
    found = measured(examples, fitted)
    if found is None:
        return "no row grades every target, so there is no held-out score; see llmrouter eval"
    return (
        f"held out: {found.score:.3f} where the best single target, {found.best_target}, has "
        f"{found.best_score:.3f} ({found.rows:,} rows graded for every target)"
    )
