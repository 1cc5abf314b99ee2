"""The work behind the requests: fits models, follows the other workers, survives restarts.

Between fits the model's neighbour memory learns at once. When enough is new, a model is fitted in
another process and swapped in whole. A fit never rests on fewer examples than the one it replaces
(up to what is held). Examples are written to the store without text, so that neither a crash nor a
restart loses them and every worker learns from all. One worker fits, under a lease; the others take
over its snapshot (see `sync`). A model of `llmrouter train` is taken over the same way, and has to
earn its trust.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import replace

from llmrouter.domain.interfaces import Observer
from llmrouter.errors import StoreFailed
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.example_buffer import StoredExample, cap_per_caller
from llmrouter.learning.online.learning_state import LearningState
from llmrouter.learning.online.snapshot import Snapshot
from llmrouter.learning.online.trainer_process import FitFailed, refit
from llmrouter.learning.online.training_example import TrainingExample
from llmrouter.learning.trust.teacher_agreement import TeacherConsistency
from llmrouter.util.extras import installed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

PART = 250
"""Stored comparisons that are taken over before other tasks get their turn."""


class BackgroundTrainer:
    """Keeps `state` in step with the store, and fits when a fit is due.

    Looks every `check_s` seconds. Confined to one event loop.
    """

    def __init__(self, state: LearningState, observer: Observer, check_s: float) -> None:
        self._state = state
        self._observer = observer
        self._check_s = check_s

    async def run(self) -> None:
        """Takes over what was learned earlier, then keeps learning, until cancelled."""
        if not installed("learn"):
            log.info(
                "learning by memory alone: fits of networks and trees need "
                "pip install 'llmrouter[learn]'"
            )
        async with asyncio.TaskGroup() as group:  # a fit takes seconds, and writing goes on
            group.create_task(repeatedly(self._write, self._check_s))
            await self.load()
            while True:
                await asyncio.sleep(self._check_s)
                try:
                    await self._work()
                except Exception:
                    log.exception("learning failed for now")

    async def load(self) -> bool:
        """Takes over the stored model with its trust, and the examples since. Whether a model
        serves.
        """
        await _shared(self._follow())
        await self.refresh_trust()
        return self._state.predictor.model is not None

    async def refresh_trust(self) -> None:
        """Fits the confidence again on all comparisons, in a thread."""
        state = self._state
        state.trust.swap(await asyncio.to_thread(state.predictor.trust.refresh))

    async def _write(self) -> None:
        await _shared(self._state.sync.write())

    async def _work(self) -> None:
        state = self._state
        if state.encoders.space != state.space:
            self._change_encoder()
        state.trust.aim()
        await _shared(self._follow())
        if state.due():
            await _shared(self._follow(whole=True))
            if state.due():
                await self._refit()
        if state.trust.stale():
            await self.refresh_trust()

    def _change_encoder(self) -> None:
        """Another encoder was configured. Nothing is proposed until a model of it is there."""
        state = self._state
        state.space = state.encoders.space
        log.info("the encoder is %s from now on", state.space or "hashing")
        state.predictor.model = None
        state.trust.start_over()
        state.schedule.fitted_at = 0
        state.schedule.learned = 0 if state.space else len(state.examples)
        state.sync.look_again()

    async def _follow(self, *, whole: bool = False) -> None:
        """Takes over a newer snapshot and what others learned. Raises StoreFailed."""
        state = self._state
        snapshot = await state.sync.newer()
        if snapshot is not None:
            await self._take_over(snapshot)
        for example in await state.sync.read(whole=whole):
            if example.number > state.covered.get(example.author, 0):
                # A comparison with a model from before this training says nothing of it.
                earlier = example.at < state.trained_at
                state.take(replace(example, comparison=None) if earlier else example)
            elif example.grades:
                state.examples.add(example)
            await asyncio.sleep(0)

    async def _take_over(self, snapshot: Snapshot) -> None:
        """Serves with a model of an earlier run, of another process, or of `llmrouter train`."""
        state = self._state
        if state.encoders.space != state.space or not state.encoders.attach(snapshot.model):
            return  # an encoder that was configured just now starts over first
        if state.predictor.model is None or snapshot.trained_at > state.trained_at:
            trust = state.trust.unearned()
            try:
                for at in range(0, len(snapshot.comparisons), PART):
                    trust.load(snapshot.comparisons[at : at + PART])
                    await asyncio.sleep(0)
            except (ValueError, TypeError) as error:
                log.warning("trust has to be earned again: %s", error)
            trust.windows.resume(snapshot.answered)
            state.predictor.trust = trust
            state.predictor.steady = TeacherConsistency(snapshot.steady)
        await self._catch_up(snapshot.model, snapshot.seen)
        state.trained_at, state.covered = snapshot.trained_at, snapshot.seen
        state.schedule.fitted_at = snapshot.learned
        state.schedule.learned = snapshot.learned + len(state.examples.after(snapshot.seen))
        log.info("serving with a stored model of %d examples", snapshot.learned)
        await self.refresh_trust()

    async def _catch_up(self, model: QualityModel, seen: Mapping[str, int]) -> None:
        """Teaches a model what was learned since it was fitted, then serves with it."""
        taught = dict(seen)
        while missed := self._state.examples.after(taught):
            for one in missed:
                TrainingExample.from_bytes(one.packed()).teach(model)
                taught[one.author] = one.number
                await asyncio.sleep(0)
        self._state.predictor.model = model

    async def _refit(self) -> None:
        """Fits and publishes, unless another process does so now."""
        sync = self._state.sync
        try:
            if not await sync.may_fit():
                return
        except StoreFailed as failure:
            log.warning("fitting for this process alone: %s", failure)
        try:
            await self._fit()
        except (FitFailed, TimeoutError) as failure:
            self._state.schedule.wait_for_news()
            log.warning("no new preference model: %s", failure)
        finally:
            await _shared(sync.fitted())

    async def _fit(self) -> None:
        state = self._state
        learned, space, held = state.schedule.learned, state.space, state.examples.all()
        authors = {one.author for one in held}
        seen = {name: last for name, last in state.sync.seen.items() if name in authors}
        examples = await asyncio.to_thread(cap_per_caller, held)
        count = len(examples)
        del held
        packed, model = await refit(_drained(examples), space)
        if space != state.encoders.space or not state.encoders.attach(model):
            return
        await self._catch_up(model, seen)
        state.covered, state.schedule.fitted_at = seen, learned
        log.info("preference model fitted on %d examples", count)
        await self.refresh_trust()
        trust = state.predictor.trust
        snapshot = Snapshot(
            model,
            learned,
            trust.dump(),
            state.trained_at,
            seen,
            state.predictor.steady.dump(),
            trust.windows.answered(),
        )
        whole = await asyncio.to_thread(snapshot.to_bytes, packed)
        del packed  # megabytes, and the store takes as many while it writes
        await _shared(state.sync.publish(whole))
        self._observer.count("model_fits", 1, {})


def _drained(examples: list[StoredExample]) -> Iterator[bytes]:
    """Each one's bytes. The list empties on the way: a fit would hold all of it for its length."""
    examples.reverse()
    while examples:
        yield examples.pop().packed()


async def _shared(work: Awaitable[None]) -> None:
    """Does what needs the store; without it learning goes on in this process alone."""
    try:
        await work
    except StoreFailed as failure:
        log.warning("learning is not shared for now: %s", failure)
