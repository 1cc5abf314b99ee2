"""The effect of an edited catalog: recorded requests, decided under both catalogs.

Both catalogs decide the same requests by the gateway's own screening and stages: rules, the learned
model where one is given, else the recorded decision, else the default. The router LLM is not asked
and nothing is executed: the report counts the requests for which it would be asked again. All
targets are taken to be healthy, and costs are the estimates that decisions carry.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, Final

from llmrouter.catalog.diff import Change, changes
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Decision, Source
from llmrouter.domain.interfaces import Preferences
from llmrouter.evaluation.catalog_diff.headline import Figures, Unknown, headline
from llmrouter.evaluation.catalog_diff.replay import (
    SILENCE,
    CatalogReplay,
    RecordedFeatures,
    ReplayedDecision,
)
from llmrouter.evaluation.recorded import Parse, RecordedRequest, newest, pasts
from llmrouter.learning.online.online_learner import OnlineLearner
from llmrouter.routing.eligibility import is_pinned
from llmrouter.routing.utility import ExpectedUSD, expected_usd
from llmrouter.store.factory import open_store

Step = Callable[[int, int], None]

EXAMPLES: Final = 10
EXAMPLES_ALIKE: Final = 3
TEXT_SHOWN: Final = 120
BY: Final[Mapping[Source, str]] = {Source.CACHE: "recorded"}
"""How stages are named in a report; a decision taken over from the journal is no cache hit here."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The catalog that serves, and what it would become."""

    before: Catalog
    after: Catalog


@dataclass(frozen=True, slots=True)
class Move:
    """Requests that change from one target to another; costs are estimates of all of them."""

    before: str
    after: str
    requests: int
    before_usd: float
    after_usd: float


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task: its requests served under both catalogs, how many move, what all of them cost."""

    task: str
    requests: int
    moved: int
    before_usd: float
    after_usd: float


@dataclass(frozen=True, slots=True)
class Shift:
    """A target that `requests` requests lose or gain as eligible, with the commonest reason."""

    target: str
    change: str
    requests: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Requests that would be refused and are served now, with the commonest message."""

    status: int
    requests: int
    message: str


@dataclass(frozen=True, slots=True)
class Example:
    """One request that changes. `text` only where it was recorded."""

    decision_id: str
    task: str
    before: str | None
    after: str | None
    reason: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Impact:
    """The report; `headline` is its first line.

    `replayed` of `recorded` requests were decided, `told` of them with their text.

    `decided` counts the stages for both sides, `moved` the requests that change target; costs are
    USD, estimated, over what is served under both catalogs.
    """

    headline: str
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    recorded: int
    replayed: int
    told: int
    since: float | None
    decided: Mapping[str, Mapping[str, int]]
    moved: int
    before_usd: float
    after_usd: float
    moves: tuple[Move, ...]
    tasks: tuple[TaskLine, ...]
    eligibility: tuple[Shift, ...]
    refusals: tuple[Refusal, ...]
    served_again: int
    examples: tuple[Example, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("moves", "tasks", "eligibility", "refusals", "examples"):
            shown[name] = [asdict(one) for one in shown[name]]
        shown["changes"] = [change.public() for change in self.changes]
        return shown


@dataclass(slots=True)
class _Sums:
    """What adds up while requests are replayed."""

    replayed: int = 0
    told: int = 0
    decided: dict[str, Counter[str]] = field(
        default_factory=lambda: {"before": Counter(), "after": Counter()}
    )
    moves: dict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0.0, 0.0])
    )
    tasks: dict[str, list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0, 0.0, 0.0])
    )
    shifts: dict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    refusals: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    served_again: int = 0
    examples: list[Example] = field(default_factory=list)
    guessed: int = 0

    def add(self, past: RecordedRequest, before: ReplayedDecision, after: ReplayedDecision) -> None:
        self.replayed += 1
        self.told += past.text is not None
        for side, ruled in (("before", before), ("after", after)):
            self.decided[side][_by(ruled)] += 1
        if not is_pinned(past.request):
            self._shift(before, after)
        one, other = before.decision, after.decision
        if one is not None and other is not None:
            self._served(past, one, other)
        elif one is not None and after.refused is not None:
            self.refusals[after.refused.status][after.refused.message] += 1
            self._example(past, one.target, None, after.refused.message)
        elif other is not None:
            self.served_again += 1
            self._example(past, None, other.target, other.reason)

    def _served(self, past: RecordedRequest, before: Decision, after: Decision) -> None:
        costs = before.estimate.cost_usd, after.estimate.cost_usd
        moved = before.target != after.target
        task = self.tasks[past.task]
        for place, more in enumerate((1, moved, *costs)):
            task[place] += more
        self.guessed += after.source is Source.DEFAULT and past.source != Source.DEFAULT
        if moved:
            pair = self.moves[before.target, after.target]
            for place, more in enumerate((1, *costs)):
                pair[place] += more
            self._example(past, before.target, after.target, after.reason)

    def _shift(self, before: ReplayedDecision, after: ReplayedDecision) -> None:
        had, has = set(before.eligible), set(after.eligible)
        for target in had - has:
            reason = after.excluded.get(target, "it is not in the edited catalog")
            self.shifts[target, "lost"][reason] += 1
        for target in has - had:
            reason = before.excluded.get(target, "it is new")
            self.shifts[target, "gained"][reason] += 1

    def _example(
        self, past: RecordedRequest, before: str | None, after: str | None, reason: str
    ) -> None:
        alike = sum((one.before, one.after) == (before, after) for one in self.examples)
        if alike < EXAMPLES_ALIKE and len(self.examples) < EXAMPLES:
            text = past.text
            if text is not None and len(text) > TEXT_SHOWN:
                text = text[: TEXT_SHOWN - 1] + "…"
            self.examples.append(Example(past.name, past.task, before, after, reason, text))


def _by(ruled: ReplayedDecision) -> str:
    if ruled.decision is None:
        return "refused"
    return BY.get(ruled.decision.source, ruled.decision.source.value)


@dataclass(frozen=True, slots=True)
class Replay:
    """How to replay: with the learned model if there is one, for how long at most (s).

    `step` is called with how many requests are done, and of how many. `costs` are what requests
    are expected to cost.
    """

    preferences: Preferences | None = None
    limit_s: float = inf
    step: Step = lambda done, of: None
    costs: ExpectedUSD = expected_usd


@dataclass(frozen=True, slots=True)
class Journaled:
    """The newest `last` requests of the store at an address, replayed for `limit_s` at most."""

    store: str
    last: int
    limit_s: float = inf


async def assess_journaled(
    edit: Edit, where: Journaled, parse: Parse, step: Step = lambda done, of: None
) -> Impact:
    """The report on a store's requests, by its learned model where it has one.

    Raises StoreFailed.
    """
    store = open_store(where.store, shared=True)
    try:
        recorded = pasts(await newest(store, where.last), where.last, parse)
        learner = OnlineLearner(store, SILENCE, lambda: edit.before.learned.target_agreement)
        learned = bool(recorded) and await learner.load()
        how = Replay(learner if learned else None, where.limit_s, step, learner.costs.expected_usd)
        return await assess(edit, recorded, how)
    finally:
        await store.close()


async def assess(edit: Edit, recorded: Sequence[RecordedRequest], how: Replay) -> Impact:
    """Decide `recorded` under both catalogs, the newest first, and add up what differs."""
    told = RecordedFeatures(recorded)
    before, after = (
        CatalogReplay(catalog, told, how.preferences, how.costs)
        for catalog in (edit.before, edit.after)
    )
    sums = _Sums()
    ends_at = time.monotonic() + how.limit_s
    for past in reversed(recorded):
        if time.monotonic() >= ends_at:
            break
        sums.add(past, await before.rule(past), await after.rule(past))
        how.step(sums.replayed, len(recorded))
    return _impact(edit, recorded, sums, how)


def _impact(edit: Edit, recorded: Sequence[RecordedRequest], sums: _Sums, how: Replay) -> Impact:
    replayed = recorded[len(recorded) - sums.replayed :]
    tasks = [
        TaskLine(task, int(requests), int(moved), before, after)
        for task, (requests, moved, before, after) in sums.tasks.items()
    ]
    moves = [
        Move(*pair, int(requests), before, after)
        for pair, (requests, before, after) in sums.moves.items()
    ]
    shifts = [Shift(*key, *_commonest(why)) for key, why in sums.shifts.items()]
    refusals = [Refusal(status, *_commonest(why)) for status, why in sums.refusals.items()]
    moves.sort(key=lambda one: (-one.requests, one.before, one.after))
    costs = [sum(line.before_usd for line in tasks), sum(line.after_usd for line in tasks)]
    figures = Figures(
        sums.replayed,
        [(move.before, move.after, move.requests) for move in moves],
        sum(refusal.requests for refusal in refusals),
        *costs,
    )
    unknown = Unknown(
        sums.guessed,
        _asked_again(edit, sums),
        sums.replayed - sums.told,
        len(recorded) - sums.replayed,
    )
    return Impact(
        headline=headline(figures, unknown),
        changes=changes(edit.before, edit.after),
        warnings=edit.after.warnings,
        recorded=len(recorded),
        replayed=sums.replayed,
        told=sums.told,
        since=replayed[0].at if replayed else None,
        decided={side: dict(counts.most_common()) for side, counts in sums.decided.items()},
        moved=sum(move.requests for move in moves),
        before_usd=costs[0],
        after_usd=costs[1],
        moves=tuple(moves),
        tasks=tuple(sorted(tasks, key=lambda one: (-one.moved, -one.requests, one.task))),
        eligibility=tuple(sorted(shifts, key=lambda one: (one.change, -one.requests, one.target))),
        refusals=tuple(sorted(refusals, key=lambda one: -one.requests)),
        served_again=sums.served_again,
        examples=tuple(sums.examples),
        notes=tuple(_notes(edit, sums, len(recorded), how)),
    )


def _commonest(why: Counter[str]) -> tuple[int, str]:
    return why.total(), why.most_common(1)[0][0]


def _notes(edit: Edit, sums: _Sums, recorded: int, how: Replay) -> Iterable[str]:
    """What the figures cannot say themselves."""
    if sums.replayed < recorded:
        yield f"stopped after {how.limit_s:g} s: only the newest {sums.replayed} of {recorded}"
    if untold := sums.replayed - sums.told:
        yield (
            f"{untold} of {sums.replayed} recorded without their text "
            "(LLMROUTER_RECORD_PROMPTS=true keeps it): their sizes, needs, traits and limits "
            "decided; rules with `matches` and the learned model had nothing to read"
        )
    if sums.told and how.preferences is None:
        yield "no learned model is stored: what was decided then stands in for it"
    if sums.guessed:
        yield (
            f"{sums.guessed} no longer have what decided them: the router LLM would be asked; "
            "they are counted at the default target"
        )
    if kept := _asked_again(edit, sums):
        yield (
            f"{kept} keep what was decided then; the router LLM will be asked again and reads the "
            "edited catalog, so it may choose otherwise"
        )


def _asked_again(edit: Edit, sums: _Sums) -> int:
    """Requests that keep a recorded decision which the router LLM would make anew."""
    if edit.after.router is None or _read(edit.before) == _read(edit.after):
        return 0
    return sums.decided["after"]["recorded"]


def _read(catalog: Catalog) -> tuple[object, ...]:
    """What the router LLM's answer depends on, the request aside."""
    return catalog.version, catalog.prompt_version, catalog.router
