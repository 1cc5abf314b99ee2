"""Learning with an encoder that has to be asked: what is at hand, what is not, and its change."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace

import pytest

from llmrouter.domain.catalog import Learned
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.features import Features, Traits
from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.learning.online.snapshot import Snapshot, current, publish
from llmrouter.store.memory import MemoryStore
from tests.fakes import RecordingObserver, ScriptedEmbeddings, a_catalog, a_request
from tests.learning.teaching import running, until

SPACE, OTHER = "openai:m@http://h.example/v1", "local:tiny"
QUICK = LearnerOptions(first_fit=80, check_s=0.01, refresh=40)
KINDS = (("What is {} plus {}?", "math", "small"), ("A poem on {} and {}.", "writing", "large"))


class Bench:
    """A learner whose encoder and settings the test holds."""

    def __init__(self, store: MemoryStore | None = None, encoder: str = SPACE) -> None:
        self.store = store or MemoryStore()
        self.settings = Learned(encoder=encoder, timeout_ms=5_000)
        self.source = ScriptedEmbeddings(width=16)
        self.observer = RecordingObserver()
        self.failed: list[EncoderFailed] = []
        encoders = Encoders(lambda: self.settings, lambda *_: self.source, self.failed.append)
        self.learner = OnlineLearner(self.store, self.observer, lambda: 0.8, QUICK, encoders)
        self.dice = random.Random(7)

    async def teach(self, count: int) -> int:
        """Requests as the stages bring them; how many proposals there were."""
        proposed = 0
        for number in range(count):
            text, task, target = KINDS[number % 2]
            about = context(text.format(self.dice.randrange(90), self.dice.randrange(90)), task)
            await self.learner.prepare(about)
            proposal = self.learner.propose(about)
            proposed += proposal is not None
            self.learner.observe_label(
                about, proposal, StageResult(target, Source.LLM, "said so", task=task)
            )
        return proposed

    def fits(self) -> int:
        """How many models were fitted here."""
        return sum(name == "model_fits" for name, _, _ in self.observer.counts)

    async def proposes(self, text: str, task: str) -> str | None:
        """The target it would choose."""
        about = context(text, task)
        await self.learner.prepare(about)
        proposal = self.learner.propose(about)
        return None if proposal is None else proposal.target


def context(text: str, task: str) -> RoutingContext:
    """A question of a task to small and large."""
    features = Features(
        "f" * 32, "c" * 32, text, "", 20, 50, frozenset(), 1, False, False,
        read_traits=lambda: Traits(task=task),
    )  # fmt: skip
    return RoutingContext(a_request(text), features, a_catalog(), ("small", "large"))


async def comes_to(bench: Bench, target: str | None) -> None:
    """Wait until this is what is proposed for a sum."""
    async with asyncio.timeout(60):
        while await bench.proposes("What is 7 plus 8?", "math") != target:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stored(store: MemoryStore, space: str) -> None:
    """Wait until the stored model reads this space."""
    name = ""
    async with asyncio.timeout(60):
        while name != space:
            await asyncio.sleep(0.01)
            packed = await current(store)
            name = "" if packed is None else Snapshot.from_bytes(packed).model.encoder.name


@pytest.fixture(scope="module")
def fitted() -> MemoryStore:
    """A store with a model that was fitted on the scripted space."""

    async def teach() -> MemoryStore:
        bench = Bench()
        async with running(bench.learner):
            assert await bench.teach(100) == 0
            await until(bench.fits)
            await stored(bench.store, SPACE)
            assert await bench.proposes("What is 5 plus 99?", "math") == "small"
            assert await bench.proposes("A poem on 5 and 99.", "writing") == "large"
        return bench.store

    return asyncio.run(teach())


async def test_what_was_fitted_on_its_vectors_serves_after_a_restart(fitted: MemoryStore) -> None:
    """The stored model names its space; the restarted learner asks for each text once."""
    again = Bench(fitted)
    assert await again.learner.load()
    assert await again.proposes("What is 7 plus 8?", "math") == "small"
    assert await again.proposes("What is 7 plus 8?", "math") == "small"
    assert again.source.asked == [["What is 7 plus 8?"]]
    proposal = again.learner.propose(context("nobody prepared this", "math"))
    assert proposal is None
    assert again.learner.prospects(context("nor this", "math")) == ()


async def test_a_failing_encoder_means_no_proposal_and_a_lesson_without_effect(
    fitted: MemoryStore,
) -> None:
    """The router LLM decides; it is counted, and nothing raises."""
    bench = Bench(fitted)
    assert await bench.learner.load()
    bench.source.failure = EncoderFailed("http", "503")
    assert await bench.teach(4) == 0
    assert [one.kind for one in bench.failed] == ["http"] * 4
    bench.source.failure = None
    assert await bench.proposes("What is 7 plus 8?", "math") == "small"


async def test_a_model_of_another_encoder_is_not_used(
    fitted: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says whose it is and what was wanted; hashing is another encoder, too."""
    for encoder in ("hashing", OTHER):
        bench = Bench(fitted, encoder)
        with caplog.at_level(logging.WARNING):
            assert not await bench.learner.load()
        assert f"reads vectors of {SPACE} [16]" in caplog.text
        assert f"and {encoder} is wanted" in caplog.text
        assert await bench.proposes("What is 7 plus 8?", "math") is None
        caplog.clear()


async def test_an_edit_of_the_encoder_starts_over_and_comes_back(fitted: MemoryStore) -> None:
    """Another space is fitted from its own lessons; the first one's stored model waits."""
    store = MemoryStore()
    packed = await current(fitted)
    assert packed is not None
    await publish(store, packed)
    bench = Bench(store)
    async with running(bench.learner):
        await comes_to(bench, "small")
        bench.settings = replace(bench.settings, encoder=OTHER)
        await comes_to(bench, None)
        bench.settings = replace(bench.settings, encoder=SPACE)
        await comes_to(bench, "small")
        bench.settings = replace(bench.settings, encoder=OTHER)
        await comes_to(bench, None)
        await bench.teach(90)
        await until(bench.fits)
        assert await bench.proposes("What is 7 plus 8?", "math") == "small"
        await stored(store, OTHER)


async def test_the_caller_s_deadline_bounds_the_wait(fitted: MemoryStore) -> None:
    """A slow encoder costs a hurried request no more than it has."""
    bench = Bench(fitted)
    assert await bench.learner.load()
    bench.source.wait_s = 60.0
    about = context("What is 7 plus 8?", "math")
    hurried = replace(about, deadline=Deadline.after_ms(20))
    await bench.learner.prepare(hurried)
    assert bench.learner.propose(hurried) is None
    assert [one.kind for one in bench.failed] == ["timeout"]


async def test_an_encoder_that_was_named_just_now_starts_over_first(fitted: MemoryStore) -> None:
    """A model of its space that is found in that moment waits until the old space is left."""
    bench = Bench(fitted, OTHER)
    bench.settings = replace(bench.settings, encoder=SPACE)
    assert not await bench.learner.load()
    async with running(bench.learner):
        await comes_to(bench, "small")
