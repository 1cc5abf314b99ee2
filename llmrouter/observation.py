"""What callers see of the past: figures, decisions and the story of one, whichever worker answers.

Reads what telemetry, usage, journal and decision log keep in the store, and puts it together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Decision
from llmrouter.domain.decision_query import DecisionQuery
from llmrouter.domain.decision_story import explained
from llmrouter.domain.interfaces import Store
from llmrouter.errors import NotFound
from llmrouter.journal.journal import Journal
from llmrouter.telemetry.stats import Stats
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.usage.store import UsageStore
from llmrouter.usage.windows import WINDOWS, UsageWindows


class Figures:
    """The figures of `/stats` and their series, of all workers, over restarts."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        usage: UsageStore,
        trusted: Callable[[], Collection[str]],
        judging: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._judging = judging
        self._telemetry = telemetry
        self._usage = usage
        self._trusted = trusted
        self._windows = UsageWindows(store, telemetry.flat)

    async def run(self) -> None:
        """Share this worker's figures every second, until cancelled."""
        await self._windows.run()

    async def stats(self, caller: Caller, window: str) -> Mapping[str, Any]:
        """Everything over a window, for the caller's tenant or everyone."""
        points = await self._windows.series(window, caller.tenant)
        sums: dict[tuple[str, ...], float] = {}
        for _, piece in points:
            for key, value in piece.items():
                sums[key] = sums.get(key, 0.0) + value
        return {
            **Stats.of(sums).snapshot(),
            "uptime_s": self._telemetry.stats.snapshot()["uptime_s"],
            "window": window,
            "since": points[0][0],
            "trusted_tasks": sorted(self._trusted()),
            "judging": self._judging(),
            "today_and_last_week": await self._usage.snapshot(caller.tenant),
        }

    async def series(self, caller: Caller, window: str) -> Mapping[str, Any]:
        """The pieces of a window, oldest first; `at` is where one starts (Unix seconds)."""
        points = await self._windows.series(window, caller.tenant)
        return {
            "window": window,
            "step_s": WINDOWS[window].point_s,
            "points": [{"at": at, **Stats.of(sums).point()} for at, sums in points],
        }


log = logging.getLogger(__name__)

MOST_ENTRIES: Final = 200_000
"""Journal entries that one page looks through at most."""


class Finder(Protocol):
    """Finds decisions by id (`gateway.Gateway`)."""

    async def find(self, decision_id: str, caller: Caller) -> Decision:
        """One that the caller may see. Raises NotFound."""
        ...


class DecisionPages:
    """The decisions of all workers, newest first, as the journal has them."""

    def __init__(self, journal: Journal, finder: Finder) -> None:
        self._journal = journal
        self._finder = finder

    async def page(self, query: DecisionQuery, caller: Caller) -> Mapping[str, Any]:
        """`{"decisions": [...], "next": id or None}`; raises StoreFailed.

        `next` continues behind the last one that is shown, as `before` of the next query.
        """
        found: list[dict[str, Any]] = []
        last, seen = query.limit * 4, -1
        while True:
            entries = await self._journal.tail(last)
            found = await asyncio.to_thread(_matching, entries, query, caller)
            if len(found) > query.limit or len(entries) in (seen, 0) or last >= MOST_ENTRIES:
                break
            last, seen = last * 4, len(entries)
        shown = found[: query.limit]
        decisions = await asyncio.gather(*(self._shown(entry, caller) for entry in shown))
        more = len(found) > query.limit
        return {
            "decisions": decisions,
            "next": shown[-1]["decision_id"] if more else None,
        }

    async def _shown(self, entry: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """The decision in full with what came of it, or what the journal says of an old one."""
        try:
            decision = explained(await self._finder.find(entry["decision_id"], caller))
        except NotFound:
            names = ("decision_id", "target", "source", "task", "confidence", "fingerprint")
            decision = {**{name: entry.get(name) for name in names}, "created_at": entry.get("at")}
        outcome = entry["outcome"]
        return {
            **decision,
            "key": entry.get("key"),
            "outcome": _outcome(outcome),
            "cost_usd": outcome and outcome.get("cost_usd"),
            "latency_ms": outcome and outcome.get("latency_ms"),
            "score": entry["score"],
        }


def _matching(
    entries: list[dict[str, Any]], query: DecisionQuery, caller: Caller
) -> list[dict[str, Any]]:
    """The decisions that a query is about, newest first, behind `before`; one over the limit."""
    outcomes: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}
    found: list[dict[str, Any]] = []
    behind = query.before is None
    for entry in reversed(entries):
        name = entry.get("decision_id")
        match entry.get("kind"):
            case "outcome" if name not in outcomes:
                outcomes[str(name)] = entry
            case "feedback" if name not in scores:
                scores[str(name)] = entry["score"]
            case "decision":
                if not behind:
                    behind = name == query.before
                    continue
                whole = {**entry, "outcome": outcomes.get(name), "score": scores.get(name)}
                if _matches(whole, query, caller):
                    found.append(whole)
                    if len(found) > query.limit:
                        break
    return found


def _matches(entry: dict[str, Any], query: DecisionQuery, caller: Caller) -> bool:
    if not caller.admin and entry.get("tenant", "") != caller.tenant:
        return False
    for name in ("target", "source", "task", "key"):
        wanted = getattr(query, name)
        if wanted is not None and entry.get(name) != wanted:
            return False
    if query.outcome is not None and _outcome(entry["outcome"]) != query.outcome:
        return False
    return query.text is None or query.text.lower() in str(entry.get("prompt", "")).lower()


def _outcome(outcome: dict[str, Any] | None) -> str:
    """`ok`, `failed`, or `decided` where nothing was executed yet."""
    if outcome is None:
        return "decided"
    return "ok" if any(a["outcome"] == "ok" for a in outcome.get("attempts", ())) else "failed"
