"""A running service's accounts: today against last week, for `/stats`, over restarts and workers.

Why it exists: counters of a process begin at nothing when it starts and say nothing of last week,
and reading a journal of millions of entries for every look is out of the question. Here each
request adds a few numbers to an account; every few minutes the sums since the last time are
appended to one bounded log of the store, from which every worker and replica reads all of them.

What it refuses: to keep more tasks and targets than `KEYS` apart (the rest is `other`, because
callers name tasks), and to wait: a store that is down costs the sums of that time, and says so. A
crash costs those since the last time; the journal has every entry of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.usage.drift import TimeSpan, TrendLine, lines
from llmrouter.usage.totals import NAMES, Key, UsageTotals
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

LOG_NAME: Final = "accounts"
KEEP: Final = 20_000
"""Appended sums that stay: fifteen days of four workers and more."""
WAITING: Final = 100
"""Sums that wait for a store that is down."""
KEYS: Final = 512
OTHER: Final = "other"
Place = tuple[str, str, str]
"""(tenant, task, target); the tenant is "" where tenants are not kept apart."""
Sums = tuple[float, dict[Place, UsageTotals]]
"""When (seconds since the epoch), and the accounts since the time before."""


class UsageStore:
    """Implements the journal port; it only adds up. Confined to one event loop."""

    def __init__(
        self, store: Store, flush_s: float = 300.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._flush_s = flush_s
        self._clock = clock
        self._open: dict[Place, UsageTotals] = {}
        self._unkept: list[Sums] = []
        self._kept: list[Sums] = []

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """A decision, and what the router LLM took for it."""
        account = self._account((decision.tenant, decision.task, decision.target))
        account.decisions += 1
        account.router += decision.router_cost_usd

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution, on the account of the target where it ended."""
        attempts = [(one.outcome, one.cost_usd) for one in completion.attempts]
        account = self._account((decision.tenant, decision.task, completion.target))
        account.execute(completion.cost_usd, attempts)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """A rating of the target that was chosen."""
        self._account((decision.tenant, decision.task, decision.target)).record_feedback(
            feedback.score
        )

    def audited(self, place: Place, cost_usd: float) -> None:
        """What an audit of a learned answer cost."""
        self._account(place).audits += cost_usd

    def embedded(self, encoder: str, cost_usd: float) -> None:
        """What a text's vector cost: no task's and no target's, so the encoder has an account."""
        self._account(("", "", encoder)).embeddings += cost_usd

    async def run(self) -> None:
        """Read what there is, then write and read now and then, until cancelled."""
        await self._read()
        await repeatedly(self.flush, self._flush_s)

    async def flush(self) -> None:
        """Append the sums since the last time, and read everyone's."""
        if self._open:
            self._unkept.append((self._clock(), self._open))
            self._open = {}
        try:
            packed = [_packed(sums) for sums in self._unkept]
            if packed:
                await self._store.append(LOG_NAME, packed, KEEP)
                self._kept += self._unkept
                self._unkept = []
        except StoreFailed as failure:
            del self._unkept[:-WAITING]
            log.warning("accounts not kept: %s", failure)
            return
        await self._read()

    async def lines(self, tenant: str = "") -> list[TrendLine]:
        """Today against last week for each task and target of a tenant; "" is everyone.

        See `drift.lines`.
        """
        now = self._clock()
        open_ = {place: _copy(account) for place, account in self._open.items()}
        everything = [*self._kept, *self._unkept, (now, open_)]
        return await asyncio.to_thread(_lines, everything, TimeSpan(now).bounds(), tenant)

    async def snapshot(self, tenant: str = "") -> dict[str, Any]:
        """`lines` as JSON-ready values: `{task: {target: {now, before, daily_quality, falls}}}`."""
        tasks: dict[str, dict[str, Any]] = {}
        for line in await self.lines(tenant):
            tasks.setdefault(line.task, {})[line.target] = line.public()
        return tasks

    def _account(self, place: Place) -> UsageTotals:
        account = self._open.get(place)
        if account is None:
            if len(self._open) >= KEYS:
                place = (place[0], OTHER, place[2])
            account = self._open.setdefault(place, UsageTotals())
        return account

    async def _read(self) -> None:
        try:
            packed = await self._store.tail(LOG_NAME, KEEP)
        except StoreFailed as failure:
            log.warning("accounts not read: %s", failure)
            return
        self._kept = await asyncio.to_thread(_unpacked, packed)


def _lines(everything: Sequence[Sums], bounds: Sequence[float], tenant: str) -> list[TrendLine]:
    pieces: list[dict[Key, UsageTotals]] = [{} for _ in range(len(bounds) - 1)]
    for at, accounts in everything:
        number = bisect_right(bounds, at) - 1
        if not 0 <= number < len(pieces):
            continue
        for (owner, task, target), account in accounts.items():
            if tenant in ("", owner):
                pieces[number].setdefault((task, target), UsageTotals()).add(account)
    return lines(pieces)


def _copy(account: UsageTotals) -> UsageTotals:
    out = UsageTotals()
    out.add(account)
    return out


def _packed(sums: Sums) -> bytes:
    at, accounts = sums
    rows = [
        [*key, {name: value for name in NAMES if (value := getattr(account, name))}]
        for key, account in accounts.items()
    ]
    return orjson.dumps({"at": at, "accounts": rows})


def _unpacked(packed: Sequence[bytes]) -> list[Sums]:
    """What can be read; an entry of another build is passed over."""
    out: list[Sums] = []
    for one in packed:
        try:
            told: Mapping[str, Any] = orjson.loads(one)
            accounts = {
                (str(owner), str(task), str(target)): _account(sums)
                for owner, task, target, sums in told["accounts"]
            }
            out.append((float(told["at"]), accounts))
        except (ValueError, KeyError, TypeError) as error:
            log.debug("sums that cannot be read: %s", error)
    return out


def _account(sums: Mapping[str, Any]) -> UsageTotals:
    known = {name: value for name, value in sums.items() if name in NAMES}
    if not all(isinstance(value, (int, float)) for value in known.values()):
        raise ValueError("a sum is no number")
    return UsageTotals(**known)
