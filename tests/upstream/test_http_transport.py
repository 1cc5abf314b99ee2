"""One POST on a kept connection, by the fast path and by aiohttp's session: one contract."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from yarl import URL

from llmrouter.fastpath import http_post
from llmrouter.fastpath.http_post import AT_ONCE, HttpPoster, MakeConnector
from llmrouter.upstream.http_transport import HttpTransport, SessionTransport, transport
from llmrouter.upstream.resolver import connector

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


Make = Callable[[aiohttp.BaseConnector | None, float, MakeConnector], HttpTransport]
every = pytest.mark.parametrize("make", [HttpPoster, SessionTransport])


class Wire:
    """A server that keeps what it is sent and answers from a script, with no HTTP of its own."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.base = URL()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                writer.write(self.answers.pop(0))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def wired(make: Make, *answers: bytes) -> AsyncIterator[tuple[Wire, HttpTransport]]:
    """A scripted server and a transport to talk to it."""
    wire, exchange = Wire(answers), make(None, 5.0, connector)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.base = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x?y=1%202")
    try:
        yield wire, exchange
    finally:
        await exchange.close()
        server.close()
        await server.wait_closed()


@every
async def test_a_request_is_head_headers_and_body_as_given(make: Make) -> None:
    """Path and query as they stand in the URL, the body byte for byte, its length announced."""
    async with wired(make, ANSWER) as (wire, exchange):
        address = exchange.endpoint(wire.base, {"Accept": "a/b"})
        incoming = await exchange.post(address, {"baggage": "k=\u00fc"}, b"{ }\x00")
        assert await incoming.content.read() == b"ok"
        incoming.leave()
    assert incoming.status == 200
    assert incoming.headers["content-type"] == "text/plain"
    assert wire.bodies == [b"{ }\x00"]
    (head,) = wire.heads
    line, *fields = head.rstrip().split(b"\r\n")
    assert line == b"POST /v1/x?y=1%202 HTTP/1.1"
    assert sorted(fields) == [
        b"Accept: a/b", b"Content-Length: 4", b"Host: 127.0.0.1:%d" % (wire.base.port or 0),
        b"baggage: k=\xc3\xbc",
    ]  # fmt: skip


@every
async def test_a_large_body_arrives_whole(make: Make) -> None:
    """Also one that is not copied behind its head, and more than a socket takes at once."""
    body = bytes(range(256)) * (AT_ONCE // 16)
    async with wired(make, ANSWER) as (wire, exchange):
        incoming = await exchange.post(exchange.endpoint(wire.base, {}), {}, body)
        incoming.leave()
    assert wire.bodies == [body]


@every
async def test_a_connection_is_kept_where_the_reply_was_read_to_its_end(make: Make) -> None:
    """And closed where the next reply would begin with the rest of this one."""
    rest = ANSWER.replace(b"Length: 2", b"Length: 4")
    async with wired(make, ANSWER, rest, ANSWER) as (wire, exchange):
        address = exchange.endpoint(wire.base, {})
        for _ in range(3):
            incoming = await exchange.post(address, {}, b"{}")
            assert await incoming.content.readany() == b"ok"
            incoming.leave()
            incoming.leave()
    assert wire.connections == 2


@every
async def test_interim_replies_are_passed_over(make: Make) -> None:
    """100 and 103 announce a reply, they are none."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    async with wired(make, interim + ANSWER) as (wire, exchange):
        incoming = await exchange.post(exchange.endpoint(wire.base, {}), {}, b"{}")
        assert (incoming.status, await incoming.content.read()) == (200, b"ok")
        incoming.leave()


@every
async def test_what_is_no_reply_raises_and_keeps_no_connection(make: Make) -> None:
    """The next request gets a new one."""
    async with wired(make, b"SMTP 220\r\n\r\n", ANSWER) as (wire, exchange):
        address = exchange.endpoint(wire.base, {})
        with pytest.raises(
            (aiohttp.http_exceptions.HttpProcessingError, aiohttp.ClientResponseError)
        ):
            await exchange.post(address, {}, b"{}")
        (await exchange.post(address, {}, b"{}")).leave()
    assert wire.connections == 2


@every
async def test_who_waits_for_a_body_can_be_told_that_it_is_late(make: Make) -> None:
    """The reader gets the very error."""
    async with wired(make, ANSWER.replace(b"Length: 2", b"Length: 4")) as (wire, exchange):
        incoming = await exchange.post(exchange.endpoint(wire.base, {}), {}, b"{}")
        asyncio.get_running_loop().call_later(0.01, incoming.fail, TimeoutError("late"))
        with pytest.raises(TimeoutError, match="late"):
            await incoming.content.read()


@every
async def test_a_name_and_password_in_the_url_are_credentials(make: Make) -> None:
    """They are sent as such, and not as part of the host."""
    async with wired(make, ANSWER) as (wire, exchange):
        address = exchange.endpoint(wire.base.with_user("me").with_password("pw"), {})
        (await exchange.post(address, {}, b"{}")).leave()
    assert b"\r\nAuthorization: Basic bWU6cHc=\r\n" in wire.heads[0]
    assert b"Host: 127.0.0.1" in wire.heads[0]


@every
async def test_https_is_spoken_to_those_whose_certificate_is_trusted(make: Make) -> None:
    """A server that nobody vouches for gets nothing."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    wire = Wire([ANSWER])
    server = await asyncio.start_server(wire.serve, "localhost", 0, ssl=theirs)
    url = URL(f"https://localhost:{server.sockets[0].getsockname()[1]}/v1")
    strict = make(None, 5.0, connector)
    async with server, aiohttp.TCPConnector(ssl=ours) as lent:
        trusting = make(lent, 5.0, connector)
        incoming = await trusting.post(trusting.endpoint(url, {}), {}, b"{}")
        assert await incoming.content.read() == b"ok"
        incoming.leave()
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await strict.post(strict.endpoint(url, {}), {}, b"secret")
        await strict.close()
    assert wire.bodies == [b"{}"]


@every
@pytest.mark.parametrize("url", ["ftp://a/b", "/v1", "http:///v1"])
async def test_what_is_no_http_address_is_refused(make: Make, url: str) -> None:
    """When the address is made, not when it is used."""
    with pytest.raises(aiohttp.InvalidURL):
        make(None, 5.0, connector).endpoint(URL(url), {})


def test_another_aiohttp_gets_the_session(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a private part is missing, or the setting says so, the library's own way is used."""
    assert isinstance(transport(None, 5.0), HttpPoster)
    assert isinstance(transport(None, 5.0, fast=False), SessionTransport)
    assert not caplog.records
    monkeypatch.setattr(aiohttp, "__version__", "4.0.1")
    assert isinstance(transport(None, 5.0), SessionTransport)
    assert "the parts of 3.14" in caplog.text
    monkeypatch.undo()
    monkeypatch.delattr(http_post.ResponseHandler, "set_response_params")
    assert http_post.missing() == "set_response_params"
