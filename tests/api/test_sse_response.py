"""Streams on a real socket: as they come, back-pressure, failures, callers who leave."""

from __future__ import annotations

import asyncio

import orjson

from llmrouter.errors import LLMRouterError, UpstreamFailed, UpstreamFailure
from tests.api.fakes import DECISION, DONE, Client, FakeGateway, chunk, client_of, services

CHAT = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "2+2?"}]}


def events(body: bytes) -> list[bytes]:
    """The payloads of a stream."""
    assert body.endswith(b"\n\n")
    return [part.removeprefix(b"data: ") for part in body[:-2].split(b"\n\n")]


async def test_the_drop_in_streams_what_the_upstream_sent() -> None:
    """Byte for byte, framing and comments included."""
    gateway = FakeGateway()
    odd = chunk("x", data=b": keep-alive\r\nevent: x\r\ndata:{}\r\n\r\n")
    gateway.streamed = (chunk("a"), odd, chunk("b"), DONE)
    async with client_of(services(gateway)) as client:
        answer = await client.post("/v1/chat/completions", CHAT)
    assert answer.body == chunk("a").data + odd.data + chunk("b").data + DONE.data
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["x-llmrouter-decision-id"] == "dec-1"
    assert gateway.replies[0].closed.is_set()


async def test_complete_explains_in_the_last_chunk_before_done() -> None:
    """It has the stream's own id and no choices, so clients that do not know it skip it."""
    async with client_of(services()) as client:
        answer = await client.post("/complete", CHAT)
    got = events(answer.body)
    assert got[-1] == b"[DONE]"
    last = orjson.loads(got[-2])
    assert (last["id"], last["model"], last["choices"]) == ("chatcmpl-9", "m-small", [])
    assert last["object"] == "chat.completion.chunk"
    assert last["router"]["cost_usd"] == 0.002
    assert last["router"]["decision_id"] == DECISION.decision_id
    assert [orjson.loads(one)["choices"][0]["delta"]["content"] for one in got[:-2]] == ["fo", "ur"]


async def test_a_stream_that_forgets_done_gets_one_on_complete() -> None:
    """Some servers end without it; what explains must still be last but one."""
    gateway = FakeGateway()
    gateway.streamed = (chunk("a"),)
    async with client_of(services(gateway)) as client:
        got = events((await client.post("/complete", CHAT)).body)
    assert got[-1] == b"[DONE]"
    assert b'"router"' in got[-2]


async def test_the_usage_chunk_nobody_asked_for_does_not_reach_the_caller() -> None:
    """The service asks for it on its own account."""
    gateway = FakeGateway()
    gateway.streamed = (chunk("a"), chunk("usage", usage_only=True), DONE)
    async with client_of(services(gateway)) as client:
        answer = await client.post("/v1/chat/completions", CHAT)
    assert answer.body == chunk("a").data + DONE.data


async def test_a_failure_after_the_first_token_is_an_error_event() -> None:
    """Never a silent cut, never a [DONE] on what is not done, nothing of a defect's insides."""
    for failure, code in (
        (UpstreamFailed("broke off"), "upstream_failed"),
        (UpstreamFailure("interrupted", "10.0.0.7 reset"), "upstream_failed"),
        (RuntimeError("10.0.0.7"), "internal_error"),
    ):
        gateway = FakeGateway()
        gateway.streamed = (chunk("a"), failure)
        async with client_of(services(gateway)) as client:
            for path in ("/v1/chat/completions", "/complete"):
                answer = await client.post(path, CHAT)
                got = events(answer.body)
                assert answer.status == 200
                assert orjson.loads(got[-1])["error"]["code"] == code
                assert b"[DONE]" not in answer.body
                assert b"10.0.0.7" not in answer.body
        assert all(reply.closed.is_set() for reply in gateway.replies)


async def test_an_error_event_of_the_execution_itself_is_the_last() -> None:
    """An execution that broke off says so in its last event; what it came to stands before it."""
    gateway = FakeGateway()
    gateway.broke_off = UpstreamFailed("broke off")
    said = chunk("", data=b'data: {"error":{"message":"broke off"}}\n\n')
    gateway.streamed = (chunk("a"), said)
    async with client_of(services(gateway)) as client:
        explained = await client.post("/complete", CHAT)
        plain = await client.post("/v1/chat/completions", CHAT)
    assert plain.body == chunk("a").data + said.data
    first, router, end = events(explained.body)
    assert b"data: " + first + b"\n\n" == chunk("a").data
    assert orjson.loads(router)["router"]["decision_id"] == "dec-1"
    assert b"data: " + end + b"\n\n" == said.data


async def test_a_failure_before_the_first_token_is_a_status() -> None:
    """Nothing was sent yet, so the caller gets a plain error."""
    gateway = FakeGateway()
    failure: LLMRouterError = UpstreamFailed("all failed")
    gateway.fails = failure
    async with client_of(services(gateway)) as client:
        answer = await client.post("/v1/chat/completions", CHAT)
    assert (answer.status, answer.error["code"]) == (502, "upstream_failed")


async def read_first(client: Client) -> None:
    """Read one chunk of a stream and leave."""
    async with client.session.post(client.address + "/v1/chat/completions", json=CHAT) as reply:
        await reply.content.readuntil(b"\n\n")
        reply.close()


async def test_each_chunk_goes_out_when_it_comes() -> None:
    """The first is readable while the second is not there yet."""
    gateway, more = FakeGateway(), asyncio.Event()
    gateway.streamed = (chunk("a"), more, chunk("b"), DONE)
    async with client_of(services(gateway)) as client:
        url = client.address + "/v1/chat/completions"
        async with client.session.post(url, json=CHAT) as reply:
            assert await reply.content.readuntil(b"\n\n") == chunk("a").data
            more.set()
            assert await reply.read() == chunk("b").data + DONE.data


async def test_a_caller_who_leaves_frees_the_upstream_at_once() -> None:
    """While the upstream is silent, so no write could notice."""
    gateway, never = FakeGateway(), asyncio.Event()
    gateway.streamed = (chunk("a"), never)
    async with client_of(services(gateway)) as client:
        await read_first(client)
        async with asyncio.timeout(30):
            await gateway.replies[0].closed.wait()


async def test_a_slow_reader_slows_the_upstream() -> None:
    """Nothing piles up between them: only what fits into socket buffers is read ahead."""
    gateway = FakeGateway()
    taken = 0
    big = chunk("x" * 65_536)

    class Counting(list):  # type: ignore[type-arg]  # only iterated
        def __iter__(self):  # type: ignore[no-untyped-def]  # a generator of one event
            nonlocal taken
            for taken in range(2_000):  # noqa: B007 - read outside
                yield big

    gateway.streamed = Counting()
    async with client_of(services(gateway)) as client:
        url = client.address + "/v1/chat/completions"
        async with client.session.post(url, json=CHAT) as reply:
            await reply.content.readany()
            before = -1
            while before != taken:
                before = taken
                await asyncio.sleep(0.05)
            assert taken < 1_000
            reply.close()
        async with asyncio.timeout(30):
            await gateway.replies[0].closed.wait()
