"""What the HTTP server itself refuses, in the words of the service: bytes that are not HTTP,
headers that are too long or too many, an answer that could not be made.

These never reach a handler, so no middleware can shape them. aiohttp answers in plain text and
quotes what it stumbled on, which may be a key; here they get the envelope of every other error,
and nothing of what was sent.
"""

from __future__ import annotations

from aiohttp import http_exceptions, web

from llmrouter.api.dependencies import FRONT
from llmrouter.api.error_response import HTTPRefused, InternalError, refusal
from llmrouter.errors import DeadlineExceeded, LLMRouterError


class Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = ()

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
    """Makes them."""

    def __call__(self) -> web.RequestHandler:
        """One more."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        front, handler = self.app.get(FRONT), made.request_handler
        return Connections(
            handler if front is None else front(handler),  # type: ignore[arg-type]  # both: Request
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


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
