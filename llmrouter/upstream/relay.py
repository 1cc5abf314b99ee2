"""One attempt at one target over HTTP: bytes out, bytes back as they came.

The body is sent as given and the reply is relayed as received; what the service wants to know of
it (usage, finish reason, errors) is read beside the bytes and never written into them.

It refuses: redirects, cookies, proxies from the environment, compressed replies it would have to
guess at, bodies and events beyond a size, and every 200 that is no answer (HTML, an error object,
an empty stream, a stream cut short). It retries nothing but a pooled connection that the server
had already closed: repeating an attempt is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from yarl import URL

from llmrouter.domain.reply import ReplyEvent, UpstreamCall
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.failures import failure_of, refused
from llmrouter.upstream.sse import MAX_EVENT_BYTES
from llmrouter.upstream.stream import EVENT_STREAM, Stream, whole

_FOR_WHOLE = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "llmrouter",
}
_FOR_STREAM = {**_FOR_WHOLE, "Accept": EVENT_STREAM}
_MAX_ERROR_BYTES = 64 * 1024
_DRAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Seconds and bytes. `first_byte_s` bounds the wait for a stream's first event where the call
    names no bound of its own, `idle_s` the wait for each further one."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    max_body_bytes: int = 32 * 1024 * 1024
    max_event_bytes: int = MAX_EVENT_BYTES


class Relay:
    """Implements `Upstream` on one client session, opened on first use unless one is given.

    `env` reads a variable by name (credentials are read per call, so a rotated key is seen).
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        limits: RelayLimits | None = None,
        env: Callable[[str], str | None] = os.environ.get,
    ) -> None:
        self._session = session
        self._owns_session = session is None
        self._limits = limits or RelayLimits()
        self._env = env
        self._urls: dict[str, URL] = {}
        self._timeout = (-1.0, aiohttp.ClientTimeout())  # most calls have the last one's

    def send(self, call: UpstreamCall) -> Reply:
        """Open the reply; iterate it inside `async with`. Raises UpstreamFailure."""
        return Reply(self, call)

    async def close(self) -> None:
        """Close the session, if it is this relay's own."""
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, call: UpstreamCall) -> aiohttp.ClientResponse:
        """Send the call and return once the reply's headers are there."""
        session = self._session or self._open()
        limits = self._limits
        timeout_s, timeout = self._timeout
        if timeout_s != call.timeout_s:
            timeout = aiohttp.ClientTimeout(
                total=None if math.isinf(call.timeout_s) else max(call.timeout_s, 0.001),
                sock_connect=limits.connect_s,
            )
            self._timeout = call.timeout_s, timeout
        url = self._urls.get(call.target.base_url) or self._url(call.target)
        headers = self._headers(call)
        try:
            return await session.post(
                url, data=call.body, headers=headers, timeout=timeout, allow_redirects=False
            )
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server closed a moment ago looks just like this.
            return await session.post(
                url, data=call.body, headers=headers, timeout=timeout, allow_redirects=False
            )

    @property
    def limits(self) -> RelayLimits:
        """The bounds in force."""
        return self._limits

    def _headers(self, call: UpstreamCall) -> dict[str, str]:
        headers = {**(_FOR_STREAM if call.stream else _FOR_WHOLE), **call.headers}
        variable = call.target.api_key_env
        if variable is not None:
            key = self._env(variable)
            if not key:
                raise UpstreamFailure(
                    "misconfigured", f"{call.target.id}: the variable {variable} is not set"
                )
            if not key.isascii() or not key.isprintable():
                raise UpstreamFailure(
                    "misconfigured", f"{call.target.id}: the variable {variable} holds no valid key"
                )
            headers["Authorization"] = "Bearer " + key
        return headers

    def _url(self, target: Target) -> URL:
        try:
            base, mark, query = target.base_url.partition("?")
            url = URL(base.rstrip("/") + "/chat/completions" + mark + query)
        except ValueError as error:
            raise UpstreamFailure("misconfigured", f"{target.id}: base_url: {error}") from None
        if len(self._urls) > 1000:
            self._urls.clear()
        self._urls[target.base_url] = url
        return url

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,  # for servers that compress although asked not to
        )
        return self._session


class Reply:
    """One reply being received: an async context manager over an async iterator of events."""

    __slots__ = (
        "_call",
        "_first_at",
        "_idle_timer",
        "_relay",
        "_response",
        "_stream",
        "_timed_out",
        "_waiting_since",
        "_whole",
    )

    def __init__(self, relay: Relay, call: UpstreamCall) -> None:
        self._relay = relay
        self._call = call
        self._response: aiohttp.ClientResponse | None = None
        self._whole: ReplyEvent | None = None
        self._stream: Stream | None = None
        if call.stream:
            self._stream = Stream(
                detail=call.detail,
                strip_usage=call.include_usage_added,
                limit=relay.limits.max_event_bytes,
            )
        self._timed_out = False
        self._first_at = math.inf
        self._waiting_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Reply:
        call = self._call
        bound = call.first_timeout_s
        if bound is None and call.stream:
            bound = self._relay.limits.first_byte_s
        try:
            if bound is None or math.isinf(bound):
                await self._begin()
            else:
                self._first_at = asyncio.get_running_loop().time() + bound
                async with asyncio.timeout_at(self._first_at):
                    await self._begin()
        except Exception as error:
            answered = self._response is not None
            self._close()
            raise failure_of(error, answered=answered) from error
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> ReplyEvent:
        stream = self._stream
        if stream is None:
            event, self._whole = self._whole, None
            if event is None:
                raise StopAsyncIteration
            return event
        if not stream.ready and not stream.ended:
            await self._fill(stream)
        if stream.ready:
            return stream.ready.popleft()
        if stream.failure is not None:
            raise stream.failure
        raise StopAsyncIteration

    async def _begin(self) -> None:
        """Headers, and the whole body where it is not a stream."""
        response = self._response = await self._relay.post(self._call)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status != 200:
            if 200 < response.status < 300:
                raise UpstreamFailure("malformed", f"{response.status} is no answer")
            body = await self._body(response, _MAX_ERROR_BYTES, cut=True)
            raise refused(response.status, body, response.headers)
        if self._call.stream and kind != "application/json":
            if kind == "text/html":
                raise UpstreamFailure("malformed", "the upstream answered a stream with HTML")
            return
        event = whole(await self._body(response, self._relay.limits.max_body_bytes), kind)
        if self._call.stream:
            raise UpstreamFailure("malformed", "the upstream answered a stream with plain JSON")
        self._whole = event

    async def _body(
        self, response: aiohttp.ClientResponse, limit: int, *, cut: bool = False
    ) -> bytes:
        """The whole body; beyond `limit` bytes it is cut, or UpstreamFailure `too_large`."""
        length = response.content_length
        if length is not None and length <= limit and "Content-Encoding" not in response.headers:
            return await response.read()
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                if cut:
                    break
                raise UpstreamFailure("too_large", f"the reply is over {limit} bytes")
        return b"".join(pieces)[:limit]

    async def _fill(self, stream: Stream) -> None:
        """Read until there is an event to hand out, or the reply has ended or failed."""
        try:
            if stream.committed or math.isinf(self._first_at):
                await self._receive(stream)
            else:
                async with asyncio.timeout_at(self._first_at):
                    await self._receive(stream)
        except Exception as error:
            stream.ended = True
            stream.failure = (
                UpstreamFailure("timeout", "the stream fell silent")
                if self._timed_out
                else failure_of(error, answered=True)
            )

    async def _receive(self, stream: Stream) -> None:
        response = self._response
        assert response is not None  # noqa: S101 - entered before iterated
        content = response.content
        loop = asyncio.get_running_loop()
        self._waiting_since = loop.time()
        if self._idle_timer is None:
            self._idle_timer = loop.call_later(self._relay.limits.idle_s, self._watch, loop)
        try:
            while not stream.ready and not stream.ended:
                chunk = await content.readany()
                if chunk:
                    stream.feed(chunk)
                elif content.at_eof():
                    stream.end()
            if stream.ended and stream.failure is None and not content.is_eof():
                await _drain(content)
        finally:
            self._waiting_since = None

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """The idle timer: one handle a stream, looking back, so that a chunk costs nothing."""
        since = self._waiting_since
        idle_s = self._relay.limits.idle_s
        waited = 0.0 if since is None else loop.time() - since
        if waited < idle_s:
            self._idle_timer = loop.call_later(max(idle_s - waited, 0.001), self._watch, loop)
            return
        self._timed_out = True
        if self._response is not None:
            self._response.close()

    def _close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._response is not None:
            self._response.close()  # a reply read to its end has already given its connection back


async def _drain(content: aiohttp.StreamReader) -> None:
    """After the end marker, take the transfer's own end, so that the connection can be kept."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_DRAIN_S):
            await content.readany()
