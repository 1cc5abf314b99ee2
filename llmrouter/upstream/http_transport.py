"""How a request gets to an upstream and its reply back: one interface, the library's way behind it.

`fastpath.http_post.HttpPoster` is the other way; `transport` picks one.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import aiohttp
from aiohttp.streams import StreamReader
from yarl import URL

from llmrouter.errors import UpstreamFailure
from llmrouter.fastpath import http_post
from llmrouter.fastpath.http_post import MakeConnector
from llmrouter.upstream.resolver import connector
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

log = logging.getLogger(__name__)


class RawReply(Protocol):
    """A reply whose headers are there. `content` yields its body, decompressed."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The reply's headers; case does not count."""
        ...

    @property
    def content(self) -> StreamReader:
        """The reply's body, as it comes."""
        ...

    def leave(self) -> None:
        """Let go of the connection: it is kept where the reply was read to its end. Idempotent."""
        ...

    def fail(self, error: Exception) -> None:
        """End the wait of the reader with `error`, and the connection."""
        ...


class HttpTransport(Protocol):
    """Posts over kept connections. Endpoints belong to the transport that made them."""

    def endpoint(
        self,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: URL | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> Any:
        """Prepare a place to post to; `trust` replaces the system's certificates.

        Raises `aiohttp.InvalidURL` for what is no http address.
        """
        ...

    async def post(self, endpoint: Any, headers: Mapping[str, str], body: bytes) -> RawReply:
        """Send a request and return once the reply's headers are there.

        Raises what aiohttp raises for a connection or a reply that fails, ValueError for headers
        that are none.
        """
        ...

    async def close(self) -> None:
        """Close the connections, if they are its own."""
        ...


@dataclass(frozen=True, slots=True)
class SessionEndpoint:
    """Where to post, and the headers that every request there has."""

    url: URL
    headers: Mapping[str, str]
    proxy: URL | None = None
    trust: ssl.SSLContext | None = None


class SessionReply:
    """A `RawReply` of a `ClientSession`."""

    __slots__ = ("_response", "content", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.content = response.content

    def leave(self) -> None:
        """Let go of the connection: it is kept where the reply was read to its end. Idempotent."""
        if self.content.is_eof():
            self._response.release()
        else:
            self._response.close()

    def fail(self, error: Exception) -> None:
        """End the wait of the reader with `error`, and the connection."""
        self.content.set_exception(error)
        self._response.close()


class SessionTransport:
    """Posts with aiohttp's `ClientSession`: no cookies, no redirects, no proxies.

    Its connector is its own, of `make`, unless one is lent. `connect_s` bounds a connection.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector | None,
        connect_s: float,
        make: MakeConnector,
    ) -> None:
        self._connector = connector
        self._make = make
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._session: aiohttp.ClientSession | None = None

    def endpoint(
        self,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: URL | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> SessionEndpoint:
        """Prepare a place to post to. Raises `aiohttp.InvalidURL` for what is no http address."""
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise aiohttp.InvalidURL(url)
        return SessionEndpoint(url, headers, proxy, trust)

    async def post(
        self, endpoint: SessionEndpoint, headers: Mapping[str, str], body: bytes
    ) -> SessionReply:
        """Send a request and return once the reply's headers are there."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector or self._make(),
                connector_owner=self._connector is None,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                timeout=self._timeout,
                trust_env=False,
            )
        response = await self._session.post(
            endpoint.url,
            data=body,
            headers={**endpoint.headers, **headers},
            allow_redirects=False,
            proxy=endpoint.proxy,
            ssl=True if endpoint.trust is None else endpoint.trust,
        )
        return SessionReply(response)

    async def close(self) -> None:
        """Close the connections, if they are its own."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def transport(
    lent: aiohttp.BaseConnector | None,
    connect_s: float,
    *,
    fast: bool = True,
    addresses: AddressPolicy = NO_METADATA,
) -> HttpTransport:
    """The fast path where it is wanted and this aiohttp has its private parts; else the session."""
    make = partial(connector, addresses)
    if fast:
        missing = http_post.missing()
        if not missing:
            return http_post.HttpPoster(lent, connect_s, make)
        log.warning("aiohttp %s lacks %s: its session is used", aiohttp.__version__, missing)
    return SessionTransport(lent, connect_s, make)


async def read_body(incoming: RawReply, limit: int, *, cut: bool = False) -> bytes:
    """The whole body; beyond `limit` bytes it is cut, or UpstreamFailure `too_large`."""
    content = incoming.content
    pieces: list[bytes] = []
    size = 0
    while size <= limit:
        piece = await content.readany()
        if not piece and content.at_eof():
            break
        pieces.append(piece)
        size += len(piece)
    if size > limit and not cut:
        raise UpstreamFailure("too_large", f"the reply is over {limit} bytes")
    return pieces[0] if len(pieces) == 1 and size <= limit else b"".join(pieces)[:limit]
