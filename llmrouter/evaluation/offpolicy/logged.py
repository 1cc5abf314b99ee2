"""The explored part of the journal: the target served, its propensity, grade and cost.

Decisions that could not have come out otherwise (rules, pinned models, sessions, one eligible
target, exploration switched off or out of budget) are counted and left out, and so are those with a
missing or impossible propensity. A grade is feedback, or a cascade's verification where there is
none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]

TELLING = frozenset({"check", "judge"})
"""Signals whose acceptance says that an answer was good."""


@dataclass(frozen=True, slots=True)
class Row:
    """One decision that might have been another.

    `name` is its id. `reward` in 0..1 is None where the answer has no grade. `cost_usd` is what
    the execution came to, or the decision's estimate where it was not executed here.
    """

    name: str
    task: str
    fingerprint: str
    target: str
    propensity: float
    eligible: tuple[str, ...]
    reward: float | None
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Record:
    """The usable rows, and how many `decisions` there were in all.

    `settled` could not have come out otherwise; `unusable` have no propensity to weight by.
    """

    rows: tuple[Row, ...]
    decisions: int
    settled: int
    unusable: int


@dataclass(slots=True)
class _Story:
    """What the journal knows of one decision."""

    decision: Entry
    scores: dict[object, float] = field(default_factory=dict)  # each key's last
    costs: list[float] = field(default_factory=list)
    verified: float | None = None


def read(entries: Iterable[Entry], since: float = 0.0) -> Record:
    """The record of decisions made at `since` (seconds since the epoch) or later, oldest first.

    Entries of decisions that are not there are passed over: a journal's beginning may be cut off.
    """
    stories: dict[str, _Story] = {}
    for entry in entries:
        name, kind = str(entry.get("decision_id", "")), entry.get("kind")
        if kind == "decision":
            if float(entry.get("at", 0.0)) >= since:
                stories[name] = _Story(entry)
        elif (story := stories.get(name)) is not None:
            _add(story, str(kind), entry)
    rows, settled, unusable = [], 0, 0
    for name, story in stories.items():
        odds, eligible = story.decision.get("propensity"), story.decision.get("eligible")
        if not isinstance(odds, int | float) or not 0 < odds <= 1 or not eligible:
            unusable += 1
        elif odds == 1 or len(eligible) == 1:
            settled += 1
        else:
            rows.append(_row(name, story))
    return Record(tuple(rows), len(stories), settled, unusable)


def _row(name: str, story: _Story) -> Row:
    entry, scores, costs = story.decision, story.scores.values(), story.costs
    return Row(
        name,
        str(entry.get("task") or ""),
        str(entry.get("fingerprint", name)),
        str(entry["target"]),
        float(entry["propensity"]),
        tuple(map(str, entry["eligible"])),
        sum(scores) / len(scores) if scores else story.verified,
        sum(costs) / len(costs) if costs else float(entry.get("estimate_usd") or 0.0),
    )


def _add(story: _Story, kind: str, entry: Entry) -> None:
    if kind == "feedback":
        key = entry.get("key", len(story.scores))
        story.scores[key] = (min(max(float(entry["score"]), -1.0), 1.0) + 1.0) / 2.0
    elif kind == "outcome":
        story.costs.append(float(entry.get("cost_usd") or 0.0))
        for attempt in entry.get("attempts", ()):
            if attempt["target"] == story.decision["target"]:
                story.verified = _verified(attempt, story.verified)


def _verified(attempt: Entry, before: float | None) -> float | None:
    if attempt["outcome"] == "rejected":
        return 0.0
    told = attempt["outcome"] == "ok" and not TELLING.isdisjoint(attempt.get("signals", ()))
    return 1.0 if told else before
