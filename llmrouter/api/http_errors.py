"""What the HTTP server itself refuses, in the words of the service: bytes that are not HTTP,
headers that are too long or too many, an answer that could not be made.

These never reach a handler, so no middleware can shape them. aiohttp answers in plain text and
quotes what it stumbled on, which may be a key; here they get the envelope of every other error,
and nothing of what was sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import StreamReader, http_exceptions, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from llmrouter.api.body_limits import DEFAULT_TIMEOUTS
from llmrouter.api.dependencies import FRONT, SERVICES
from llmrouter.api.error_response import HTTPRefused, InternalError, envelope, refusal
from llmrouter.errors import DeadlineExceeded, LLMRouterError


class Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = ("_check", "_content", "_head_since", "_header_s")

    def __init__(self, manager: web.Server, header_s: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._header_s = header_s
        self._content: StreamReader | None = None
        self._head_since: float | None = None
        self._check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller is there, and its first request is due."""
        super().connection_made(transport)
        self._head_since = self._loop.time()
        self._check = self._loop.call_later(self._header_s, self._check_head)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller left, or was sent away."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a body, or of the next request's headers."""
        between = self._content is None or self._content.is_eof()
        if data and between and self._head_since is None:  # aiohttp also calls this with nothing
            self._head_since = self._loop.time()
        super().data_received(data)

    def began(self, content: StreamReader) -> None:
        """A request's headers are complete; `content` is its body."""
        self._content, self._head_since = content, None

    def _check_head(self) -> None:
        """End the connection if its next headers do not come; look again later if they may."""
        since, now = self._head_since, self._loop.time()
        # A request that waits behind a running one has arrived; without the field all are running.
        if since is None or getattr(self, "_request_in_progress", True):
            left = self._header_s
        else:
            left = since + self._header_s - now
        if left <= 0:
            self._end_slow()
        elif self.transport is not None:
            self._check = self._loop.call_later(left, self._check_head)

    def _end_slow(self) -> None:
        transport = self.transport
        if transport is not None:
            body = envelope(HTTPRefused(408, "the request's headers did not come in time"))
            transport.write(
                b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what no handler saw; the connection ends with it."""
        super().handle_error(request, status, exc, message)  # logs, and refuses a second answer
        response = refusal(_named(status, exc))
        response.force_close()
        return response


class Connections(web.Server):
    """Makes them. Bodies come as they were sent: `body_decoder` unpacks them, where it may."""

    timeouts = DEFAULT_TIMEOUTS

    def __call__(self) -> web.RequestHandler:
        """One more."""
        options = {**self._kwargs, "auto_decompress": False}
        options["keepalive_timeout"] = self.timeouts.idle_s
        return Connection(self, self.timeouts.header_s, loop=self._loop, **options)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        front, handler = self.app.get(FRONT), made.request_handler
        make = made.request_factory

        def begun(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: web.RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            if isinstance(protocol, Connection):
                protocol.began(payload)
            return make(message, payload, protocol, writer, task)

        connections = Connections(
            handler if front is None else front(handler),  # type: ignore[arg-type]  # both: Request
            request_factory=begun,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        if SERVICES in self.app:
            connections.timeouts = self.app[SERVICES].timeouts
        return connections


def _named(status: int, exc: BaseException | None) -> LLMRouterError:
    if isinstance(exc, http_exceptions.LineTooLong):
        return HTTPRefused(431, "the address or a header is too long")
    if isinstance(exc, http_exceptions.ContentEncodingError):
        return HTTPRefused(
            status, "its Content-Encoding cannot be read: send gzip, deflate or none"
        )
    if status == 504:
        return DeadlineExceeded("the answer took too long")
    if status >= 500:
        return InternalError()
    return HTTPRefused(status, "this is not an HTTP request that can be read")
