"""The learner: from the router LLM's verdicts to a model, its record, and what feedback may do."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from llmrouter.domain.decision import Feedback, RoutingContext
from llmrouter.domain.target import Price, Target
from llmrouter.errors import StoreFailed
from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.online.background_trainer import _drained
from llmrouter.learning.online.example_buffer import ExampleBuffer
from llmrouter.learning.online.online_learner import LearnerOptions
from llmrouter.learning.online.snapshot import current, previous, publish
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_decision, a_target
from tests.learning.teaching import (
    KEY_LEAST,
    POEMS,
    Bench,
    asked,
    context,
    running,
    trusted,
    until,
)


@pytest.fixture(scope="module")
def taught() -> Bench:
    """A bench whose model was fitted in a process of its own, and that has earned trust."""

    async def teach() -> Bench:
        bench = Bench()
        async with running(bench.learner):
            bench.teach(160)
            await until(lambda: bench.counted("model_fits"))
            bench.agreed = bench.teach(240)
            await until(lambda: trusted(bench, "Add 3 to 4."))
        return bench

    return asyncio.run(teach())


def test_nothing_learned_nothing_proposed() -> None:
    """A cold learner is not a broken one."""
    assert Bench().learner.propose(context("Add 3 to 4.", "math")) is None


async def test_it_learns_the_router_llm_s_choices(taught: Bench) -> None:
    """Fitted on 160 verdicts in another process it agrees with nearly all of the next 240."""
    assert taught.agreed >= 225
    for text, task, target in (
        ("Add 17 to 5.", "math", "small"),
        ("A haiku on 3 with 9.", "writing", "large"),
    ):
        proposal = taught.learner.propose(context(text, task))
        assert proposal is not None
        assert (proposal.target, proposal.task, proposal.trusted) == (target, task, True)
        assert {proposal.target, *(a.target for a in proposal.alternatives)} == {"small", "large"}
        assert 0.0 <= proposal.confidence <= 1.0
    assert taught.counted("audits") == 240


async def test_only_eligible_targets_are_proposed(taught: Bench) -> None:
    """A model knows more targets than may serve."""
    about = context("Add 17 to 5.", "math")
    narrow = RoutingContext(about.request, about.features, about.catalog, ("large",))
    proposal = taught.learner.propose(narrow)
    assert proposal is not None
    assert (proposal.target, proposal.alternatives) == ("large", ())


async def test_prospects_tell_what_is_known_and_how_well(taught: Bench) -> None:
    """One for each eligible target, in order; graded repeats nearby leave less doubt."""
    about = context("Add 17 to 5.", "math")
    small, large = taught.learner.prospects(about)
    assert (small.target, large.target) == ("small", "large")
    assert small.quality > large.quality
    (stranger, _) = taught.learner.prospects(context("Résumé du Code civil?", "math"))
    assert 0.0 < small.uncertainty < stranger.uncertainty


def edited(about: RoutingContext, *targets: Target) -> RoutingContext:
    """The question as it is asked after an edit of the catalog."""
    catalog = a_catalog(*targets, version="v2")
    return replace(about, catalog=catalog, eligible=tuple(catalog.targets))


SMALL = a_target("small", description="Quick at sums and short errands.")
LARGE = a_target("large", description="Poems of any length.", price=Price(10.0, 20.0))
MINI = a_target("mini", description="Quicker at sums and short errands.", price=Price(0.5, 1.0))


async def test_an_edit_s_new_target_starts_near_its_sibling(taught: Bench) -> None:
    """A cheaper one with a description like small's is expected where small is, with doubt."""
    for text, task, good in (("Add 17 to 5.", "math", True), (POEMS[0], "writing", False)):
        about = edited(context(text, task), SMALL, LARGE, MINI)
        small, large, mini = taught.learner.prospects(about)
        assert (small.quality > large.quality) is good
        assert abs(mini.quality - small.quality) < abs(mini.quality - large.quality)
        assert mini.uncertainty > max(small.uncertainty, large.uncertainty)


async def test_a_target_that_leaves_takes_its_estimates_along(taught: Bench) -> None:
    """What is like it is no longer expected to be like it."""
    about = context("Add 17 to 5.", "math")
    with_small = taught.learner.prospects(edited(about, SMALL, LARGE, MINI))
    without = taught.learner.prospects(edited(about, LARGE, MINI))
    assert [one.target for one in without] == ["large", "mini"]
    assert without[1].quality < with_small[2].quality - 0.3
    assert without[1].quality == pytest.approx(without[0].quality, abs=0.1)


def test_a_cold_learner_has_no_prospects() -> None:
    """Nothing is known of anybody."""
    assert Bench().learner.prospects(context("Add 3 to 4.", "math")) == ()


async def test_a_task_it_never_met_is_not_trusted(taught: Bench) -> None:
    """Trust is earned task by task."""
    proposal = taught.learner.propose(context("Translate 'dog' to Latin.", "translation"))
    assert proposal is not None
    assert not proposal.trusted


async def test_a_restart_keeps_the_model_and_its_record(taught: Bench) -> None:
    """Another process on the same store proposes the same, as trusted, at once."""
    again = Bench(taught.store)
    before = taught.learner.propose(context("Add 17 to 5.", "math"))
    async with running(again.learner):
        await until(lambda: trusted(again, "Add 17 to 5."))
        after = again.learner.propose(context("Add 17 to 5.", "math"))
    assert before is not None
    assert after is not None
    assert (after.target, after.trusted) == (before.target, True)
    assert again.counted("model_fits") == 0


async def test_trust_is_withdrawn_when_agreement_falls(taught: Bench) -> None:
    """The router LLM changed its mind about everything: the model stops answering, and says so."""
    again = Bench(taught.store, options=LearnerOptions(first_fit=10**6, check_s=0.01, refresh=60))
    async with running(again.learner):
        await until(lambda: trusted(again, "Add 17 to 5."))
        assert "math" in again.learner.trusted
        again.teach(150, wrong=True)
        await until(lambda: not trusted(again, "Add 17 to 5."))
    assert ("withdrawals", 1, {"task": "math"}) in again.observer.counts
    assert "math" not in again.learner.trusted


async def test_the_last_two_models_are_kept(taught: Bench) -> None:
    """A new fit puts the model before aside, so there is a way back."""
    store = MemoryStore()
    first = await current(taught.store)
    assert first is not None
    await publish(store, first)
    again = Bench(store)
    async with running(again.learner):
        await until(lambda: again.learner.propose(context("Add 17 to 5.", "math")))
        again.teach(400)
        async with asyncio.timeout(240):
            while await previous(store) is None:  # noqa: ASYNC110 - a store has no event
                await asyncio.sleep(0.01)
    assert await previous(store) == first
    assert await current(store) != first


@pytest.mark.parametrize("stored", [b"", b"\x00\x00\x00\x02{}", b"junk" * 100])
async def test_a_stored_model_that_cannot_be_read_is_started_without(
    stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so and learns afresh."""
    bench = Bench()
    await publish(bench.store, stored)
    with caplog.at_level(logging.WARNING):
        async with running(bench.learner):
            await until(lambda: "no preference model from an earlier run" in caplog.text)
    assert bench.learner.propose(context("Add 1 to 2.", "math")) is None


class Down(MemoryStore):
    """A store that is down."""

    async def get(self, key: str) -> bytes | None:
        """Fails."""
        raise StoreFailed("down")


async def test_a_store_that_is_down_does_not_keep_it_from_learning() -> None:
    """The model lives in memory; only the next start misses it."""
    bench = Bench(Down())
    async with running(bench.learner):
        bench.teach(130)
        await until(lambda: bench.counted("model_fits"))
    assert bench.learner.propose(context("Add 1 to 2.", "math")) is not None


def test_one_key_s_ratings_are_bounded() -> None:
    """Alone it has three; with 200 others for the task, 22 of the then 222 are a tenth."""
    bench = Bench()
    for number in range(20):
        bench.record_feedback(number, "loud")
    assert bench.counted("feedback_ignored") == 20 - KEY_LEAST
    bench.teach(400)
    bench.observer.counts.clear()
    for number in range(100, 140):
        bench.record_feedback(number, "loud")
    assert bench.counted("feedback_ignored") == 40 - (22 - KEY_LEAST)


def test_another_task_s_size_gives_no_key_a_louder_voice() -> None:
    """A tenth is of the task's own examples, however much was learned elsewhere."""
    bench = Bench()
    for number in range(1, 801, 2):
        about, verdict = asked(number, bench.dice)
        bench.learner.observe_label(about, None, verdict)
    for number in range(20):
        bench.record_feedback(number, "loud")
    assert bench.counted("feedback_ignored") == 20 - KEY_LEAST


def test_one_key_does_not_use_up_another_s_voice() -> None:
    """Each has its own."""
    bench = Bench()
    for number in range(10):
        bench.record_feedback(number, "loud")
    bench.observer.counts.clear()
    bench.record_feedback(11, "quiet")
    assert bench.counted("feedback_ignored") == 0


def test_feedback_on_what_is_not_remembered_is_passed_over() -> None:
    """Its text is gone, and nothing is invented in its place."""
    bench = Bench()
    bench.learner.observe_feedback(a_decision(), Feedback("d-1", 1.0, caller="k"))
    assert bench.observer.counts == []


async def test_feedback_moves_an_estimate_at_once(taught: Bench) -> None:
    """Ratings of this very prompt pull the choice towards the preferred target."""
    again = Bench(taught.store)
    about = context("Compute 41 times 67, please.", "math")
    async with running(again.learner):
        await until(lambda: trusted(again, "Add 17 to 5."))
        before = again.learner.propose(about)
        for number in range(KEY_LEAST):
            decision = a_decision("small", decision_id=f"d-{number}", task="math")
            again.learner.decided(decision, about)
            again.learner.observe_feedback(
                decision, Feedback(f"d-{number}", -1.0, "large", caller=f"{number}")
            )
        after = again.learner.propose(about)
    assert before is not None
    assert after is not None
    assert before.target == "small"
    large = {a.target: a.score for a in before.alternatives}["large"]
    scores = {a.target: a.score for a in after.alternatives}
    assert after.target == "large" or scores["large"] > large


def test_lessons_are_let_go_as_a_fit_reads_them() -> None:
    """A fit gets all, oldest first, and none is held for as long as it then takes."""
    held = ExampleBuffer(3)
    for number in range(3):
        held.add(
            TrainingExample(
                ExampleKind.LABEL, "math", "k", measured("1 + 1"), {"small": 1.0}, number=number
            )
        )
    kept = held.all()
    reading = map(TrainingExample.from_bytes, _drained(kept))
    assert (next(reading).number, len(kept)) == (0, 2)
    assert [one.number for one in reading] == [1, 2]
    assert kept == []


async def test_no_process_fits_while_learning_is_switched_off() -> None:
    """Lessons are kept, so that a fit is due at once when it is switched on."""
    wanted = [False]
    options = LearnerOptions(first_fit=20, check_s=0.01, fits=lambda: wanted[0])
    bench = Bench(options=options)
    bench.teach(30)
    await bench.learner._trainer._work()
    assert not bench.learner.due()
    assert bench.counted("model_fits") == 0
    wanted[0] = True
    assert bench.learner.due()
