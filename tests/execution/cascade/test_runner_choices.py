"""Cascades over replies of several choices, and over tool calls however they end."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.domain.catalog import Acceptance, RouterLLM
from llmrouter.domain.completion import ChoicePart, ResponseEvent
from llmrouter.execution.cascade.verification import Answer, Verifier, assembled
from tests.execution.conftest import FORMS, Bench, climb, collect
from tests.fakes import ScriptedChatModel, a_request, a_target
from tests.faulty import completion

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "n",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}
ROUTER = RouterLLM("tiny", "http://127.0.0.1:9/v1")


def asked(stream: bool, **over: Any) -> Any:
    """A request for two answers in JSON."""
    return a_request(response_format=SCHEMA, n=2, **({"stream": True} if stream else {}), **over)


@FORMS
async def test_json_of_several_choices_is_accepted(bench: Bench, stream: bool) -> None:
    """Each choice is one document, however their chunks alternate."""
    execution = climb(
        bench, "two", "ok2", accept=Acceptance(), stream=stream, request=asked(stream)
    )
    await collect(execution)
    assert execution.target == "two"
    assert bench.upstream.hits("ok2") == 0


@pytest.mark.parametrize("bad", [0, 1])
async def test_every_choice_is_judged(bench: Bench, bad: int) -> None:
    """One that breaks the schema rejects the reply, and the attempt says which."""
    texts = ['{"n": 4}', '{"n": "four"}'] if bad else ['{"n": "four"}', '{"n": 4}']
    bench.upstream.bodies["two"] = completion(
        choices=[
            {"index": i, "message": {"content": text}, "finish_reason": "stop"}
            for i, text in enumerate(texts)
        ]
    )
    execution = climb(bench, "two", "ok2", accept=Acceptance(), request=asked(False))
    await collect(execution)
    assert execution.completion is not None
    assert f"schema: choice {bad}: violates" in execution.completion.attempts[0].reason


async def test_the_judge_reads_every_choice(bench: Bench) -> None:
    """The first good, the second bad: escalated; both judgements are paid."""
    model = ScriptedChatModel('{"score": 0.9, "reason": "y"}', '{"score": 0.1, "reason": "no"}')
    execution = climb(
        bench, "two", "ok2", accept=Acceptance(judge=True), verifier=Verifier(judge=model),
        router=ROUTER, request=a_request(n=2),
    )  # fmt: skip
    await collect(execution)
    assert len(model.asked) == 2
    assert execution.completion is not None
    assert "judge: 0.10: no" in execution.completion.attempts[0].reason


@FORMS
@pytest.mark.parametrize("mode", ["calls_stop", "calls"])
async def test_a_tool_call_is_accepted_however_it_ends(
    bench: Bench, mode: str, stream: bool
) -> None:
    """Many servers end it with `stop`: no text check applies, and no judge is asked and paid."""
    model = ScriptedChatModel('{"score": 0.0, "reason": "no text"}')
    accept = Acceptance(judge=True, checks=({"min_chars": 100},))
    execution = climb(
        bench, mode, "ok2", accept=accept, stream=stream, verifier=Verifier(judge=model),
        router=ROUTER, request=a_request(response_format=SCHEMA, stream=stream),
    )  # fmt: skip
    await collect(execution)
    assert execution.target == mode
    assert model.asked == []
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["ok"]


def test_the_least_sure_choice_is_how_sure_an_answer_is() -> None:
    """Each choice has its own tokens."""
    parts = (
        ChoicePart(0, "yes", "stop", logprobs=(0.0,), margins=(1.0,)),
        ChoicePart(1, "no", "stop", logprobs=(-1.0,), margins=(0.25,)),
    )
    answer = assembled(a_target(), (ResponseEvent(b"", text="yes", parts=parts),))
    assert [choice.text for choice in answer.choices] == ["yes", "no"]
    assert answer.readings == {"confidence": pytest.approx(0.3679, abs=1e-4), "margin": 0.25}


def test_a_choice_that_calls_a_tool_says_nothing() -> None:
    """Beside one that speaks, the speaking one alone is judged by its text."""
    parts = (ChoicePart(0, "", "stop", calls_tools=True), ChoicePart(1, "no", "stop"))
    answer = assembled(a_target(), (ResponseEvent(b"", parts=parts),))
    assert [choice.text for choice in answer.said] == ["no"]
    assert Answer(a_target(), (), "", "tool_calls").said == ()
