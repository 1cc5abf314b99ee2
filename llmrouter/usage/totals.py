"""Totals of a task and target over a period: cost, quality, and whether quality fell.

Totals are sums, so those of hours add up to those of weeks, and journal entries and a running
service's own counts become the same thing. They include router calls, judges and rejected attempts.
Quality is callers' feedback (0..1), or None without any; the share of accepted answers is reported
beside it and never in its place. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

Entry = Mapping[str, Any]
Key = tuple[str, str]
"""(task, target)"""

ENOUGH: Final = 20
"""Observations on each side below which no drift is claimed."""
UNLIKELY: Final = 2.326
"""Standard errors of a fall that flag it: one in a hundred by chance."""


@dataclass(slots=True)
class UsageTotals:
    """One task and target.

    USD: `served` answers, `rejected` and failed attempts, `judge`, `router` calls that decided,
    `audits` of learned answers, and `embeddings`, which are on an encoder's own account. `taken`
    and `refused` count attempts: `refused` are those that failed or that a cascade rejected.
    Feedback is in 0..1: how many, their sum, and of squares.
    """

    decisions: int = 0
    executions: int = 0
    served: float = 0.0
    rejected: float = 0.0
    judge: float = 0.0
    router: float = 0.0
    audits: float = 0.0
    embeddings: float = 0.0
    taken: int = 0
    refused: int = 0
    rated: int = 0
    ratings: float = 0.0
    squares: float = 0.0

    @property
    def requests(self) -> int:
        """What was asked: a decision and its execution are one, and either may stand alone."""
        return max(self.decisions, self.executions)

    @property
    def spent(self) -> float:
        """USD in all."""
        overhead = self.judge + self.router + self.audits + self.embeddings
        return self.served + self.rejected + overhead

    @property
    def each(self) -> float | None:
        """USD a request, all spending included."""
        return self.spent / self.requests if self.requests else None

    @property
    def quality(self) -> float | None:
        """Mean rating, None without any; one that was corrected later cannot leave 0..1."""
        return min(1.0, max(0.0, self.ratings / self.rated)) if self.rated else None

    @property
    def acceptance(self) -> float | None:
        """The share of attempts whose answer was taken, None without any."""
        tried = self.taken + self.refused
        return self.taken / tried if tried else None

    @property
    def quality_per_usd(self) -> float | None:
        """Mean rating per USD of one request; None where either lacks."""
        return self.quality / self.each if self.quality is not None and self.each else None

    def public(self) -> dict[str, Any]:
        """As JSON-ready values: money in USD, qualities in 0..1, what there is none of null."""
        return {
            "requests": self.requests,
            "spent_usd": self.spent,
            "usd_per_request": self.each,
            "served_usd": self.served,
            "router_usd": self.router,
            "audits_usd": self.audits,
            "embeddings_usd": self.embeddings,
            "judge_usd": self.judge,
            "rejected_usd": self.rejected,
            "quality": self.quality,
            "rated": self.rated,
            "acceptance": self.acceptance,
            "quality_per_usd": self.quality_per_usd,
        }

    def record_feedback(self, score: float, earlier: float | None = None) -> None:
        """One rating, -1 to 1, in place of an `earlier` one where there was one."""
        value, before = _quality(score), 0.0 if earlier is None else _quality(earlier)
        self.rated += earlier is None
        self.ratings += value - before
        self.squares += value * value - before * before

    def execute(self, cost_usd: float, attempts: Iterable[tuple[str, float]]) -> None:
        """One execution of `attempts` (outcome, USD); what is over their sum went to a judge."""
        tried = 0.0
        for outcome, usd in attempts:
            tried += usd
            if outcome == "ok":
                self.taken += 1
                self.served += usd
            else:
                self.refused += outcome in ("failed", "rejected")
                self.rejected += usd
        self.executions += 1
        self.judge += max(0.0, cost_usd - tried)

    def add(self, other: UsageTotals) -> None:
        """Take over another's sums."""
        for name in NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


NAMES: Final = tuple(part.name for part in fields(UsageTotals))


@dataclass(frozen=True, slots=True)
class Fall:
    """Something that got worse beyond chance: `what` it is, from `before` to `now` (0..1)."""

    what: str
    before: float
    now: float


def split(entries: Iterable[Entry], bounds: Sequence[float]) -> list[dict[Key, UsageTotals]]:
    """Accounts of journal entries, one set between each two of the rising `bounds` (seconds).

    Of several ratings of one decision by one key the last counts.
    """
    out: list[dict[Key, UsageTotals]] = [{} for _ in range(len(bounds) - 1)]
    for entry in last_ratings(entries):
        piece = bisect_right(bounds, float(entry.get("at") or 0.0)) - 1
        book = _BOOKS.get(str(entry.get("kind")))
        if 0 <= piece < len(out) and book is not None and "target" in entry:
            key = str(entry.get("task") or ""), str(entry["target"])
            book(out[piece].setdefault(key, UsageTotals()), entry)
    return out


def last_ratings(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Journal entries without the ratings that the same key replaced later."""
    known = list(entries)
    last = {rating: number for number, entry in enumerate(known) if (rating := _rating(entry))}
    for number, entry in enumerate(known):
        rating = _rating(entry)
        if rating is None or last[rating] == number:
            yield entry


def _rating(entry: Entry) -> tuple[Any, Any] | None:
    if entry.get("kind") != "feedback" or "decision_id" not in entry:
        return None
    return entry["decision_id"], entry.get("key")


def usage_totals(entries: Iterable[Entry], start: float, end: float) -> dict[Key, UsageTotals]:
    """Accounts of journal entries with `start <= at < end` (seconds since the epoch)."""
    return split(entries, (start, end))[0]


def _quality(score: float) -> float:
    return (min(max(score, -1.0), 1.0) + 1.0) / 2.0


def _decision(account: UsageTotals, entry: Entry) -> None:
    account.decisions += 1
    account.router += float(entry.get("router_usd") or 0.0)


def _outcome(account: UsageTotals, entry: Entry) -> None:
    attempts = ((str(a["outcome"]), float(a["cost_usd"])) for a in entry.get("attempts") or ())
    account.execute(float(entry.get("cost_usd") or 0.0), attempts)


def _feedback(account: UsageTotals, entry: Entry) -> None:
    account.record_feedback(float(entry["score"]))


def _audit(account: UsageTotals, entry: Entry) -> None:
    account.audits += float(entry.get("router_usd") or entry.get("cost_usd") or 0.0)


def _embedding(account: UsageTotals, entry: Entry) -> None:
    account.embeddings += float(entry.get("cost_usd") or 0.0)


_BOOKS: Final = {
    "decision": _decision,
    "outcome": _outcome,
    "feedback": _feedback,
    "audit": _audit,
    "again": _audit,
    "embedding": _embedding,
}


def total(several: Iterable[UsageTotals]) -> UsageTotals:
    """The sum of accounts."""
    out = UsageTotals()
    for one in several:
        out.add(one)
    return out


def falls(now: UsageTotals, before: UsageTotals) -> list[Fall]:
    """What got worse by more than chance explains (one-sided, 1%), each on `ENOUGH` of both."""
    return [
        Fall(what, other.mean, one.mean)
        for what, one, other in (
            ("quality", _rated(now), _rated(before)),
            ("acceptance", _accepted(now), _accepted(before)),
        )
        if min(one.count, other.count) >= ENOUGH
        and other.mean - one.mean > UNLIKELY * math.sqrt(one.variance + other.variance)
    ]


@dataclass(frozen=True, slots=True)
class _Sample:
    count: int
    sum: float
    squares: float

    @property
    def mean(self) -> float:
        return self.sum / max(self.count, 1)

    @property
    def variance(self) -> float:
        """Of the mean; one made-up value on either end keeps unanimity from looking certain."""
        count, sum_, squares = self.count + 2, self.sum + 1.0, self.squares + 1.0
        return max(squares - sum_ * sum_ / count, 0.0) / (count - 1) / count


def _rated(account: UsageTotals) -> _Sample:
    return _Sample(account.rated, account.ratings, account.squares)


def _accepted(account: UsageTotals) -> _Sample:
    return _Sample(account.taken + account.refused, account.taken, account.taken)
