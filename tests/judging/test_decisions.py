"""Typed questions in OpenAI's format: what is sent, and what is read from the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from openai.types import Decision
from openai.types.decision_create_params import DecisionCreateParams
from pydantic import TypeAdapter

from llmrouter.domain.judgement import text_key
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.prompt import ABOUT_MARKS
from llmrouter.simulator.judging import decision
from tests.fakes import RecordingObserver
from tests.judging.asking import Scripted, judged, to_judge

USAGE = {
    "input_tokens": 500,
    "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 500,
}


def answers(*given: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer."""
    return {"model": "judge-1", "answers": list(given), "usage": USAGE}


def yes(probability: float) -> dict[str, Any]:
    """A predicate's answer."""
    return {"type": "predicate", "name": None, "probability": probability}


TASK = {
    "type": "choice",
    "choice": "code",
    "confidence": 0.1,
    "probabilities": [{"value": "math", "probability": 0.2}, {"value": "code", "probability": 0.7}],
}
LEVEL = {
    "type": "score",
    "score": 0.5,
    "confidence": 0.9,
    "probabilities": [
        {"value": n, "label": "x", "probability": p}
        for n, p in enumerate((0.0, 0.0, 0.5, 0.5, 0.0))
    ],
}


async def test_one_request_asks_everything_in_the_shape_the_official_client_knows() -> None:
    """A predicate a target, a choice for the task, a score for the difficulty."""
    model = Scripted(posts=lambda path, body: answers(yes(0.9), yes(0.3), TASK, LEVEL))
    judgement, asked = await judged("decisions", model)
    ((path, body),) = asked.bodies
    assert path == "/decisions"
    TypeAdapter(DecisionCreateParams).validate_python(body)
    kinds = [question["type"] for question in body["questions"]]
    assert kinds == ["predicate", "predicate", "choice", "score"]
    assert "large" in body["questions"][0]["instructions"]
    assert (judgement.task, judgement.difficulty) == ("code", pytest.approx(0.625))
    small, large = to_judge().targets()
    assert judgement.probabilities == {text_key(large): 0.9, text_key(small): 0.3}
    assert judgement.judge == "decisions/judge"


async def test_the_simulated_server_answers_in_the_official_client_s_own_types() -> None:
    """What the simulator says is a Decision, and is understood."""
    seen: list[Decision] = []

    def posts(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = answers(*decision(body))
        seen.append(Decision.model_validate(answer))
        return answer

    judgement, _ = await judged("decisions", Scripted(posts=posts))
    assert len(judgement.probabilities) == 2
    assert len(judgement.levels) == 5
    assert [one.type for one in seen[0].answers] == ["predicate", "predicate", "choice", "score"]


async def test_instructions_and_targets_never_stand_where_the_request_stands() -> None:
    """The user's message holds the request alone, the developer's message nothing of it."""
    model = Scripted(posts=lambda path, body: answers(yes(0.9), yes(0.3), TASK, LEVEL))
    _, asked = await judged("decisions", model)
    developer, user = asked.bodies[0][1]["input"]
    assert developer["role"] == "developer"
    assert developer["content"] == f"Judge.\n\n{ABOUT_MARKS}"
    assert "2+2" in user["content"]
    assert "2+2" not in str(asked.bodies[0][1]["questions"])


async def test_a_question_that_is_refused_leaves_the_others_standing() -> None:
    """Its target stays unjudged, and the refusal is counted."""
    observer = RecordingObserver()
    refused = {"type": "refusal", "name": "target_0"}
    model = Scripted(posts=lambda path, body: answers(refused, yes(0.3), refused, refused))
    judgement, _ = await judged("decisions", model, observer=observer)
    assert list(judgement.probabilities.values()) == [0.3]
    assert (judgement.task, judgement.difficulty, judgement.levels) == ("", None, ())
    assert observer.counts == [("judge_questions_failed", 1, {"kind": "refusal"})]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, "malformed"),
        ({"answers": "no"}, "malformed"),
        (answers(yes(0.5)), "missing"),
        (answers(yes(float("nan")), yes(0.3), TASK, LEVEL), "malformed"),
        (answers({"type": "predicate"}, yes(0.3), TASK, LEVEL), "malformed"),
        (answers(TASK, yes(0.3), TASK, LEVEL), "malformed"),
        (answers(*[{"type": "refusal"}] * 4), "refusal"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_with_a_kind(
    answer: dict[str, Any], kind: str
) -> None:
    """Missing, mistyped and refused answers are told apart."""
    with pytest.raises(RouterLLMFailed) as caught:
        await judged("decisions", Scripted(posts=lambda path, body: answer))
    assert caught.value.kind == kind


async def test_a_target_judged_alone_costs_one_question() -> None:
    """Neither other targets nor task and difficulty are asked again."""
    model = Scripted(posts=lambda path, body: answers(yes(0.4)))
    judgement, asked = await judged("decisions", model, only=("small",))
    assert len(asked.bodies[0][1]["questions"]) == 1
    assert list(judgement.probabilities.values()) == [0.4]


async def test_cached_tokens_are_read_and_cost_what_they_cost() -> None:
    """The span and the accounts have the provider's own figures."""
    observer = RecordingObserver()
    model = Scripted(posts=lambda path, body: answers(yes(0.9), yes(0.3), TASK, LEVEL))
    await judged("decisions", model, observer=observer)
    span = observer.spans[0]
    assert span.attributes["gen_ai.usage.cache_read.input_tokens"] == 400
    assert observer.router_calls == [("ok", pytest.approx(500e-6))]
