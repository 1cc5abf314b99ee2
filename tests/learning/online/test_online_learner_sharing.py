"""Several learners on one store, crashes included: nothing is lost, and one of them fits."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from llmrouter.domain.interfaces import Store
from llmrouter.learning.online.online_learner import LearnerOptions
from llmrouter.learning.online.snapshot import Snapshot, current, publish
from llmrouter.learning.online.sync import LOG_NAME
from llmrouter.learning.online.training_example import BucketPermutation, TrainingExample
from llmrouter.store.disk import DiskStore
from llmrouter.store.memory import MemoryStore
from tests.learning.teaching import NEVER_FITS, Bench, context, running, trusted, until

SUM = "Add 17 to 5."

CRASHING = """
import asyncio, sys
from pathlib import Path
from llmrouter.store.disk import DiskStore
from tests.learning.teaching import Bench, NEVER_FITS
async def main():
    bench = Bench(DiskStore(Path(sys.argv[1])), options=NEVER_FITS)
    running = asyncio.ensure_future(bench.learner.run())
    bench.teach(90)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def logged(store: Store, count: int) -> list[bytes]:
    """What lessons are in the store's log, once they are that many."""
    async with asyncio.timeout(60):
        while len(found := await store.tail(LOG_NAME, count)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def _all_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_killed_process_loses_no_lesson(tmp_path: Path) -> None:
    """kill -9 of a real process: the next one holds what it had learned, and no text is on disk."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(tmp_path), cwd=Path(__file__).parents[3]
    )
    store = DiskStore(tmp_path)
    await logged(store, 90)
    worker.kill()
    await worker.wait()
    bench = Bench(store, options=NEVER_FITS)
    async with running(bench.learner):
        await until(lambda: len(bench.learner.lessons()) == 90)
        bench.fit()
    assert sum(chosen == right for chosen, right in bench.choices(60)) >= 55
    await store.close()
    written = _all_of(tmp_path)
    assert b"task" in written
    assert b"haiku" not in written.lower()


async def test_what_one_worker_learns_every_worker_knows() -> None:
    """Lessons, comparisons and second opinions, each once."""
    store = MemoryStore()
    one, other = Bench(store, options=NEVER_FITS), Bench(store, options=NEVER_FITS)
    one.teach(160)
    one.fit()
    async with running(one.learner), running(other.learner):
        await until(lambda: len(other.learner.lessons()) == 160)
        other.fit()
        one.teach(300)
        await until(lambda: trusted(other, SUM))
        other.teach(40)
        await until(lambda: len(one.learner.lessons()) == len(other.learner.lessons()) == 500)
    assert len(one.learner.lessons()) == len(other.learner.lessons()) == 500
    assert len(one.learner.state.predictor.trust) == len(other.learner.state.predictor.trust)


async def test_one_worker_fits_and_the_others_take_over() -> None:
    """Whoever is first; the lessons of both are in the model."""
    store = MemoryStore()
    one, other = Bench(store), Bench(store)
    async with running(one.learner), running(other.learner):
        one.teach(70)
        other.teach(70)
        await until(lambda: one.counted("model_fits") + other.counted("model_fits"))
        about = context(SUM, "math")
        await until(lambda: one.learner.propose(about) and other.learner.propose(about))
        await asyncio.sleep(0.1)
    assert one.counted("model_fits") + other.counted("model_fits") == 1
    packed = await current(store)
    assert packed is not None
    assert Snapshot.from_bytes(packed).learned == 140
    first, second = one.learner.propose(about), other.learner.propose(about)
    assert first is not None
    assert second is not None
    assert (first.target, first.alternatives) == (second.target, second.alternatives)


async def test_a_fitter_that_died_keeps_nobody_from_fitting_for_ever() -> None:
    """Its lease ends by itself."""
    now = time.time()
    store = MemoryStore(clock=lambda: now)
    dead, alive = Bench(store), Bench(store)
    assert await dead.learner.state.sync.may_fit()
    alive.teach(130)
    async with running(alive.learner):
        await asyncio.sleep(0.2)
        assert alive.counted("model_fits") == 0
        now += 700.0
        await until(lambda: alive.counted("model_fits"))


async def test_a_running_service_takes_over_what_was_trained() -> None:
    """Within a check, with the lessons so far in its memory; trust is earned anew."""
    store, elsewhere = MemoryStore(), Bench(options=NEVER_FITS)
    elsewhere.teach(200, wrong=True)
    elsewhere.fit()
    model = elsewhere.learner.state.predictor.model
    assert model is not None
    bench = Bench(store, options=NEVER_FITS)
    bench.teach(160)
    bench.fit()
    bench.teach(240)
    bench.learner.refresh()
    assert trusted(bench, SUM)
    async with running(bench.learner):
        await publish(store, Snapshot(model, 9_000, [], time.time()).to_bytes())
        await until(lambda: not trusted(bench, SUM))
    assert len(model.memory) < len(bench.learner.state.predictor.model.memory)  # type: ignore[union-attr]
    assert bench.learner.due() is False


async def test_exams_of_an_earlier_model_do_not_count_for_a_trained_one() -> None:
    """A process that starts after `llmrouter train` reads them, and leaves them out."""
    store, early = MemoryStore(), Bench(options=NEVER_FITS)
    early.teach(160)
    early.fit()
    early.learner.state.sync._store = store
    early.teach(240)
    await early.learner.state.sync.write()
    model = early.learner.state.predictor.model
    assert model is not None
    await publish(store, Snapshot(model, 160, [], time.time()).to_bytes())
    late = Bench(store, options=NEVER_FITS)
    async with running(late.learner):
        await until(lambda: late.learner.propose(context(SUM, "math")))
        await until(lambda: len(late.learner.lessons()) == 400)
    assert len(late.learner.state.predictor.trust) == 0


async def test_lessons_are_veiled_by_the_options_secret() -> None:
    """Another secret reads other words."""
    store = MemoryStore()
    bench = Bench(store, options=LearnerOptions(first_fit=10**6, check_s=0.01, secret=b"mine"))
    bench.teach(1)
    async with running(bench.learner):
        (packed,) = await logged(store, 1)
    (plain,) = bench.learner.lessons()
    assert TrainingExample.from_bytes(packed, BucketPermutation(b"mine")).to_bytes() == plain
    assert TrainingExample.from_bytes(packed, BucketPermutation(b"other")).to_bytes() != plain
