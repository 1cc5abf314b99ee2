"""One POST on a kept connection: head and body out in one write, the reply as it is parsed.

Connections are aiohttp's (names, TLS, keeping them open), and so is the parser. What lies between
the two in a `ClientSession` is for cookies, redirects, proxies, form data and charsets. The relay
refuses all of these, and they would cost it more than everything else that it does for a reply.

It does not retry, and bounds only the time to connect: the caller sets the other timeouts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from yarl import URL

from llmrouter.util.http_headers import field_lines

MakeConnector = Callable[[], aiohttp.BaseConnector]
VERSION: Final = (3, 14)
"""The aiohttp that the private parts below were read in."""
AT_ONCE: Final = 64 * 1024
"""Bytes of a body that are copied behind the head; larger ones are written as they are."""
SLICE: Final = 256 * 1024
"""Bytes of a body that are written before others have their turn."""


def missing() -> str:
    """Which private part of aiohttp is not there as this module uses it; empty where all are."""
    major, minor = aiohttp.__version__.split(".")[:2]
    if (int(major), int(minor)) != VERSION:
        return f"the parts of {VERSION[0]}.{VERSION[1]}"
    parts = (aiohttp.BaseConnector, "connect"), (ResponseHandler, "set_response_params")
    return ", ".join(name for owner, name in parts if not hasattr(owner, name))


class PreparedEndpoint:
    """Where to post, and what every request there starts with. `headers` are sent as they are."""

    __slots__ = ("head", "request", "url")

    def __init__(
        self,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: URL | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`trust` replaces the system's certificates. Raises `aiohttp.InvalidURL`."""
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise aiohttp.InvalidURL(url)
        self.url = url
        self.request = aiohttp.ClientRequest(
            "POST",
            url,
            loop=asyncio.get_running_loop(),
            proxy=proxy,
            ssl=True if trust is None else trust,
        )
        own = {"Host": self.request.headers["Host"], **headers}
        if "Authorization" in self.request.headers:  # a name and password in the URL
            own["Authorization"] = self.request.headers["Authorization"]
        plain_proxy = proxy is not None and url.scheme == "http"
        place = str(self.request.url) if plain_proxy else self.request.url.raw_path_qs
        self.head = f"POST {place} HTTP/1.1\r\n{field_lines(own)}"


class RawResponse:
    """A reply whose headers are there. `content` yields its body, decompressed."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self,
        connection: aiohttp.connector.Connection,
        status: int,
        headers: Mapping[str, str],
        content: StreamReader,
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.content = content

    def leave(self) -> None:
        """Let go of the connection: it is kept where the reply was read to its end. Idempotent."""
        connection = self._connection
        transport = connection.transport
        sent = transport is not None and not transport.get_write_buffer_size()
        if sent and self.content.is_eof():
            connection.release()
        else:
            connection.close()

    def fail(self, error: Exception) -> None:
        """Wake the reader, and close the connection."""
        self.content.set_exception(error)
        self._connection.close()


class HttpPoster:
    """Posts over one connector, its own of `make` unless one is lent. `connect_s` bounds a
    connection."""

    def __init__(
        self, connector: aiohttp.BaseConnector | None, connect_s: float, make: MakeConnector
    ) -> None:
        self._make = make
        self._connector = connector
        self._owns = connector is None
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)

    def endpoint(
        self,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: URL | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> PreparedEndpoint:
        """Prepare a place to post to. Raises `aiohttp.InvalidURL` for what is no http address."""
        return PreparedEndpoint(url, headers, proxy=proxy, trust=trust)

    async def close(self) -> None:
        """Close the connections, if they are its own."""
        if self._owns and self._connector is not None:
            await self._connector.close()
            self._connector = None

    async def post(
        self, address: PreparedEndpoint, headers: Mapping[str, str], body: bytes
    ) -> RawResponse:
        """Send a request and return once the reply's headers are there.

        Raises what aiohttp raises for a connection or a reply that fails, ValueError for headers
        that are none.
        """
        head = f"{address.head}{field_lines(headers)}Content-Length: {len(body)}\r\n\r\n".encode(
            "utf-8", "surrogateescape"
        )
        connector = self._connector
        if connector is None:
            connector = self._connector = self._make()
        connection = await connector.connect(address.request, [], self._timeout)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True, auto_decompress=True)
            if len(body) <= AT_ONCE:
                transport.write(head + body)
            else:
                await _write_sliced(transport, head, body)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # more is to come
                message, content = await protocol.read()
            return RawResponse(connection, message.code, message.headers, content)
        except BaseException:
            connection.close()
            raise


async def _write_sliced(transport: asyncio.WriteTransport, head: bytes, body: bytes) -> None:
    """Hand a long body to the socket in slices; a reply that comes meanwhile is not waited for."""
    transport.write(head)
    view = memoryview(body)
    for start in range(0, len(body), SLICE):
        if transport.is_closing():
            return
        transport.write(view[start : start + SLICE])
        await asyncio.sleep(0)
