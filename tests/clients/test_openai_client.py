"""OpenAI's own client against the running service: Responses, chat, and what is passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

SAY = "Summarise: the cat sat on the mat."
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
MODELS = pytest.mark.parametrize("model", ["chat", "claude", "resp"])


class Count(BaseModel):
    """A structured answer."""

    n: int


@pytest.fixture
async def client(base: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client that repeats nothing."""
    made = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="any", max_retries=0)
    yield made
    await made.close()


@MODELS
async def test_a_response_comes_from_a_target_of_any_format(
    client: openai.AsyncOpenAI, model: str
) -> None:
    """The client's default, without `store`, works."""
    raw = await client.responses.with_raw_response.create(
        model=model, input=SAY, instructions="Be brief."
    )
    response = raw.parse()
    assert "simulated" in response.output_text
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens > 0
    assert raw.headers["x-llmrouter-target"] == model


@MODELS
async def test_a_stream_of_events_adds_up_to_the_response(
    client: openai.AsyncOpenAI, model: str
) -> None:
    """Deltas, the parts' ends and the whole response at the end say the same; numbers ascend."""
    whole = await client.responses.create(model=model, input=SAY)
    texts, numbers, kinds = [], [], []
    async with client.responses.stream(model=model, input=SAY) as stream:
        async for event in stream:
            kinds.append(event.type)
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                texts.append(event.delta)
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert numbers == list(range(len(numbers)))
    assert "".join(texts) == final.output_text == whole.output_text
    assert final.usage is not None
    assert whole.usage is not None
    assert final.usage.output_tokens == whole.usage.output_tokens


@MODELS
async def test_a_function_is_called_and_its_output_is_read(
    client: openai.AsyncOpenAI, model: str
) -> None:
    """A whole loop in the Responses format."""
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    async with client.responses.stream(model=model, input=asked, tools=[TOOL]) as stream:
        async for _ in stream:
            pass
        called = await stream.get_final_response()
    (call,) = [item for item in called.output if item.type == "function_call"]
    assert call.name == "weather"
    assert "city" in call.arguments
    asked += [item.model_dump(exclude={"parsed_arguments"}) for item in called.output]
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."})
    answered = await client.responses.create(model=model, input=asked, tools=[TOOL], store=False)
    assert answered.output_text


@MODELS
async def test_a_structured_answer_is_parsed(client: openai.AsyncOpenAI, model: str) -> None:
    """`text.format` reaches a target of any format."""
    response = await client.responses.parse(model=model, input=SAY, text_format=Count)
    assert isinstance(response.output_parsed, Count)


@pytest.mark.parametrize(
    "more",
    [{"store": True}, {"previous_response_id": "resp_1"}, {"background": True}],
    ids=str,
)
async def test_what_needs_stored_responses_is_refused_with_what_to_send(
    client: openai.AsyncOpenAI, more: dict[str, Any]
) -> None:
    """Nothing is kept, and the message says what to do instead."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="auto", input=SAY, **more)
    assert refused.value.param in more
    assert "`input`" in str(refused.value) or "leave it out" in str(refused.value)


async def test_free_text_tools_are_carried_as_functions(client: openai.AsyncOpenAI) -> None:
    """A custom tool of Responses is called with its text, whoever answers."""
    tool: Any = {"type": "custom", "name": "patch", "description": "Applies a patch."}
    for model in ("chat", "claude"):
        async with client.responses.stream(model=model, input="Patch it.", tools=[tool]) as stream:
            async for _ in stream:
                pass
            response = await stream.get_final_response()
        (call,) = [item for item in response.output if item.type == "custom_tool_call"]
        assert call.name == "patch"
        assert call.input.startswith("simulated")


@MODELS
async def test_a_chat_completion_comes_from_a_target_of_any_format(
    client: openai.AsyncOpenAI, model: str
) -> None:
    """Whole and streamed, with the usage chunk where it was asked for."""
    turns: list[Any] = [{"role": "user", "content": SAY}]
    whole = await client.chat.completions.create(model=model, messages=turns)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model=model, messages=turns, stream=True, stream_options={"include_usage": True}
        )
    ]
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@MODELS
async def test_a_chat_tool_is_called(client: openai.AsyncOpenAI, model: str) -> None:
    """The arguments of a streamed call add up to JSON, and its result is read."""
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    async with client.chat.completions.stream(
        model=model, messages=turns, tools=[CHAT_TOOL]
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or ()
    assert final.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather"
    assert "city" in call.function.arguments
    turns.append(final.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}))
    turns.append({"role": "tool", "tool_call_id": call.id, "content": "Sunny."})
    answered = await client.chat.completions.create(model=model, messages=turns, tools=[CHAT_TOOL])
    assert answered.choices[0].message.content


async def test_embeddings_are_passed_to_a_target_that_has_them(
    client: openai.AsyncOpenAI,
) -> None:
    """Pinned, and by `auto` where there is only one."""
    for model in ("vectors", "auto"):
        raw = await client.embeddings.with_raw_response.create(model=model, input=["a", "b"])
        assert len(raw.parse().data) == 2
        assert raw.headers["x-llmrouter-target"] == "vectors"


async def test_conversations_never_go_to_a_target_without_them(
    client: openai.AsyncOpenAI,
) -> None:
    """A target that only embeds is not eligible for chat, even when pinned."""
    turns: list[Any] = [{"role": "user", "content": SAY}]
    with pytest.raises(openai.UnprocessableEntityError):
        await client.chat.completions.create(model="vectors", messages=turns)
    with pytest.raises(openai.UnprocessableEntityError):
        await client.embeddings.create(model="chat", input="a")


async def test_legacy_completions_and_decisions_are_passed_on(client: openai.AsyncOpenAI) -> None:
    """The client reads both."""
    completion = await client.completions.create(model="auto", prompt="Once upon a time")
    assert "simulated" in completion.choices[0].text
    stream = await client.completions.create(
        model="auto",
        prompt="Once upon a time",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    told = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert told == completion.choices[0].text
    assert chunks[-1].usage == completion.usage
    decision = await client.decisions.create(
        model="legacy",
        input="A short request.",
        questions=[{"type": "predicate", "name": "easy", "instructions": "Is it easy?"}],
    )
    assert decision.answers[0].type == "predicate"
    assert 0 <= decision.answers[0].probability <= 1
