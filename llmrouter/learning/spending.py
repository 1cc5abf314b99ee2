"""What each task and target cost and was worth in a stretch of time, from journal entries.

Why it exists: a router that saves on tokens and spends it on router calls, judges and rejected
attempts has saved nothing, and one whose quality sinks does so in silence. Both show here.

What it refuses: quality is what callers said (feedback, 0..1) and nothing else; where nobody said
anything it is None. Pure arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]
Key = tuple[str, str]
"""(task, target)"""

ENOUGH = 20
"""Ratings on each side below which no drift is claimed."""
UNLIKELY = 2.326
"""Standard errors of a fall that flag it: one in a hundred by chance."""


@dataclass(slots=True)
class Account:
    """One task and target. USD: `served` answers, `rejected` and failed attempts, `judge` and
    `router` calls. `ratings` are feedback scores in 0..1.
    """

    requests: int = 0
    served: float = 0.0
    rejected: float = 0.0
    judge: float = 0.0
    router: float = 0.0
    ratings: list[float] = field(default_factory=list)

    @property
    def spent(self) -> float:
        """USD in all."""
        return self.served + self.rejected + self.judge + self.router

    @property
    def quality(self) -> float | None:
        """Mean rating, None without any."""
        return sum(self.ratings) / len(self.ratings) if self.ratings else None

    @property
    def worth(self) -> float | None:
        """Mean rating per USD of one request, all spending included; None where either lacks."""
        if self.quality is None or not self.requests or self.spent <= 0:
            return None
        return self.quality / (self.spent / self.requests)


def accounts(entries: Iterable[Entry], start: float, end: float) -> dict[Key, Account]:
    """Accounts of entries with `start <= at < end` (seconds since the epoch)."""
    out: dict[Key, Account] = {}
    for entry in entries:
        if not start <= float(entry.get("at", 0.0)) < end or "target" not in entry:
            continue
        account = out.setdefault((str(entry.get("task") or ""), str(entry["target"])), Account())
        kind = entry.get("kind")
        if kind == "decision":
            account.router += float(entry.get("router_usd") or 0.0)
        elif kind == "feedback":
            account.ratings.append((float(entry["score"]) + 1.0) / 2.0)
        elif kind == "outcome":
            _spend(account, entry)
    return out


def _spend(account: Account, entry: Entry) -> None:
    attempts = [(a["outcome"], float(a["cost_usd"])) for a in entry.get("attempts", ())]
    served = sum(usd for outcome, usd in attempts if outcome == "ok")
    tried = sum(usd for outcome, usd in attempts if outcome != "ok")
    account.requests += 1
    account.served += served
    account.rejected += tried
    account.judge += max(0.0, float(entry.get("cost_usd") or 0.0) - served - tried)


def total(several: Iterable[Account]) -> Account:
    """The sum of accounts."""
    out = Account()
    for one in several:
        out.requests += one.requests
        out.served += one.served
        out.rejected += one.rejected
        out.judge += one.judge
        out.router += one.router
        out.ratings = out.ratings + one.ratings
    return out


def fell(now: Account, before: Account) -> bool:
    """Whether quality fell by more than chance explains (one-sided, 1%), on `ENOUGH` ratings."""
    if min(len(now.ratings), len(before.ratings)) < ENOUGH:
        return False
    error = math.sqrt(_variance(now.ratings) + _variance(before.ratings))
    return (before.quality or 0.0) - (now.quality or 0.0) > UNLIKELY * max(error, 1e-9)


def _variance(ratings: list[float]) -> float:
    """Of the mean; one made-up rating on either end keeps unanimity from looking certain."""
    padded = [*ratings, 0.0, 1.0]
    mean = sum(padded) / len(padded)
    return sum((one - mean) ** 2 for one in padded) / (len(padded) - 1) / len(padded)
