"""The router: stages in order, failures survived and noted, and nothing ineligible gets out."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.pipeline import RoutingPipeline, RoutingResult
from llmrouter.routing.stages.default import Default
from tests.fakes import RecordingObserver
from tests.routing.asking import Says, a_question, says


class Never:
    """A stage that does not come back, and says when it was let go."""

    name = "never"

    def __init__(self) -> None:
        self.ended = False

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """Nothing, ever."""
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True
        return None


async def ruled(
    *stages: Any, context: RoutingContext | None = None
) -> tuple[RoutingResult, RecordingObserver]:
    """The ruling of a pipeline."""
    observer = RecordingObserver()
    router = RoutingPipeline({"auto": stages}, observer, Default())
    return await router.decide(context or a_question()), observer


async def test_the_first_verdict_ends_the_asking() -> None:
    """Whoever stands behind it is not asked."""
    first, last = Says(says("large")), Says(says("small"))
    ruling, _ = await ruled(Says(None, name="quiet"), first, last)
    assert ruling.verdict.target == "large"
    assert [(n.stage, n.outcome) for n in ruling.notes] == [
        ("quiet", "abstained"),
        ("llm", "decided"),
    ]
    assert ruling.reason == "a test"
    assert last.asked == []


async def test_the_strategy_names_the_pipeline() -> None:
    """`rules` and `auto` are asked each on their own."""
    router = RoutingPipeline(
        {"auto": (Says(says("small")),), "rules": (Says(says("large")),)},
        RecordingObserver(),
        Default(),
    )
    ruling = await router.decide(a_question({"strategy": "rules"}))
    assert ruling.verdict.target == "large"


async def test_a_router_llm_failure_is_noted_counted_and_survived() -> None:
    """The decision says what went wrong and how it came about all the same."""
    ruling, observer = await ruled(Says(RouterLLMFailed("http", "status 500"), name="llm"))
    assert ruling.verdict.source is Source.DEFAULT
    assert [(n.stage, n.outcome, n.detail) for n in ruling.notes] == [
        ("llm", "failed", "http: status 500"),
        ("default", "decided", ""),
    ]
    assert ruling.reason == "the catalog's default target (after llm failed: http: status 500)"
    assert observer.counts == [("stage_failures", 1, {"stage": "llm", "kind": "http"})]


async def test_notes_name_who_decided_or_failed_not_the_stage_around_it() -> None:
    """Sessions wrap the cache and the router LLM; a reader wants to know which of them it was."""
    ruling, _ = await ruled(Says(says(source=Source.CACHE), name="session"))
    assert [(n.stage, n.outcome) for n in ruling.notes] == [("cache", "decided")]
    ruling, observer = await ruled(Says(RouterLLMFailed("refusal"), name="session"))
    assert ruling.reason.endswith("(after llm failed: refusal)")
    assert observer.counts == [("stage_failures", 1, {"stage": "llm", "kind": "refusal"})]


async def test_a_broken_stage_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Its message may hold a prompt, so the decision names only the kind of error."""
    with caplog.at_level(logging.ERROR):
        ruling, observer = await ruled(Says(KeyError("secret words"), name="odd"), Says(says()))
    assert ruling.verdict.target == "small"
    assert (ruling.notes[0].outcome, ruling.notes[0].detail) == ("failed", "KeyError")
    assert observer.counts == [("stage_failures", 1, {"stage": "odd", "kind": "error"})]
    assert "stage odd failed" in caplog.text


async def test_a_stage_that_overruns_the_deadline_is_let_go() -> None:
    """The next stage has no time left either, so the default answers."""
    never, late = Never(), Says(says("large"), name="late")
    context = a_question(deadline=Deadline.after_ms(20))
    ruling, _ = await ruled(never, late, context=context)
    assert never.ended
    assert ruling.verdict.source is Source.DEFAULT
    assert [(n.stage, n.outcome) for n in ruling.notes] == [
        ("never", "timeout"),
        ("late", "skipped"),
        ("default", "decided"),
    ]
    assert late.asked == []


async def test_an_ineligible_verdict_is_noted_and_passed_over() -> None:
    """A stale entry, or a model talked into a name, does not decide."""
    ruling, _ = await ruled(Says(says("gpt-99"), name="llm"), Says(says("large")))
    assert ruling.verdict.target == "large"
    assert ruling.notes[0].outcome == "ineligible"
    assert ruling.reason == "a test (after llm ineligible: 'gpt-99' is not eligible)"


async def test_a_caller_who_leaves_ends_the_stage() -> None:
    """A cancellation is not a stage's failure: it goes through, and the stage is let go."""
    never = Never()
    asking = asyncio.ensure_future(ruled(never))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert never.ended


@given(
    script=st.lists(
        st.one_of(
            st.none(),
            st.builds(says, st.sampled_from(["small", "large", "other", "", "SMALL", "small "])),
            st.just(RouterLLMFailed("timeout", "no")),
            st.just(ValueError("odd")),
        ),
        max_size=6,
    ),
    eligible=st.sampled_from([("small",), ("large",), ("small", "large")]),
)
def test_no_ruling_is_ever_ineligible(
    script: list[StageResult | Exception | None], eligible: tuple[str, ...]
) -> None:
    """Whatever stages say or raise, the target is one that may serve, and each stage is noted."""
    stages = [Says(said) for said in script]
    logging.disable(logging.CRITICAL)
    try:
        ruling, _ = asyncio.run(ruled(*stages, context=a_question(eligible=eligible)))
    finally:
        logging.disable(logging.NOTSET)
    assert ruling.verdict.target in eligible
    assert ruling.notes[-1].outcome == "decided"
    assert len(ruling.notes) == 1 + sum(1 for n in ruling.notes if n.outcome != "decided")


async def test_a_stage_that_waits_is_as_good_as_one_that_does_not() -> None:
    """Its verdict counts, and what it raises after a wait is noted as what it is."""

    class Waits:
        """A stage that comes back to the loop twice before it answers."""

        name = "waits"

        def __init__(self, error: Exception | None) -> None:
            self.error = error

        async def decide(self, context: RoutingContext) -> StageResult | None:
            """The verdict or the error."""
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            return says("large")

    ruling, _ = await ruled(Waits(KeyError("x")), Waits(None), Says(says("small")))
    assert ruling.verdict.target == "large"
    assert [(n.outcome, n.detail) for n in ruling.notes] == [
        ("failed", "KeyError"),
        ("decided", ""),
    ]
