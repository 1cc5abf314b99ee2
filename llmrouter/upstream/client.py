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
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.streams import StreamReader
from yarl import URL

from llmrouter.domain.chat import LONG_BODY
from llmrouter.domain.completion import ResponseEvent, UpstreamRequest
from llmrouter.domain.target import Endpoint
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.credentials import Credentials
from llmrouter.upstream.endpoints import EndpointChooser
from llmrouter.upstream.error_mapping import failure_of, refused
from llmrouter.upstream.http_transport import RawReply, read_body, transport
from llmrouter.upstream.protocols.registry import BY_NAME
from llmrouter.upstream.sse_decoder import MAX_EVENT_BYTES
from llmrouter.upstream.stream_parser import EVENT_STREAM, Stream, whole
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

_FOR_WHOLE = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "llmrouter",
}
_FOR_STREAM = {**_FOR_WHOLE, "Accept": EVENT_STREAM}
ANTHROPIC = "anthropic-messages"
ANTHROPIC_VERSION = "2023-06-01"
_KEEP_ALIVE = (b":", b"event: ping")  # a comment, and Anthropic's
_MAX_ERROR_BYTES = 64 * 1024
_DRAIN_S = 0.02
_Place = tuple[str, frozenset[tuple[str, str]], str | None, str | None, str, bool]
"""Base URL, query, proxy, certificates, wire format, and whether it streams."""


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """Seconds and bytes. How long a stream may be silent is each target's own setting."""

    connect_s: float = 5.0
    max_body_bytes: int = 32 * 1024 * 1024
    max_event_bytes: int = MAX_EVENT_BYTES


class UpstreamClient:
    """Implements `Upstream` over connections of its own unless a connector is lent.

    `env` reads a variable by name (credentials are read per call, so a rotated key is seen);
    `fast` posts by `fastpath.http_post`, not by aiohttp's session. `addresses` says where names may
    lead.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector | None = None,
        *,
        limits: UpstreamLimits | None = None,
        env: Callable[[str], str | None] = os.environ.get,
        fast: bool = True,
        addresses: AddressPolicy = NO_METADATA,
    ) -> None:
        self._limits = limits or UpstreamLimits()
        self._transport = transport(
            connector, self._limits.connect_s, fast=fast, addresses=addresses
        )
        self._credentials = Credentials(env)
        self._endpoints = EndpointChooser()
        self._addresses: dict[_Place, Any] = {}
        self._trusted: dict[str, ssl.SSLContext] = {}

    def send(self, call: UpstreamRequest) -> Reply:
        """Open the reply; iterate it inside `async with`. Raises UpstreamFailure."""
        return Reply(self, call)

    async def close(self) -> None:
        """Close the connections, if they are this relay's own."""
        await self._transport.close()

    async def post(self, call: UpstreamRequest) -> RawReply:
        """Send the call and return once the reply's headers are there."""
        target = call.target
        if not target.access.endpoints:
            return await self._post(call, Endpoint(target.base_url, target.api_key_env))
        for endpoint in self._endpoints.order(target.access.endpoints):
            try:
                reply = await self._post(call, endpoint)
            except aiohttp.ClientConnectorError as error:
                refused = error
                self._endpoints.failed(endpoint)
                continue
            if reply.status == 429 or reply.status >= 500:
                self._endpoints.failed(endpoint)
            return reply
        raise refused

    async def _post(self, call: UpstreamRequest, endpoint: Endpoint) -> RawReply:
        access = call.target.access
        query = frozenset(access.query.items())
        place = endpoint.base_url, query, access.proxy, access.ca, call.protocol, call.stream
        address = self._addresses.get(place)
        if address is None:
            address = await self._address(call, endpoint)
            if len(self._addresses) > 1000:
                self._addresses.clear()
            self._addresses[place] = address
        headers = self._headers(call, endpoint)
        signer = self._credentials.signer(call.target)
        if signer is not None:
            headers = {**headers, **await signer.headers(str(address.url), headers, call.body)}
        try:
            return await self._transport.post(address, headers, call.body)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server closed a moment ago looks just like this.
            return await self._transport.post(address, headers, call.body)

    @property
    def limits(self) -> UpstreamLimits:
        """The bounds in force."""
        return self._limits

    def _headers(self, call: UpstreamRequest, endpoint: Endpoint) -> Mapping[str, str]:
        target = call.target
        headers = {**call.headers, **call.extra_headers} if call.extra_headers else call.headers
        if call.protocol == ANTHROPIC and "anthropic-version" not in headers:
            headers = {**headers, "anthropic-version": ANTHROPIC_VERSION}
        return {**headers, **target.access.headers, **self._credentials.headers(target, endpoint)}

    async def _address(self, call: UpstreamRequest, endpoint: Endpoint) -> Any:
        access = call.target.access
        try:
            base, mark, query = endpoint.base_url.partition("?")
            url = URL(base.rstrip("/") + BY_NAME[call.protocol].path + mark + query)
            address = self._transport.endpoint(
                url.update_query(access.query) if access.query else url,
                _FOR_STREAM if call.stream else _FOR_WHOLE,
                proxy=None if access.proxy is None else URL(access.proxy),
                trust=None if access.ca is None else await self._trust(access.ca),
            )
        except (ValueError, OSError) as error:
            name = "ca" if isinstance(error, OSError) else "base_url"
            message = f"{call.target.id}: {name}: {error}"
            raise UpstreamFailure("misconfigured", message) from None
        return address

    async def _trust(self, path: str) -> ssl.SSLContext:
        """A context that trusts the certificates in a file, once read. Raises OSError."""
        known = self._trusted.get(path)
        if known is None:
            known = await asyncio.to_thread(ssl.create_default_context, cafile=path)
            self._trusted[path] = known
        return known


def _read(call: UpstreamRequest, body: bytes, kind: str) -> ResponseEvent:
    """A whole reply, in the caller's format."""
    event = whole(body, kind, BY_NAME[call.protocol])
    if call.translation is None:
        return event
    return replace(event, data=call.translation.whole(body))


class Reply:
    """One reply being received: an async context manager over an async iterator of events."""

    __slots__ = (
        "_call",
        "_commit_by",
        "_events",
        "_first_at",
        "_idle_timer",
        "_incoming",
        "_late",
        "_over_at",
        "_quiet_since",
        "_relay",
        "_stream",
        "_waiting_since",
        "_whole",
    )

    def __init__(self, relay: UpstreamClient, call: UpstreamRequest) -> None:
        self._relay = relay
        self._call = call
        self._incoming: RawReply | None = None
        self._whole: ResponseEvent | None = None
        self._stream: Stream | None = None
        self._events = None
        if call.stream:
            if call.translation is not None:
                self._events = call.translation.stream()
            self._stream = Stream(
                BY_NAME[call.protocol],
                detail=call.detail,
                strip_usage=call.include_usage_added,
                limit=relay.limits.max_event_bytes,
                choices=call.choices,
            )
        self._late: UpstreamFailure | None = None
        self._over_at = self._commit_by = self._first_at = math.inf
        self._waiting_since: float | None = None
        self._quiet_since: float | None = None  # since when only keep-alives came
        self._idle_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Reply:
        call = self._call
        bound = math.inf if call.first_timeout_s is None else call.first_timeout_s
        now = asyncio.get_running_loop().time()
        self._over_at = now + call.timeout_s
        self._first_at = self._commit_by = min(now + bound, self._over_at)
        if call.stream:
            self._first_at = min(now + call.target.first_token_s, self._commit_by)
        try:
            if math.isinf(self._first_at):
                await self._begin()
            else:
                async with asyncio.timeout_at(self._first_at):
                    await self._begin()
        except Exception as error:
            failure = self._failure(error)
            self._close()
            failure.protocol = call.protocol
            raise failure from error
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

    async def __anext__(self) -> ResponseEvent:
        stream = self._stream
        if stream is None:
            event, self._whole = self._whole, None
            if event is None:
                raise StopAsyncIteration
            return event
        events = self._events
        if not stream.ready and not stream.ended:
            await self._fill(stream)
        if stream.ready:
            event = stream.ready.popleft()
            return event if events is None else events.feed(event)
        if stream.failure is not None:
            stream.failure.protocol = self._call.protocol
            raise stream.failure
        if events is not None and (rest := events.end()):
            return ResponseEvent(rest, EVENT_STREAM, done=True)
        raise StopAsyncIteration

    async def _begin(self) -> None:
        """Headers, and the whole body where it is not a stream."""
        incoming = self._incoming = await self._relay.post(self._call)
        kind = incoming.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if incoming.status != 200:
            if 200 < incoming.status < 300:
                raise UpstreamFailure("malformed", f"{incoming.status} is no answer")
            body = await read_body(incoming, _MAX_ERROR_BYTES, cut=True)
            raise refused(incoming.status, body, incoming.headers)
        if self._call.stream and kind != "application/json":
            if kind == "text/html":
                raise UpstreamFailure("malformed", "the upstream answered a stream with HTML")
            return
        call = self._call
        body = await read_body(incoming, self._relay.limits.max_body_bytes)
        if len(body) < LONG_BODY:
            event = _read(call, body, kind)
        else:
            event = await asyncio.to_thread(_read, call, body, kind)
        if self._call.stream:
            message = "the upstream answered a stream with plain JSON"
            raise UpstreamFailure("malformed", message).billed(event.usage)
        self._whole = event
        incoming.leave()

    async def _fill(self, stream: Stream) -> None:
        """Read until there is an event to hand out, or the reply has ended or failed."""
        try:
            if stream.committed:
                await self._receive(stream, None)
            else:
                async with asyncio.timeout_at(self._first_at) as bound:
                    await self._receive(stream, bound)
        except Exception as error:
            stream.ended = True
            stream.failure = self._failure(error)

    def _failure(self, error: Exception) -> UpstreamFailure:
        """Our failure for what ended the reply; `stalled` where the target was silent too long."""
        if self._late is not None:
            return self._late
        ours = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError)
        if ours and self._first_at < self._commit_by:
            silence_s = self._call.target.first_token_s
            return UpstreamFailure("stalled", f"no first token within {silence_s:g} s")
        return failure_of(error, answered=self._incoming is not None)

    async def _receive(self, stream: Stream, bound: asyncio.Timeout | None) -> None:
        """Take chunks until an event is ready. `bound` is the wait for the first token.

        Each keep-alive before it (a comment, a role, an empty chunk) shows that the server works
        on it: the silence is measured from there, and all of it ends at `_commit_by`.
        """
        incoming = self._incoming
        assert incoming is not None  # noqa: S101 - entered before iterated
        content = incoming.content
        loop = asyncio.get_running_loop()
        self._waiting_since = loop.time()
        if bound is None:
            if self._quiet_since is None:
                self._quiet_since = self._waiting_since
            if self._idle_timer is None:
                self._watch(loop)
        heard = stream.held
        try:
            while not stream.ready and not stream.ended:
                chunk = await content.readany()
                if chunk:
                    stream.feed(chunk)
                    if bound is not None and stream.held != heard:
                        heard = stream.held
                        first_at = loop.time() + self._call.target.first_token_s
                        self._first_at = min(first_at, self._commit_by)
                        bound.reschedule(self._first_at)
                elif content.at_eof():
                    stream.end()
            if stream.ready and not stream.ready[-1].data.startswith(_KEEP_ALIVE):
                self._quiet_since = None
            if stream.ended and stream.failure is None and not content.is_eof():
                await _drain(content)
        finally:
            self._waiting_since = None

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """The bounds of a stream: one timer a stream, looking back, so a chunk costs nothing.

        It has failed where no complete event came for `stall_timeout_s` (single bytes do not
        count), or where nothing but comments came for `timeout_s`, if that is longer.
        """
        now, target = loop.time(), self._call.target
        stall_s, quiet_s = target.stall_timeout_s, max(target.timeout_s, target.stall_timeout_s)
        silent_at = stall_s + (now if self._waiting_since is None else self._waiting_since)
        quiet_at = quiet_s + (now if self._quiet_since is None else self._quiet_since)
        due = min(silent_at, quiet_at, self._over_at)
        if now < due:
            self._idle_timer = loop.call_at(max(due, now + 0.001), self._watch, loop)
            return
        if now >= silent_at:
            self._late = UpstreamFailure("stalled", f"the stream fell silent for {stall_s:g} s")
        elif now >= quiet_at:
            self._late = UpstreamFailure("stalled", f"only keep-alives came for {quiet_s:g} s")
        else:
            self._late = UpstreamFailure("timeout", "the stream took too long")
        if self._incoming is not None:
            self._incoming.fail(TimeoutError(self._late.detail))

    def _close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._incoming is not None:
            self._incoming.leave()


async def _drain(content: StreamReader) -> None:
    """After the end marker, take the transfer's own end, so that the connection can be kept."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_DRAIN_S):
            await content.readany()
