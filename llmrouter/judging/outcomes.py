"""Feeds calibration with what came of answers, and keeps it in the store for all workers.

A request only ever notes something here; reading and writing the store and fitting are done behind
it. A store that fails costs nothing but sharing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson

from llmrouter.domain.decision import Decision
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.judging.calibration import Calibration, Outcome
from llmrouter.util.lru import Recent
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

LOG_NAME: Final = "judge:outcomes"
KEEP: Final = 5000
"""Appended batches that stay in the store."""
READ_EVERY: Final = 15
"""Rounds between two looks at what other workers noted."""


class StoredOutcomes:
    """Outcomes of judged targets on a store. `run` is started once; one event loop."""

    def __init__(self, store: Store, every_s: float = 2.0) -> None:
        self._store = store
        self._every_s = every_s
        self._fresh: deque[Outcome] = deque(maxlen=1000)
        self._said: Recent[tuple[str, str, str], bool] = Recent(4 * 1024 * 1024)
        self._rounds = 0
        self.calibration = Calibration()
        self.version = 0

    def observe(
        self,
        decision: Decision,
        grades: Mapping[str, float],
        weight: float = 1.0,
        caller: str = "",
    ) -> None:
        """Grades (0..1) of targets for a decided request; each caller's word counts once."""
        for one in decision.alternatives:
            grade = grades.get(one.target)
            if grade is None or (one.judged is None and one.learned is None):
                continue
            name = caller, decision.decision_id, one.target
            if caller and self._said.get(name):
                continue
            self._said.keep(name, True, 0)
            beside = one.judged, one.learned, one.probability, caller
            self._fresh.append(
                Outcome(decision.judge, one.target, decision.task, grade, weight, *beside)
            )

    async def run(self) -> None:
        """Take over what is stored, then a round every few seconds until cancelled."""
        await self._read()
        await repeatedly(self.work, self._every_s)

    async def work(self) -> None:
        """One round: write what is new, read others' now and then, fit where anything came."""
        self._rounds += 1
        fresh, self._fresh = list(self._fresh), deque(maxlen=1000)
        if fresh:
            try:
                packed = orjson.dumps([list(one) for one in fresh])
                await self._store.append(LOG_NAME, [packed], KEEP)
            except StoreFailed as failure:
                log.warning("calibration is not shared for now: %s", failure)
            for one in fresh:
                self.calibration.add(one)
            await self._fit()
        if self._rounds % READ_EVERY == 0:
            await self._read()

    def public(self) -> dict[str, Any]:
        """For `/stats`."""
        return self.calibration.public()

    async def _read(self) -> None:
        """Everyone's outcomes, in place of what is known here."""
        try:
            packed = await self._store.tail(LOG_NAME, KEEP)
        except StoreFailed as failure:
            log.warning("calibration was not read: %s", failure)
            return
        known = sum(map(len, self.calibration.outcomes.values()))
        read = await asyncio.to_thread(_unpacked, packed)
        if sum(map(len, read.outcomes.values())) > known:
            self.calibration = read
            await self._fit()

    async def _fit(self) -> None:
        await asyncio.to_thread(self.calibration.fit)
        self.version += 1


def _unpacked(packed: list[bytes]) -> Calibration:
    found = Calibration()
    for batch in packed:
        try:
            for row in orjson.loads(batch):
                one = Outcome(*row)
                if 0.0 <= one.grade <= 1.0 and 0.0 < one.weight <= 1.0:
                    found.add(one)
        except (ValueError, TypeError) as error:
            log.debug("outcomes that cannot be read: %s", error)
    return found
