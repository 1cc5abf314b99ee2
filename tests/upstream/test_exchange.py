"""One POST on a kept connection: what goes over the wire, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from yarl import URL

from llmrouter.upstream.exchange import AT_ONCE, HttpPoster, PreparedEndpoint

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


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
async def wired(*answers: bytes) -> AsyncIterator[tuple[Wire, HttpPoster]]:
    """A scripted server and an exchange to talk to it."""
    wire, exchange = Wire(answers), HttpPoster(None, 5.0)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.base = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x?y=1%202")
    try:
        yield wire, exchange
    finally:
        await exchange.close()
        server.close()
        await server.wait_closed()


async def test_a_request_is_head_headers_and_body_as_given() -> None:
    """Path and query as they stand in the URL, the body byte for byte, its length announced."""
    async with wired(ANSWER) as (wire, exchange):
        address = PreparedEndpoint(wire.base, {"Accept": "a/b"})
        incoming = await exchange.post(address, {"baggage": "k=\u00fc"}, b"{ }\x00")
        assert await incoming.content.read() == b"ok"
        incoming.leave()
    assert incoming.status == 200
    assert incoming.headers["content-type"] == "text/plain"
    assert wire.bodies == [b"{ }\x00"]
    assert wire.heads == [
        b"POST /v1/x?y=1%%202 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: a/b\r\n"
        b"baggage: k=\xc3\xbc\r\nContent-Length: 4\r\n\r\n" % (wire.base.port or 0)
    ]


async def test_a_large_body_arrives_whole() -> None:
    """Also one that is not copied behind its head, and more than a socket takes at once."""
    body = bytes(range(256)) * (AT_ONCE // 16)
    async with wired(ANSWER) as (wire, exchange):
        incoming = await exchange.post(PreparedEndpoint(wire.base, {}), {}, body)
        incoming.leave()
    assert wire.bodies == [body]


async def test_a_connection_is_kept_where_the_reply_was_read_to_its_end() -> None:
    """And closed where the next reply would begin with the rest of this one."""
    rest = ANSWER.replace(b"Length: 2", b"Length: 4")
    async with wired(ANSWER, rest, ANSWER) as (wire, exchange):
        address = PreparedEndpoint(wire.base, {})
        for _ in range(3):
            incoming = await exchange.post(address, {}, b"{}")
            assert await incoming.content.readany() == b"ok"
            incoming.leave()
            incoming.leave()
    assert wire.connections == 2


async def test_interim_replies_are_passed_over() -> None:
    """100 and 103 announce a reply, they are none."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    async with wired(interim + ANSWER) as (wire, exchange):
        incoming = await exchange.post(PreparedEndpoint(wire.base, {}), {}, b"{}")
        assert (incoming.status, await incoming.content.read()) == (200, b"ok")
        incoming.leave()


async def test_what_is_no_reply_raises_and_keeps_no_connection() -> None:
    """The next request gets a new one."""
    async with wired(b"SMTP 220\r\n\r\n", ANSWER) as (wire, exchange):
        address = PreparedEndpoint(wire.base, {})
        with pytest.raises(aiohttp.http_exceptions.HttpProcessingError):
            await exchange.post(address, {}, b"{}")
        (await exchange.post(address, {}, b"{}")).leave()
    assert wire.connections == 2


async def test_who_waits_for_a_body_can_be_told_that_it_is_late() -> None:
    """The reader gets the very error."""
    async with wired(ANSWER.replace(b"Length: 2", b"Length: 4")) as (wire, exchange):
        incoming = await exchange.post(PreparedEndpoint(wire.base, {}), {}, b"{}")
        asyncio.get_running_loop().call_later(0.01, incoming.fail, TimeoutError("late"))
        with pytest.raises(TimeoutError, match="late"):
            await incoming.content.read()


async def test_a_name_and_password_in_the_url_are_credentials() -> None:
    """They are sent as such, and not as part of the host."""
    async with wired(ANSWER) as (wire, exchange):
        address = PreparedEndpoint(wire.base.with_user("me").with_password("pw"), {})
        (await exchange.post(address, {}, b"{}")).leave()
    assert b"\r\nAuthorization: Basic bWU6cHc=\r\n" in wire.heads[0]
    assert b"Host: 127.0.0.1" in wire.heads[0]


async def test_https_is_spoken_to_those_whose_certificate_is_trusted() -> None:
    """A server that nobody vouches for gets nothing."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    wire = Wire([ANSWER])
    server = await asyncio.start_server(wire.serve, "localhost", 0, ssl=theirs)
    url = URL(f"https://localhost:{server.sockets[0].getsockname()[1]}/v1")
    strict = HttpPoster(None, 5.0)
    async with server, aiohttp.TCPConnector(ssl=ours) as connector:
        trusting = HttpPoster(connector, 5.0)
        incoming = await trusting.post(PreparedEndpoint(url, {}), {}, b"{}")
        assert await incoming.content.read() == b"ok"
        incoming.leave()
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await strict.post(PreparedEndpoint(url, {}), {}, b"secret")
        await strict.close()
    assert wire.bodies == [b"{}"]


@pytest.mark.parametrize("url", ["ftp://a/b", "/v1", "http:///v1"])
async def test_what_is_no_http_address_is_refused(url: str) -> None:
    """When the address is made, not when it is used."""
    with pytest.raises(aiohttp.InvalidURL):
        PreparedEndpoint(URL(url), {})
