"""The live loop behind the requests: fits, follows the other workers, and survives.

Between fits the neighbour memory learns at once (see `pupil`); when enough is new, a model is
fitted again in another process and swapped in whole. A fit never rests on fewer lessons than the
one it replaces (up to what is held). Lessons are written down without text, so that neither a crash
nor a restart loses them and every worker learns from all; one worker fits, under a lease, and the
others take over its snapshot (see `keeper`). A model of `llmrouter train` is taken over the same
way, and has its trust to earn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import replace

from llmrouter.errors import StoreFailed
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.example_buffer import StoredExample, cap_per_caller
from llmrouter.learning.online.label_observer import LABEL_WEIGHT, LabelObserver, LearnerOptions
from llmrouter.learning.online.snapshot import Snapshot
from llmrouter.learning.online.trainer_process import FitFailed, refit
from llmrouter.learning.online.training_example import TrainingExample
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import AgreementModel
from llmrouter.learning.trust.teacher_agreement import TeacherConsistency
from llmrouter.util.extras import installed
from llmrouter.util.tasks import repeatedly

__all__ = ["LABEL_WEIGHT", "LearnerOptions", "OnlineLearner"]

log = logging.getLogger(__name__)

PART = 250
"""Stored comparisons that are taken over before others get their turn."""


class OnlineLearner(LabelObserver):
    """A pupil with a store behind it. Confined to one event loop."""

    async def run(self) -> None:
        """Take over what was learned earlier, then keep learning, until cancelled."""
        every_s = self._options.check_s
        if not installed("learn"):
            log.info(
                "learning by memory alone: fits of networks and trees need "
                "pip install 'llmrouter[learn]'"
            )
        async with asyncio.TaskGroup() as group:  # a fit takes seconds, and lessons wait for none
            group.create_task(repeatedly(self._write, every_s))
            await self.load()
            while True:
                await asyncio.sleep(every_s)
                try:
                    await self._work()
                except Exception:
                    log.exception("learning failed for now")

    async def _write(self) -> None:
        await _shared(self._keeper.write())

    async def load(self) -> bool:
        """Take over the stored model with its record, and the lessons since. Whether one serves."""
        await _shared(self._follow())
        await self._refresh()
        return self._proposer.model is not None

    async def _work(self) -> None:
        if self._encoders.space != self._space:
            self._start_over()
        self._aim()
        await _shared(self._follow())
        if self.due():
            await _shared(self._follow(whole=True))
            if self.due():
                await self._refit()
        if self.stale():
            await self._refresh()

    def _start_over(self) -> None:
        """Another encoder: no model reads its space until one is stored or fitted."""
        self._space = self._encoders.space
        log.info("the encoder is %s from now on", self._space or "hashing")
        self._proposer.model = None
        self._trusted.clear()
        self._swap(AgreementModel(Windows(self._agreement())))
        self._fitted_at, self._learned = 0, 0 if self._space else len(self._held)
        self._keeper.look_again()

    async def _follow(self, *, whole: bool = False) -> None:
        """Takes over a newer snapshot, and what others learned. Raises StoreFailed."""
        snapshot = await self._keeper.newer()
        if snapshot is not None:
            await self._take_over(snapshot)
        for lesson in await self._keeper.read(whole=whole):
            if lesson.number > self._covered.get(lesson.author, 0):
                stale = lesson.at < self._trained_at  # the exam of a model before this training
                self._take(replace(lesson, comparison=None) if stale else lesson)
            elif lesson.grades:
                self._held.add(lesson)
            await asyncio.sleep(0)

    async def _take_over(self, snapshot: Snapshot) -> None:
        """Serves with a model of an earlier run, of another process, or of `llmrouter train`."""
        if self._encoders.space != self._space or not self._encoders.attach(snapshot.model):
            return  # an encoder that was named just now starts over first
        if self._proposer.model is None or snapshot.trained_at > self._trained_at:
            trust = AgreementModel(Windows(self._agreement()))
            try:
                for at in range(0, len(snapshot.comparisons), PART):
                    trust.load(snapshot.comparisons[at : at + PART])
                    await asyncio.sleep(0)
            except (ValueError, TypeError) as error:
                log.warning("trust has to be earned again: %s", error)
            trust.windows.resume(snapshot.answered)
            self._proposer.trust, self._proposer.steady = trust, TeacherConsistency(snapshot.steady)
        await self._catch_up(snapshot.model, snapshot.seen)
        self._trained_at, self._covered = snapshot.trained_at, snapshot.seen
        self._fitted_at = snapshot.learned
        self._learned = snapshot.learned + len(self._held.after(snapshot.seen))
        log.info("serving with a stored model of %d lessons", snapshot.learned)
        await self._refresh()

    async def _catch_up(self, model: QualityModel, seen: Mapping[str, int]) -> None:
        """Tells a model what was learned since it was fitted, then serves with it."""
        told = dict(seen)
        while missed := self._held.after(told):
            for one in missed:
                TrainingExample.from_bytes(one.packed()).teach(model)
                told[one.author] = one.number
                await asyncio.sleep(0)
        self._proposer.model = model

    async def _refit(self) -> None:
        """Fits and publishes, where no other process does so now."""
        try:
            if not await self._keeper.may_fit():
                return
        except StoreFailed as failure:
            log.warning("fitting for this process alone: %s", failure)
        try:
            await self._fit()
        except (FitFailed, TimeoutError) as failure:
            self._fitted_at = self._learned  # wait for news before trying again
            log.warning("no new preference model: %s", failure)
        finally:
            await _shared(self._keeper.fitted())

    async def _fit(self) -> None:
        learned, space, held = self._learned, self._space, self._held.all()
        authors = {one.author for one in held}
        seen = {name: last for name, last in self._keeper.seen.items() if name in authors}
        lessons = await asyncio.to_thread(cap_per_caller, held)
        count = len(lessons)
        del held
        packed, model = await refit(_let_go(lessons), space)
        if space != self._encoders.space or not self._encoders.attach(model):
            return
        await self._catch_up(model, seen)
        self._covered, self._fitted_at = seen, learned
        log.info("preference model fitted on %d lessons", count)
        await self._refresh()
        trust = self._proposer.trust
        snapshot = Snapshot(
            model,
            learned,
            trust.dump(),
            self._trained_at,
            seen,
            self._proposer.steady.dump(),
            trust.windows.answered(),
        )
        whole = await asyncio.to_thread(snapshot.to_bytes, packed)
        del packed  # megabytes, and the store takes as many while it writes
        await _shared(self._keeper.publish(whole))
        self._observer.count("model_fits", 1, {})

    async def _refresh(self) -> None:
        """As `refresh`, in a thread."""
        self._swap(await asyncio.to_thread(self._proposer.trust.refresh))


def _let_go(lessons: list[StoredExample]) -> Iterator[bytes]:
    """Each one's bytes. The list empties: a fit takes longer than they would be held otherwise."""
    lessons.reverse()
    while lessons:
        yield lessons.pop().packed()


async def _shared(work: Awaitable[None]) -> None:
    """Does what needs the store; without it learning goes on in this process alone."""
    try:
        await work
    except StoreFailed as failure:
        log.warning("learning is not shared for now: %s", failure)
