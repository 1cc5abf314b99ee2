"""A running service's accounts: today against last week, for `/stats`, over restarts and workers.

Counters of a process begin at nothing when it starts and say nothing of last week, and reading a
journal of millions of entries for every look is out of the question. Here each request adds a few
numbers to an account, and `windows` keeps the sums of every hour for all workers together.

At most `KEYS` tasks and targets are kept apart; the rest is `other`, because callers name tasks.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.usage.drift import TimeSpan, TrendLine, lines
from llmrouter.usage.totals import NAMES, Key, UsageTotals
from llmrouter.usage.windows import HOUR_S, UsageWindows
from llmrouter.usage.windows import Key as FigureKey

KEYS: Final = 512
OTHER: Final = "other"
Place = tuple[str, str, str]
"""(tenant, task, target); the tenant is "" where tenants are not kept apart."""


class UsageStore:
    """Implements the journal port; it only adds up. Confined to one event loop."""

    def __init__(
        self, store: Store, flush_s: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._flush_s = flush_s
        self._clock = clock
        self._accounts: dict[Place, UsageTotals] = {}
        self._windows = UsageWindows(store, self._figures, "accounts", clock)

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
        account = self._account((decision.tenant, decision.task, decision.target))
        account.record_feedback(feedback.score, feedback.earlier)

    def audited(self, place: Place, cost_usd: float) -> None:
        """What an audit of a learned answer cost."""
        self._account(place).audits += cost_usd

    def embedded(self, encoder: str, cost_usd: float) -> None:
        """What a text's vector cost: no task's and no target's, so the encoder has an account."""
        self._account(("", "", encoder)).embeddings += cost_usd

    async def run(self) -> None:
        """Write now and then, until cancelled."""
        await self._windows.run(self._flush_s)

    async def flush(self) -> None:
        """Write what changed since the last time."""
        await self._windows.flush()

    async def lines(self, tenant: str = "") -> list[TrendLine]:
        """Today against last week for each task and target of a tenant; "" is everyone.

        See `drift.lines`.
        """
        hours = await self._windows.hours(tenant)
        return await asyncio.to_thread(_lines, hours, TimeSpan(self._clock()).bounds())

    async def snapshot(self, tenant: str = "") -> dict[str, Any]:
        """`lines` as JSON-ready values: `{task: {target: {now, before, daily_quality, falls}}}`."""
        tasks: dict[str, dict[str, Any]] = {}
        for line in await self.lines(tenant):
            tasks.setdefault(line.task, {})[line.target] = line.public()
        return tasks

    def _account(self, place: Place) -> UsageTotals:
        account = self._accounts.get(place)
        if account is None:
            if len(self._accounts) >= KEYS:
                place = (place[0], OTHER, place[2])
            account = self._accounts.setdefault(place, UsageTotals())
        return account

    def _figures(self) -> dict[str, dict[FigureKey, float]]:
        """Every account's sums, of each tenant and of everyone."""
        out: dict[str, dict[FigureKey, float]] = {"": {}}
        for (tenant, task, target), account in self._accounts.items():
            for name in NAMES:
                value = getattr(account, name)
                for owner in {"", tenant} if value else ():
                    sums = out.setdefault(owner, {})
                    sums[task, target, name] = sums.get((task, target, name), 0.0) + value
        return out


def _lines(
    hours: Sequence[tuple[float, dict[FigureKey, float]]], bounds: Sequence[float]
) -> list[TrendLine]:
    pieces: list[dict[Key, UsageTotals]] = [{} for _ in range(len(bounds) - 1)]
    for start, sums in hours:
        number = bisect_right(bounds, start + HOUR_S / 2) - 1
        if not 0 <= number < len(pieces):
            continue
        for key, value in sums.items():
            if len(key) == 3 and key[2] in NAMES:
                account = pieces[number].setdefault((key[0], key[1]), UsageTotals())
                setattr(account, key[2], getattr(account, key[2]) + value)
    return lines(pieces)
