"""The figures that callers see, and the same over time, whichever worker answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from llmrouter.domain.chat import Caller
from llmrouter.domain.interfaces import Store
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
