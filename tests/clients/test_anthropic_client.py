"""Anthropic's own client against the running service: every answer and event is parsed by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

SAY = [{"role": "user", "content": "Summarise: the cat sat on the mat."}]
TOOL: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
MODELS = pytest.mark.parametrize("model", ["chat", "claude", "resp"])


@pytest.fixture
async def client(base: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """A client that repeats nothing."""
    made = anthropic.AsyncAnthropic(base_url=base, api_key="any", max_retries=0)
    yield made
    await made.close()


@MODELS
async def test_a_message_is_answered_by_a_target_of_any_format(
    client: anthropic.AsyncAnthropic, model: str
) -> None:
    """Text, reason and counts are there, and the headers say who answered."""
    raw = await client.messages.with_raw_response.create(
        model=model, max_tokens=200, messages=SAY, system="Be brief."
    )
    message = await raw.parse()
    assert message.role == "assistant"
    assert message.content[0].type == "text"
    assert "simulated" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert raw.headers["x-llmrouter-target"] == model
    assert raw.headers["anthropic-version"] == client.default_headers["anthropic-version"]
    assert raw.headers["request-id"] == raw.headers["x-llmrouter-decision-id"]


@MODELS
async def test_a_stream_adds_up_to_the_message(
    client: anthropic.AsyncAnthropic, model: str
) -> None:
    """The client's own accumulation of the events says what a whole answer says."""
    whole = await client.messages.create(model=model, max_tokens=200, messages=SAY)
    async with client.messages.stream(model=model, max_tokens=200, messages=SAY) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert final.content == whole.content or final.content[0].text == whole.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


@MODELS
async def test_a_tool_is_called_and_its_result_is_read(
    client: anthropic.AsyncAnthropic, model: str
) -> None:
    """A whole loop: the call with its arguments, then the answer to its result."""
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    given: dict[str, Any] = {"model": model, "max_tokens": 200, "tools": [TOOL]}
    async with client.messages.stream(messages=asked, **given) as stream:
        called = await stream.get_final_message()
    assert called.stop_reason == "tool_use"
    (call,) = [block for block in called.content if block.type == "tool_use"]
    assert call.name == "weather"
    assert "city" in call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 21 degrees."}
    turns = [
        *asked,
        {"role": "assistant", "content": [block.model_dump() for block in called.content]},
        {"role": "user", "content": [result]},
    ]
    answered = await client.messages.create(messages=turns, **given)
    assert answered.stop_reason == "end_turn"


@MODELS
async def test_a_schema_is_kept_to(client: anthropic.AsyncAnthropic, model: str) -> None:
    """`output_config` reaches a target of any format."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    message = await client.messages.create(
        model=model,
        max_tokens=100,
        messages=SAY,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert message.content[0].text.startswith('{"n":')


async def test_thinking_comes_back_signed_and_is_taken_again(
    client: anthropic.AsyncAnthropic,
) -> None:
    """The signature of a target of the same format is relayed both ways."""
    given: dict[str, Any] = {
        "model": "claude",
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    async with client.messages.stream(messages=SAY, **given) as stream:
        message = await stream.get_final_message()
    assert message.content[0].type == "thinking"
    assert message.content[0].signature.startswith("sim-signature-")
    turns: list[Any] = [
        *SAY,
        {"role": "assistant", "content": [block.model_dump() for block in message.content]},
        {"role": "user", "content": "And now shorter."},
    ]
    assert (await client.messages.create(messages=turns, **given)).stop_reason == "end_turn"


async def test_auto_routes_and_options_work(client: anthropic.AsyncAnthropic) -> None:
    """`router` options are honoured, and never reach a target."""
    raw = await client.messages.with_raw_response.create(
        model="auto", max_tokens=50, messages=SAY, extra_body={"router": {"allow": ["resp"]}}
    )
    assert raw.headers["x-llmrouter-target"] == "resp"
    assert (await raw.parse()).content[0].type == "text"


async def test_what_cannot_be_carried_is_told(client: anthropic.AsyncAnthropic) -> None:
    """A warning names each; a target of the same format has none."""
    system: list[Any] = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    ]
    given: dict[str, Any] = {"max_tokens": 50, "messages": SAY, "system": system}
    given["extra_body"] = {"top_k": 3, "speed": "fast"}
    raw = await client.messages.with_raw_response.create(model="chat", **given)
    assert "cache_control dropped" in raw.headers["x-llmrouter-warnings"]
    assert "speed dropped" in raw.headers["x-llmrouter-warnings"]
    assert "top_k dropped" in raw.headers["x-llmrouter-warnings"]
    raw = await client.messages.with_raw_response.create(model="claude", **given)
    assert "x-llmrouter-warnings" not in raw.headers
    assert (await raw.parse()).usage.cache_read_input_tokens


async def test_errors_are_the_clients_own(client: anthropic.AsyncAnthropic) -> None:
    """Each status raises the class that Anthropic's client has for it."""
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.messages.create(model="nope", max_tokens=5, messages=SAY)
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    assert unknown.value.body["request_id"]  # type: ignore[index]
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await client.messages.create(model="auto", max_tokens=5, messages=[])
    assert wrong.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]


async def test_tokens_are_counted(client: anthropic.AsyncAnthropic) -> None:
    """An estimate grows with the request."""
    short = await client.messages.count_tokens(model="auto", messages=SAY)
    more: list[Any] = [{"role": "user", "content": "word " * 500}]
    longer = await client.messages.count_tokens(model="auto", messages=more)
    assert 0 < short.input_tokens < longer.input_tokens


async def test_models_are_listed_page_by_page(client: anthropic.AsyncAnthropic) -> None:
    """Anthropic's shape, where the header of its clients is there; every page follows."""
    page = await client.models.list(limit=2)
    assert [model.id for model in page.data] == ["auto", "chat"]
    assert page.has_more
    found = [model async for model in client.models.list(limit=2)]
    assert [model.id for model in found] == ["auto", "chat", "claude", "legacy", "resp", "vectors"]
    claude = found[2]
    assert (claude.type, claude.display_name, claude.lifecycle) == ("model", "claude", "active")
    assert (claude.max_input_tokens, claude.max_tokens) == (200000, 32000)
    assert claude.capabilities is not None
    assert claude.capabilities.image_input.supported
    assert claude.capabilities.thinking.types.adaptive.supported
    assert not claude.capabilities.batch.supported
    before = await client.models.list(before_id="resp", limit=2)
    assert [model.id for model in before.data] == ["claude", "legacy"]


async def test_one_model_is_read_and_a_wrong_one_refused(client: anthropic.AsyncAnthropic) -> None:
    """By its id or the name that it has upstream, in Anthropic's shape and envelope."""
    assert (await client.models.retrieve("claude-1")).id == "claude"
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.models.retrieve("nope")
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    for query in ({"limit": 0}, {"limit": "two"}, {"after_id": "nope"}):
        with pytest.raises(anthropic.BadRequestError):
            await client.models.list(extra_query=query)
