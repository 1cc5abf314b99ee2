"""Typed questions in the open System One format, and what servers' limits make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from llmrouter.domain.judgement import text_key
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.systemone import MAX_BYTES, SystemOne
from llmrouter.simulator.judging import systemone
from tests.fakes import RecordingObserver, a_catalog, a_target
from tests.judging.asking import Scripted, judged, to_judge


def answered(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """As the simulated server does."""
    return {"model": "jev", "answers": systemone(body), "usage": {"input_tokens": 9}}


async def test_one_request_asks_a_noul_a_target_with_a_choice_and_a_score() -> None:
    """In the format's own shapes; the answers make one judgement."""
    judgement, asked = await judged("systemone", Scripted(posts=answered))
    ((path, body),) = asked.bodies
    assert path == "/systemone"
    assert {name: q["type"] for name, q in body["questions"].items()} == {
        "target_0": "noul",
        "target_1": "noul",
        "task": "choice",
        "difficulty": "score",
    }
    assert set(body["state"]) == {"instructions", "request"}
    assert set(judgement.probabilities) == {text_key(one) for one in to_judge().targets()}
    assert len(judgement.levels) == 5


async def test_confidence_is_never_read() -> None:
    """Servers compute it in different ways; another figure changes nothing."""

    def odd(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = answered(path, body)
        for one in answer["answers"].values():
            one["confidence"] = "nonsense"
        return answer

    plain, _ = await judged("systemone", Scripted(posts=answered))
    strange, _ = await judged("systemone", Scripted(posts=odd))
    assert plain == strange


async def test_a_missing_question_is_counted_and_its_target_stays_unjudged() -> None:
    """What was not answered is not guessed."""
    observer = RecordingObserver()

    def partial(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = answered(path, body)
        del answer["answers"]["target_0"]
        return answer

    judgement, _ = await judged("systemone", Scripted(posts=partial), observer=observer)
    assert len(judgement.probabilities) == 1
    assert observer.counts == [("judge_questions_failed", 1, {"kind": "missing"})]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, "malformed"),
        ({"answers": []}, "malformed"),
        ({"answers": {}}, "missing"),
        ({"answers": {"target_0": {"noul": "yes"}}}, "malformed"),
        ({"answers": {"target_0": {"noul": 0.5, "option_mass": 0.001}}}, "low_mass"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_with_a_kind(
    answer: dict[str, Any], kind: str
) -> None:
    """No answer at all, no map, no number, no mass on valid options."""
    with pytest.raises(RouterLLMFailed) as caught:
        await judged("systemone", Scripted(posts=lambda path, body: answer))
    assert caught.value.kind == kind


async def test_a_server_that_takes_fewer_options_is_asked_about_targets_alone() -> None:
    """It is remembered, so that the next request is one call."""

    def strict(path: str, body: Mapping[str, Any]) -> Any:
        if "task" in body["questions"]:
            return RouterLLMFailed("http", "422 at most 8 options", status=422)
        return answered(path, body)

    protocol, model = SystemOne(), Scripted(posts=strict)
    judgement, _ = await judged(protocol, model)
    assert (len(judgement.probabilities), judgement.task) == (2, "")
    assert len(model.bodies) == 2
    await judged(protocol, model)
    assert len(model.bodies) == 3


async def test_a_request_too_big_is_asked_in_halves() -> None:
    """Targets whose descriptions fill 64 KiB together still get a judgement each."""
    targets = [replace(a_target(f"t{n}"), description="word " * 390 + str(n)) for n in range(40)]
    model = Scripted(posts=answered)
    judgement, _ = await judged("systemone", model, context=to_judge(catalog=a_catalog(*targets)))
    assert len(judgement.probabilities) == 40
    assert len(model.bodies) > 1
    assert all(len(str(body)) <= MAX_BYTES * 1.1 for _, body in model.bodies)


async def test_a_single_target_that_is_refused_is_a_failure() -> None:
    """Halving ends."""
    refusing = Scripted(posts=lambda *_: RouterLLMFailed("http", "413", status=413))
    with pytest.raises(RouterLLMFailed):
        await judged("systemone", refusing)
    assert len(refusing.bodies) <= 4
