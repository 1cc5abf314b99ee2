"""The simulated upstream on a real socket, with OpenAI's own client and with hostile bodies."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from llmrouter.simulator.app import CHOICES, SimOptions, create_app, read

EASY = "Translate 'good morning' to French."
HARD = "Prove the theorem, derive the integral, and analyse the asymptotic complexity."
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
            "required": ["city", "unit"],
        },
    },
}


def turn(text: str) -> list[Any]:
    """One user turn."""
    return [{"role": "user", "content": text}]


async def test_every_answer_says_that_it_is_simulated(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """In the text, in the fingerprint, in a header, streamed or not, and in errors."""
    body = {"model": "gpt-5", "messages": turn(EASY)}
    answered = await sim.post("/v1/chat/completions", json=body)
    document = await answered.json()
    assert answered.headers["x-simulated"] == "true"
    assert document["system_fingerprint"] == "simulated"
    assert "simulated" in document["choices"][0]["message"]["content"]
    streamed = await sim.post("/v1/chat/completions", json={**body, "stream": True})
    assert streamed.headers["x-simulated"] == "true"
    assert '"system_fingerprint":"simulated"' in await streamed.text()
    refused = await sim.post("/v1/chat/completions", json={"model": "gpt-5"})
    assert refused.status == 400
    assert refused.headers["x-simulated"] == "true"
    assert "simulated" in (await refused.json())["error"]["message"]


async def test_the_same_request_gets_the_same_answer(openai: AsyncOpenAI) -> None:
    """Text, usage and finish reason repeat; only ids and the clock move."""
    first, second = [
        await openai.chat.completions.create(model="some-new-model", messages=turn("Why?"))
        for _ in range(2)
    ]
    assert first.choices == second.choices
    assert first.usage == second.usage
    assert first.id != second.id


async def test_ability_shows_on_hard_prompts(openai: AsyncOpenAI) -> None:
    """A weak model is wrong and unsure on a hard prompt, a strong one right and sure."""
    said = {}
    for model in ("llama-3.1-8b", "gpt-5"):
        for text in (EASY, HARD):
            answer = await openai.chat.completions.create(
                model=model, messages=turn(text), logprobs=True
            )
            choice = answer.choices[0]
            assert choice.logprobs is not None
            assert choice.logprobs.content is not None
            wrong = "likely wrong" in (choice.message.content or "")
            said[model, text] = wrong, choice.logprobs.content[0].logprob
    assert [wrong for wrong, _ in said.values()] == [False, True, False, False]
    assert said["llama-3.1-8b", HARD][1] < said["llama-3.1-8b", EASY][1]
    assert said["llama-3.1-8b", HARD][1] < said["gpt-5", HARD][1]


async def test_streaming_with_usage(openai: AsyncOpenAI) -> None:
    """Pieces add up to the whole answer, and usage comes last where it was asked for."""
    whole = await openai.chat.completions.create(model="gpt-5", messages=turn(EASY))
    stream = await openai.chat.completions.create(
        model="gpt-5",
        messages=turn(EASY),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_tools_are_called_and_their_results_answered(openai: AsyncOpenAI) -> None:
    """A user turn with tools gets a call whose arguments fit; the result's turn gets prose."""
    asked = turn("Weather in Oslo?")
    called = await openai.chat.completions.create(model="gpt-5", messages=asked, tools=[WEATHER])
    (choice,) = called.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    arguments = orjson.loads(call.function.arguments)
    jsonschema_rs.validate(WEATHER["function"]["parameters"], arguments)
    result: Any = [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "4 C"},
    ]
    done = await openai.chat.completions.create(
        model="gpt-5", messages=[*asked, *result], tools=[WEATHER]
    )
    assert done.choices[0].finish_reason == "stop"


async def test_tool_calls_stream(openai: AsyncOpenAI) -> None:
    """A streamed call carries name and arguments, and its finish reason."""
    stream = await openai.chat.completions.create(
        model="gpt-5", messages=turn("Weather?"), tools=[WEATHER], stream=True
    )
    chunks = [chunk async for chunk in stream]
    calls = [c.choices[0].delta.tool_calls for c in chunks if c.choices[0].delta.tool_calls]
    assert calls[0] is not None
    assert calls[0][0].function is not None
    assert calls[0][0].function.name == "weather"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_json_schema_is_kept_by_a_strong_model(openai: AsyncOpenAI) -> None:
    """The answer is JSON that fits the schema it was asked in."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": False,
    }
    answered = await openai.chat.completions.create(
        model="gpt-5",
        messages=turn(EASY),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "strict": True, "schema": schema},
        },
    )
    jsonschema_rs.validate(schema, orjson.loads(answered.choices[0].message.content or ""))


async def test_n_and_max_tokens(openai: AsyncOpenAI) -> None:
    """Several choices differ, and a limit cuts with the finish reason `length`."""
    answered = await openai.chat.completions.create(
        model="gpt-5", messages=turn(EASY), n=3, max_completion_tokens=400
    )
    assert len({choice.message.content for choice in answered.choices}) == 3
    short = await openai.chat.completions.create(model="gpt-5", messages=turn(EASY), max_tokens=5)
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 5


async def test_a_long_context_is_cached_in_part(openai: AsyncOpenAI) -> None:
    """Usage reports cached tokens on a long prompt, none on a short one."""
    cached = []
    for text in ("short", "word " * 4000):
        answered = await openai.chat.completions.create(model="gpt-5", messages=turn(text))
        assert answered.usage is not None
        assert answered.usage.prompt_tokens_details is not None
        cached.append(answered.usage.prompt_tokens_details.cached_tokens or 0)
    assert cached[0] == 0
    assert 0 < cached[1] < 6000


async def test_models_are_listed(openai: AsyncOpenAI) -> None:
    """The list names models with a profile."""
    assert "gpt-5" in [model.id async for model in openai.models.list()]


async def test_failures_come_at_the_rate_asked_for() -> None:
    """With a rate of 0.3 about that share fails, the same requests each time; with 0 none does."""
    body = {"model": "gpt-5", "messages": turn(EASY)}
    runs = []
    for rate in (0.3, 0.3, 0.0):
        options = SimOptions(latency_scale=0, error_rate=rate)
        async with TestClient(TestServer(create_app(options))) as client:
            found = []
            for _ in range(100):
                async with client.post("/v1/chat/completions", json=body) as answered:
                    found.append(answered.status)
        runs.append(found)
    assert runs[0] == runs[1]
    assert 15 < runs[0].count(500) < 45
    assert set(runs[2]) == {200}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.binary(max_size=50) | json_values.map(orjson.dumps))
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    """Anything that is not a chat-completions body is a ValueError that says so."""
    with pytest.raises(ValueError, match=r"body|model|messages"):
        read(body)


@pytest.mark.parametrize(
    "over",
    [
        {"n": 0},
        {"n": CHOICES + 1},
        {"n": "3"},
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": "hi"},
        {"model": None},
        {"model": ""},
    ],
)
async def test_wrong_fields_are_400(sim: TestClient, over: dict[str, Any]) -> None:  # type: ignore[type-arg]  # see conftest
    """A field of the wrong kind is refused in OpenAI's shape."""
    body = {"model": "gpt-5", "messages": turn("hi"), **over}
    answered = await sim.post("/v1/chat/completions", json=body)
    assert answered.status == 400
    assert (await answered.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "over",
    [
        {"tools": "all"},
        {"tools": [1, {"type": "function"}]},
        {"tools": [{"function": {"parameters": {"$ref": "#"}}}]},
        {"response_format": "json"},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}},
        {"stream_options": True, "stream": True},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "user"}]},
    ],
)
async def test_odd_fields_still_get_an_answer(sim: TestClient, over: dict[str, Any]) -> None:  # type: ignore[type-arg]  # see conftest
    """What the simulator does not need to understand does not break it."""
    body = {"model": "gpt-5", "messages": turn("hi"), **over}
    answered = await sim.post("/v1/chat/completions", json=body)
    assert answered.status == 200
    assert await answered.read()
