"""Shares training examples and model snapshots between workers through the store.

Each worker appends its examples, behind the requests, to one bounded log and reads the others' from
it. One worker fits at a time, under a lease that expires by itself; the others find the newer
snapshot and load it.

Nothing relies on order or on a single writer. Every example has its author's running number, so
none is taken twice, and a gap means that more of the log must be read. A store that is down costs
sharing and persistence, never a request; what waits to be written is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from dataclasses import replace
from itertools import islice

from llmrouter.domain.interfaces import Store
from llmrouter.learning.model.storage import ModelUnreadable
from llmrouter.learning.online.live_costs import LiveCosts
from llmrouter.learning.online.snapshot import LATEST, Snapshot, current, publish
from llmrouter.learning.online.training_example import (
    BucketPermutation,
    ExampleUnreadable,
    TrainingExample,
)

log = logging.getLogger(__name__)

LOG_NAME = "lessons"
MARK = "lessons:mark"
FITTING = "model:fitting"
LEASE_S = 660.0
"""Longer than a fit may take: a fitter that dies keeps the others waiting no longer than this."""
FIRST_LOOK = 64
"""Newest entries that are read first; the whole log only where they leave a gap."""
STEP = 8
"""Entries that are packed or unpacked before others get their turn."""


class StoreSync:
    """One process's side of the store. `keep` lessons stay in the log."""

    def __init__(
        self, store: Store, secret: bytes, keep: int, costs: LiveCosts | None = None
    ) -> None:
        self._costs = costs or LiveCosts()
        self._began = False
        self.author = secrets.token_hex(6)
        self.seen: dict[str, int] = {}
        self._store = store
        self._veil = BucketPermutation(secret)
        self._keep = keep
        self._waiting: deque[TrainingExample] = deque(maxlen=keep)
        self._mark: bytes | None = None
        self._latest: bytes | None = None

    def note(self, lesson: TrainingExample) -> TrainingExample:
        """The lesson, signed, to be written down; where too many wait, the oldest is dropped."""
        number = self.seen[self.author] = self.seen.get(self.author, 0) + 1
        signed = replace(lesson, author=self.author, number=number, at=time.time())
        self._waiting.append(signed)
        return signed

    async def write(self) -> None:
        """Write down what waits. Raises StoreFailed; it then waits on."""
        while self._waiting:
            await self._write()
        await self._costs.save(self._store)

    async def _write(self) -> None:
        lessons = list(islice(self._waiting, STEP))
        await self._store.append(
            LOG_NAME, [one.to_bytes(self._veil) for one in lessons], self._keep
        )
        written = {id(one) for one in lessons}
        while self._waiting and id(self._waiting[0]) in written:
            self._waiting.popleft()
        self._mark = f"{self.author} {lessons[-1].number}".encode()
        await self._store.put(MARK, self._mark, None)

    async def read(self, *, whole: bool = False) -> list[TrainingExample]:
        """What others wrote down since, and at first what there is. Raises StoreFailed.

        `whole` reads even if the mark is unchanged: of two writes at once one may be hidden.
        """
        mark = await self._store.get(MARK)
        if not whole and mark == self._mark:
            return []
        look = FIRST_LOOK if self._mark else self._keep
        fresh = await self._unseen(look)
        if look < self._keep and self._gap(fresh):
            fresh = await self._unseen(self._keep)
        self._mark = mark or b"nobody"
        for lesson in fresh:
            self.seen[lesson.author] = max(self.seen.get(lesson.author, 0), lesson.number)
        return fresh

    async def _unseen(self, last: int) -> list[TrainingExample]:
        out: list[TrainingExample] = []
        for number, packed in enumerate(await self._store.tail(LOG_NAME, last)):
            if number % STEP == STEP - 1:
                await asyncio.sleep(0)
            try:
                lesson = TrainingExample.from_bytes(packed, self._veil)
            except ExampleUnreadable as error:
                log.debug("a lesson is passed over: %s", error)
                continue
            if lesson.author != self.author and lesson.number > self.seen.get(lesson.author, 0):
                out.append(lesson)
        return out

    def _gap(self, fresh: list[TrainingExample]) -> bool:
        """Whether an author wrote more since than was looked at."""
        first: dict[str, int] = {}
        for lesson in fresh:
            first.setdefault(lesson.author, lesson.number)
        return any(number > self.seen.get(author, 0) + 1 for author, number in first.items())

    async def may_fit(self) -> bool:
        """Whether this process is the one to fit now. Raises StoreFailed."""
        return await self._store.increment(FITTING, 1, LEASE_S) == 1

    async def fitted(self) -> None:
        """Lets the next one fit. Raises StoreFailed."""
        await self._store.delete(FITTING)

    async def publish(self, packed: bytes) -> None:
        """Makes a packed snapshot the current one. Raises StoreFailed."""
        self._latest = (await publish(self._store, packed)).encode()

    def look_again(self) -> None:
        """Take the stored snapshot for a new one, whichever was seen."""
        self._latest = None

    async def newer(self) -> Snapshot | None:
        """The stored snapshot where it is another than the last one seen here.

        One that cannot be read is told once and passed over. Raises StoreFailed.
        """
        if not self._began:
            await self._costs.load(self._store)
            self._began = True
        latest = await self._store.get(LATEST)
        if latest is None or latest == self._latest:
            return None
        packed = await current(self._store)
        if packed is None:
            return None
        self._latest = latest
        try:
            return await asyncio.to_thread(Snapshot.from_bytes, packed)
        except ModelUnreadable as error:
            log.warning("no preference model from an earlier run: %s", error)
            return None
