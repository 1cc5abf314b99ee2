"""Past decisions page by page, and the story of one, whichever worker made them.

Pages are read from the journal, the newest entries first, and only as far as a page needs. A line
is parsed once its bytes show that it may match, so a rare decision among 100,000 is found in about
a second, and a page without filters in milliseconds. One decision is found by its id: the decision
log, its execution and its ratings are each one read of the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Decision
from llmrouter.domain.decision_query import DecisionQuery
from llmrouter.domain.decision_story import explained
from llmrouter.journal.journal import Journal

MOST_LINES: Final = 1_000_000
"""Journal entries that one page looks through at most."""
EXCERPT: Final = 200
"""Characters of a recorded prompt that a row shows."""
ROW: Final = (
    "decision_id", "target", "source", "task", "confidence", "fingerprint", "key",
    "catalog_version",
)  # fmt: skip
_NAME: Final = b'"decision_id":"'


class Finder(Protocol):
    """Finds decisions by their ids (`store.decision_log.DecisionLog`)."""

    async def find_all(self, ids: Sequence[str], tenant: str | None) -> dict[str, Decision]:
        """Those of a tenant (None: everyone's) that are still known, by id."""
        ...


class DecisionPages:
    """The decisions of all workers, newest first, as the journal has them."""

    def __init__(self, journal: Journal, finder: Finder) -> None:
        self._journal = journal
        self._finder = finder

    async def page(self, query: DecisionQuery, caller: Caller) -> Mapping[str, Any]:
        """`{"decisions": [...], "next": id or None}`; raises StoreFailed.

        `next` continues behind the last one that is shown, as `before` of the next query. With
        `query.brief` each is a row; else it has everything that its story begins with.
        """
        found = await self._search(query, caller)
        shown = found[: query.limit]
        rows = [_row(entry, caller) for entry in shown]
        if not query.brief:
            whole = await self._finder.find_all([row["decision_id"] for row in rows], _of(caller))
            known = {name: explained(decision) for name, decision in whole.items()}
            rows = [{**known.get(row["decision_id"], {}), **row} for row in rows]
        rows.sort(key=lambda row: -float(row["created_at"] or 0.0))  # workers write in turns
        more = len(found) > query.limit
        return {"decisions": rows, "next": shown[-1]["decision_id"] if more else None}

    async def newest(self, last: int, caller: Caller) -> list[tuple[Decision, float | None]]:
        """The newest decisions that are still known, and what executing each cost (USD)."""
        found = await self._search(DecisionQuery(limit=last), caller)
        costs = {
            str(entry["decision_id"]): entry["outcome"] and entry["outcome"].get("cost_usd")
            for entry in found[:last]
        }
        known = await self._finder.find_all(list(costs), _of(caller))
        return [(decision, costs[name]) for name, decision in known.items()]

    async def _search(self, query: DecisionQuery, caller: Caller) -> list[dict[str, Any]]:
        search, seen = _Search(query, caller), 0
        async for lines in self._journal.newest_first():
            seen += len(lines)
            if await asyncio.to_thread(search.read, lines) or seen >= MOST_LINES:
                break
        return search.found


class _Search:
    """Collects the decisions that a query is about, newest first, and one over its limit."""

    def __init__(self, query: DecisionQuery, caller: Caller) -> None:
        self.found: list[dict[str, Any]] = []
        self._query = query
        self._caller = caller
        self._needles = _needles(query)
        self._text = None if query.text is None else _text_needle(query.text)
        self._behind = query.before is None
        self._seen: set[bytes] = set()
        self._outcomes: dict[bytes, bytes] = {}
        self._ratings: dict[bytes, bytes] = {}
        self._unrated: dict[bytes, dict[str, Any]] = {}

    def read(self, lines: Sequence[bytes]) -> bool:
        """Take in older lines, oldest first. True once there are enough."""
        for line in reversed(lines):
            name = _name_of(line)
            if line.startswith(b'{"kind":"decision"'):
                if self._decision(name, line):
                    return True
            elif line.startswith(b'{"kind":"outcome"'):
                self._outcomes.setdefault(name, line)
            elif line.startswith(b'{"kind":"feedback"'):
                if (early := self._unrated.pop(name, None)) is not None:
                    # a rating is written at once, its decision some moments later
                    early["score"] = orjson.loads(line)["score"]
                else:
                    self._ratings.setdefault(name, line)
        return False

    def _decision(self, name: bytes, line: bytes) -> bool:
        query = self._query
        if name in self._seen:  # the journal grew between two reads, so this was read before
            return False
        self._seen.add(name)
        outcome, rating = self._outcomes.pop(name, None), self._ratings.pop(name, None)
        if not self._behind:
            self._behind = query.before is not None and name == query.before.encode()
            return False
        if not all(needle in line for needle in self._needles):
            return False
        if self._text is not None and self._text not in line.lower():
            return False
        if query.outcome is not None and _outcome_in(outcome) != query.outcome:
            return False
        whole = {
            **orjson.loads(line),
            "outcome": None if outcome is None else orjson.loads(outcome),
            "score": None if rating is None else orjson.loads(rating)["score"],
        }
        if _matches(whole, query, self._caller):
            self.found.append(whole)
            if rating is None:
                self._unrated[name] = whole
        return len(self.found) > query.limit


def _name_of(line: bytes) -> bytes:
    start = line.find(_NAME, 0, 100)
    if start < 0:
        return b""
    start += len(_NAME)
    return line[start : line.find(b'"', start)]


def _needles(query: DecisionQuery) -> list[bytes]:
    """Bytes that each matching line holds, so that the others need not be parsed."""
    wanted = {name: getattr(query, name) for name in ("target", "source", "task", "key")}
    return [orjson.dumps({n: v})[1:-1] for n, v in wanted.items() if v is not None]


def _text_needle(text: str) -> bytes | None:
    """The same for a text in any case; None where bytes alone cannot tell."""
    return orjson.dumps(text.lower())[1:-1] if text.isascii() else None


def _outcome_in(line: bytes | None) -> str:
    """As `_outcome`, of the journal's line."""
    if line is None:
        return "decided"
    return "ok" if b'"outcome":"ok"' in line else "failed"


def _matches(entry: dict[str, Any], query: DecisionQuery, caller: Caller) -> bool:
    if not caller.admin and entry.get("tenant", "") != caller.tenant:
        return False
    for name in ("target", "source", "task", "key"):
        wanted = getattr(query, name)
        if wanted is not None and entry.get(name) != wanted:
            return False
    if query.outcome is not None and _outcome(entry["outcome"]) != query.outcome:
        return False
    if query.text is None:
        return True
    said = entry.get("prompt")
    return (
        may_read(entry.get("key"), caller)
        and isinstance(said, str)
        and query.text.lower() in said.lower()
    )


def may_read(key: str | None, caller: Caller) -> bool:
    """Whether a caller may see the recorded text of a request that `key` made."""
    return caller.admin or key == caller.name


def _of(caller: Caller) -> str | None:
    return None if caller.admin else caller.tenant


def _row(entry: dict[str, Any], caller: Caller) -> dict[str, Any]:
    outcome, said = entry["outcome"], entry.get("prompt")
    readable = isinstance(said, str) and may_read(entry.get("key"), caller)
    return {
        **{name: entry.get(name) for name in ROW},
        "created_at": entry.get("at"),
        "outcome": _outcome(outcome),
        "cost_usd": outcome and outcome.get("cost_usd"),
        "latency_ms": outcome and outcome.get("latency_ms"),
        "router_cost_usd": entry.get("router_usd"),
        "score": entry["score"],
        "excerpt": " ".join(str(said)[: 2 * EXCERPT].split())[:EXCERPT] if readable else None,
    }


def _outcome(outcome: dict[str, Any] | None) -> str:
    """`ok`, `failed`, or `decided` where nothing was executed yet."""
    if outcome is None:
        return "decided"
    return "ok" if any(a["outcome"] == "ok" for a in outcome.get("attempts", ())) else "failed"
