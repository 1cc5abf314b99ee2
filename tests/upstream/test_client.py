"""The relay on a real socket: bytes as they came, connections kept or closed, nothing leaked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.domain.completion import ResponseEvent, UpstreamRequest
from llmrouter.domain.target import Access, Endpoint
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.client import UpstreamClient, UpstreamLimits
from tests.fakes import a_target
from tests.faulty import COMMENT, DONE, ROLE, STREAM, WORDS, FaultyUpstream, completion

LIMITS = UpstreamLimits(max_body_bytes=4096, max_event_bytes=4096)
HASTY = {"stall_timeout_s": 0.5}


@pytest.fixture
async def upstream() -> AsyncIterator[FaultyUpstream]:
    """The upstream that fails in every way."""
    async with FaultyUpstream() as server:
        yield server


@pytest.fixture(params=[True, False], ids=["fastpath", "session"])
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[UpstreamClient]:
    """A client with small limits, over each of the transports."""
    env = {"KEY": "sk-1", "BAD": "sk\n1"}.get
    made = UpstreamClient(limits=LIMITS, env=env, fast=bool(request.param))
    yield made
    await made.close()


def a_call(upstream: FaultyUpstream, mode: str, **over: Any) -> UpstreamRequest:
    """A call to this mode."""
    stream = over.pop("stream", False)
    given = {"api_key_env": over.pop("key", None), **over.pop("target", {})}
    target = a_target(base_url=upstream.url(mode), **given)
    body = b'{"stream":true}' if stream else b"{}"
    return UpstreamRequest(target, body, stream, over.pop("timeout_s", 5.0), {}, **over)


async def received(relay: UpstreamClient, call: UpstreamRequest) -> list[ResponseEvent]:
    """Everything a call yields."""
    async with relay.send(call) as events:
        return [event async for event in events]


async def test_a_whole_reply_is_one_event(relay: UpstreamClient, upstream: FaultyUpstream) -> None:
    """The body byte for byte, and done."""
    (event,) = await received(relay, a_call(upstream, "ok"))
    assert event.data == completion()
    assert event.done


async def test_a_stream_is_relayed_as_received(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """Every event, in order, byte for byte."""
    events = await received(relay, a_call(upstream, "ok", stream=True))
    assert tuple(event.data for event in events) == STREAM


async def test_odd_framing_survives(relay: UpstreamClient) -> None:
    """CRLF, comments, `event:` lines and several data lines come out as they went in."""
    odd = (
        b": hello\r\n\r\n",
        b'event: message\r\ndata: {"choices": [{"delta":\r\ndata: {"content": "x"}}]}\r\n\r\n',
        b'id: 7\ndata: {"choices": [], "x": 1.0}\n\n',
        b"data:[DONE]\r\n\r\n",
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for byte in b"".join(odd):
            await response.write(bytes([byte]))
        return response

    async with _server(answer) as target_url:
        call = UpstreamRequest(a_target(base_url=target_url), b"{}", True, 5.0, {})
        assert tuple(event.data for event in await received(relay, call)) == odd


async def test_credentials_are_read_and_never_told(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """A missing or impossible key names its variable, never a value."""
    await received(relay, a_call(upstream, "ok", key="KEY"))
    assert upstream.seen[0].headers["authorization"] == "Bearer sk-1"
    for variable in ("ABSENT", "BAD"):
        with pytest.raises(UpstreamFailure, match=variable) as caught:
            await received(relay, a_call(upstream, "ok", key=variable))
        assert caught.value.kind == "misconfigured"
        assert "sk" not in str(caught.value)


async def test_connections_are_kept_after_whole_and_streamed_replies(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """Six replies, one connection."""
    for _ in range(3):
        await received(relay, a_call(upstream, "ok"))
        await received(relay, a_call(upstream, "ok", stream=True))
    assert upstream.open == 1


async def test_a_kept_connection_that_was_closed_is_replaced_at_once(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """A server that hangs up on an idle connection costs the caller nothing."""
    upstream.script["ok"] = ["ok", "reset", "ok"]
    for _ in range(2):
        (event,) = await received(relay, a_call(upstream, "ok"))
        assert event.data == completion()
    assert upstream.hits("ok") == 3


async def test_leaving_closes_the_connection_at_once(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """Also in the middle of a stream."""
    async with relay.send(a_call(upstream, "drip", stream=True)) as events:
        assert (await anext(events)).data == ROLE
    async with asyncio.timeout(30):
        while not upstream.left:  # noqa: ASYNC110 - a socket
            await asyncio.sleep(0.005)
    assert upstream.left == 1


@pytest.mark.parametrize("mode", ["hang_mid", "loris_mid"])
async def test_silence_ends_a_stream(
    relay: UpstreamClient, upstream: FaultyUpstream, mode: str
) -> None:
    """Silence is the time without a complete event: single bytes do not break it."""
    got: list[bytes] = []
    async with relay.send(a_call(upstream, mode, stream=True, target=HASTY)) as events:
        got.append((await anext(events)).data)
        got.append((await anext(events)).data)
        with pytest.raises(UpstreamFailure, match="silent for") as caught:
            await anext(events)
    assert caught.value.kind == "stalled"
    assert got == [ROLE, WORDS[0]]


@pytest.mark.parametrize("mode", ["hang", "hang_role", "loris"])
async def test_a_stream_without_a_first_token_is_given_up(
    relay: UpstreamClient, upstream: FaultyUpstream, mode: str
) -> None:
    """Whether or not it has sent its headers, a comment and a role."""
    call = a_call(upstream, mode, stream=True, target={"ttft_timeout_s": 0.3})
    with pytest.raises(UpstreamFailure, match="no first token within") as caught:
        await received(relay, call)
    assert caught.value.kind == "stalled"


async def test_keep_alives_stretch_the_wait_for_the_first_token(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """A model that thinks and says so is waited for beyond `ttft_timeout_s`."""
    call = a_call(upstream, "thinks", stream=True, target={"ttft_timeout_s": 1.0})
    assert [event.data for event in await received(relay, call)][-1] == DONE


async def test_keep_alives_alone_are_no_answer(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """The wait for the first token ends at its bound, however many comments come."""
    call = a_call(upstream, "pings", stream=True, first_timeout_s=0.5)
    with pytest.raises(UpstreamFailure) as caught:
        await received(relay, call)
    assert caught.value.kind == "timeout"


async def test_keep_alives_after_the_first_token_stretch_the_silence(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """Up to `timeout_s` without a token; then the stream has failed."""
    hasty = {"stall_timeout_s": 1.0, "timeout_s": 1.5}
    async with relay.send(a_call(upstream, "pings_mid", stream=True, target=hasty)) as events:
        got = [(await anext(events)).data for _ in range(10)]
        with pytest.raises(UpstreamFailure, match="only keep-alives") as caught:
            [event async for event in events]
    assert caught.value.kind == "stalled"
    assert got == [ROLE, WORDS[0], *[COMMENT] * 8]


async def test_a_slow_reader_is_no_silent_upstream(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """Time in which nobody asks for an event does not count."""
    async with relay.send(a_call(upstream, "ok", stream=True, target=HASTY)) as events:
        await anext(events)
        await asyncio.sleep(2 * HASTY["stall_timeout_s"])
        assert [event.data async for event in events][-1] == DONE


async def test_the_whole_reply_has_a_bound_in_time(
    relay: UpstreamClient, upstream: FaultyUpstream
) -> None:
    """A stream that never ends does end."""
    with pytest.raises(UpstreamFailure) as caught:
        await received(relay, a_call(upstream, "drip", stream=True, timeout_s=0.3))
    assert caught.value.kind == "timeout"


async def test_bodies_and_events_have_a_bound_in_size(relay: UpstreamClient) -> None:
    """Declared or not, compressed or not."""
    huge = completion("x" * 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/zip"):
            packed = gzip.compress(huge)
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})
        if request.path.startswith("/stream"):
            body = b"data: " + huge + b"\n\n"
            return web.Response(body=body, content_type="text/event-stream")
        return web.Response(body=huge, content_type="application/json")

    async with _server(answer) as base:
        for path, stream in (("/zip", False), ("/plain", False), ("/stream", True)):
            target = a_target(base_url=base + path)
            with pytest.raises(UpstreamFailure) as caught:
                await received(relay, UpstreamRequest(target, b"{}", stream, 5.0, {}))
            assert caught.value.kind == "too_large"


async def test_a_compressed_reply_is_relayed_plain(relay: UpstreamClient) -> None:
    """Servers are asked not to compress; one that does all the same is understood."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=gzip.compress(completion()), headers={"Content-Encoding": "gzip"})

    async with _server(answer) as base:
        call = UpstreamRequest(a_target(base_url=base), b"{}", False, 5.0, {})
        (event,) = await received(relay, call)
    assert event.data == completion()
    assert asked == ["identity"]


async def test_a_redirect_is_not_followed(relay: UpstreamClient, upstream: FaultyUpstream) -> None:
    """A credential never wanders to another host."""
    with pytest.raises(UpstreamFailure, match="redirects"):
        await received(relay, a_call(upstream, "redirect", key="KEY"))
    assert upstream.hits("ok") == 0


async def test_a_base_url_that_is_none_is_our_misconfiguration(relay: UpstreamClient) -> None:
    """It says so instead of crashing."""
    call = UpstreamRequest(a_target(base_url="http://[oops"), b"{}", False, 5.0, {})
    with pytest.raises(UpstreamFailure) as caught:
        await received(relay, call)
    assert caught.value.kind == "misconfigured"


async def test_a_base_url_may_carry_a_query(relay: UpstreamClient) -> None:
    """Some providers version their API there."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(body=completion())

    async with _server(answer) as base:
        target = a_target(base_url=base + "/v1/?api-version=2")
        await received(relay, UpstreamRequest(target, b"{}", False, 5.0, {}))
    assert asked == ["/v1/chat/completions?api-version=2"]


async def test_a_lent_connector_stays_its_owners(upstream: FaultyUpstream) -> None:
    """Closing the relay does not close what it was lent."""
    async with aiohttp.TCPConnector() as connector:
        relay = UpstreamClient(connector)
        await received(relay, a_call(upstream, "ok"))
        await relay.close()
        assert not connector.closed


@asynccontextmanager
async def _server(answer: Callable[[web.Request], Awaitable[Any]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server that answers everything, with the requests it was sent; and its base URL."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request)
        return web.Response(body=completion(), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1")), requests


async def test_a_targets_headers_and_query_go_with_every_request(relay: UpstreamClient) -> None:
    """Azure's api-version and key, OpenRouter's title and the like."""
    async with recording() as (base_url, requests):
        access = Access(headers={"x-title": "mine"}, query={"api-version": "2026-01-01"})
        target = a_target(base_url=base_url, api_key_env="KEY", auth="azure", access=access)
        await received(relay, UpstreamRequest(target, b"{}", False, 5.0, {"traceparent": "t"}))
    (sent,) = requests
    assert sent.path_qs == "/v1/chat/completions?api-version=2026-01-01"
    assert sent.headers["x-title"] == "mine"
    assert sent.headers["api-key"] == "sk-1"
    assert sent.headers["traceparent"] == "t"
    assert "Authorization" not in sent.headers


async def test_an_endpoint_that_refuses_connections_is_passed_over(
    relay: UpstreamClient, unused_tcp_port: int
) -> None:
    """Every call is answered by the endpoint that is there, with its own key."""
    async with recording() as (base_url, requests):
        gone = Endpoint(f"http://127.0.0.1:{unused_tcp_port}/v1", weight=1000.0)
        access = Access(endpoints=(gone, Endpoint(base_url, "KEY", 0.001)))
        target = a_target(base_url=gone.base_url, access=access)
        for _ in range(3):
            await received(relay, UpstreamRequest(target, b"{}", False, 5.0, {}))
    assert [r.headers["Authorization"] for r in requests] == ["Bearer sk-1"] * 3


async def test_where_no_endpoint_is_there_the_connection_fails(
    relay: UpstreamClient, unused_tcp_port: int
) -> None:
    """The failure is the same as of a target with one address."""
    gone = Endpoint(f"http://127.0.0.1:{unused_tcp_port}/v1")
    target = a_target(base_url=gone.base_url, access=Access(endpoints=(gone, gone)))
    with pytest.raises(UpstreamFailure) as caught:
        await received(relay, UpstreamRequest(target, b"{}", False, 5.0, {}))
    assert caught.value.kind == "connect"


async def test_a_plain_request_goes_through_a_proxy_whole(relay: UpstreamClient) -> None:
    """A proxy is given the whole address, and its own connection."""
    async with recording() as (proxy, requests):
        access = Access(proxy=proxy.removesuffix("/v1"))
        target = a_target(base_url="http://model.example/v1", access=access)
        await received(relay, UpstreamRequest(target, b"{}", False, 5.0, {}))
    (sent,) = requests
    assert str(sent.url) == "http://model.example/v1/chat/completions"
