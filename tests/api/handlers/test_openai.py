"""OpenAI's own client, unchanged, against the drop-in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from llmrouter.auth.api_keys import Authenticator, parse_keys
from llmrouter.errors import NoEligibleTarget, UpstreamFailed
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import KeyPolicy
from llmrouter.ratelimit.sliding_window import Quota
from tests.api.fakes import Counters, FakeGateway, chunk, services, serving

HI = [{"role": "user", "content": "2+2?"}]


@pytest.fixture
def gateway() -> FakeGateway:
    """The fake behind the service."""
    return FakeGateway()


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, pointed at the service."""
    keyring = Authenticator(parse_keys("alice:sk-alice"))
    limits = RateLimiter({"*": KeyPolicy(requests=Quota(3, 60))}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    async with (
        serving(services(gateway, keyring=keyring, limits=limits)) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="sk-alice", max_retries=0) as made,
    ):
        yield made


async def test_a_plain_completion(client: openai.AsyncOpenAI) -> None:
    """Parsed by the client's own types, extensions included; the decision is in headers."""
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=HI)  # type: ignore[arg-type]  # plain dicts
    completion = raw.parse()
    assert completion.choices[0].message.content == "four"
    assert completion.choices[0].model_extra == {"x_ext": {"kept": True}}
    assert raw.headers["x-llmrouter-target"] == "small"


async def test_a_stream(client: openai.AsyncOpenAI) -> None:
    """Chunk by chunk to the end."""
    stream = await client.chat.completions.create(model="auto", messages=HI, stream=True)  # type: ignore[call-overload]  # plain dicts
    text = [one.choices[0].delta.content async for one in stream]
    assert text == ["fo", "ur"]


async def test_tools_arrive_and_come_back(client: openai.AsyncOpenAI, gateway: FakeGateway) -> None:
    """A tool definition reaches the gateway; a tool call reaches the client; its result too."""
    gateway.body = (
        b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
        b'"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":'
        b'[{"id":"c1","type":"function","function":{"name":"add","arguments":"{}"}}]}}]}'
    )
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    first = await client.chat.completions.create(model="auto", messages=HI, tools=tools)  # type: ignore[call-overload]  # plain dicts
    message = first.choices[0].message
    assert message.tool_calls[0].function.name == "add"
    assert gateway.asked[0][0].document["tools"] == tools
    result = {"role": "tool", "tool_call_id": "c1", "content": "4"}
    await client.chat.completions.create(model="auto", messages=[*HI, message, result], tools=tools)  # type: ignore[call-overload]  # plain dicts
    assert [turn.role for turn in gateway.asked[1][0].messages] == ["user", "assistant", "tool"]


async def test_a_stream_that_breaks_raises_in_the_client(
    client: openai.AsyncOpenAI, gateway: FakeGateway
) -> None:
    """The error event is one the client understands."""
    gateway.streamed = (chunk("fo"), UpstreamFailed("the reply broke off"))
    stream = await client.chat.completions.create(model="auto", messages=HI, stream=True)  # type: ignore[call-overload]  # plain dicts
    with pytest.raises(openai.APIError, match="broke off"):
        async for _ in stream:
            pass


async def test_errors_are_the_clients_own_classes(
    client: openai.AsyncOpenAI, gateway: FakeGateway
) -> None:
    """Statuses and envelopes are OpenAI's, so code that handles them keeps working."""
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="auto", messages=[])
    assert bad.value.param == "messages"
    gateway.fails = NoEligibleTarget("none")
    with pytest.raises(openai.UnprocessableEntityError):
        await client.chat.completions.create(model="auto", messages=HI)  # type: ignore[arg-type]  # plain dicts
    gateway.fails = UpstreamFailed("down")
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="auto", messages=HI)  # type: ignore[arg-type]  # plain dicts
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="auto", messages=HI)  # type: ignore[arg-type]  # plain dicts
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-eve").models.list()


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    """The client's own listing and lookup."""
    assert [model.id async for model in client.models.list()] == ["auto", "small", "large"]
    small = await client.models.retrieve("small")
    assert small.owned_by == "openai"
    assert small.model_extra is not None
    assert small.model_extra["context_length"] == 128000
    assert small.model_extra["pricing"]["output"] == 0.4
    assert (await client.models.retrieve("m-small")).id == "small", "the upstream's own name"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nope")
