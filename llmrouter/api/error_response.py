"""Errors as callers see them: their wire format's envelope, from the error's own facts.

An unexpected exception says nothing about its insides to the caller; the log has it all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
from aiohttp import web

from llmrouter.api.formats import CHAT, own_headers, request_id, spoken_by
from llmrouter.errors import (
    LLMRouterError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    UpstreamRefused,
)

JSON = "application/json"


class InternalError(LLMRouterError):
    """A defect of this service; what it was stands in the log alone."""

    default_code = "internal_error"

    def __init__(self) -> None:
        super().__init__("the service failed; its log says why")


class HTTPRefused(LLMRouterError):
    """Something the HTTP server itself refused; the status is its own."""

    type = "invalid_request_error"
    label = "http"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, code="http_error")
        self.status = status


def envelope(error: LLMRouterError) -> bytes:
    """The JSON body of an error, what is known beside it included."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            },
            **error.details,
        }
    )


def spliced(body: bytes, name: bytes, value: bytes) -> bytes:
    """A JSON object with one more key at its end; a body that is no object stays as it is."""
    end = body.rstrip()
    start = body.lstrip()
    if not (start.startswith(b"{") and end.endswith(b"}")):
        return body
    head = end[:-1].rstrip()
    comma = b"" if head.endswith(b"{") and head.strip() == b"{" else b","
    return b'%b%b"%b":%b}' % (head, comma, name, value)


def refusal(
    error: LLMRouterError,
    extra: Mapping[str, str] | None = None,
    request: web.Request | None = None,
) -> web.Response:
    """The whole answer to an error, with the headers its status asks for.

    What an upstream refused is answered with its own body where it is in the caller's wire format,
    so that clients see what they know; every other error in the envelope of the `request`'s path.
    """
    spoken = CHAT if request is None else spoken_by(request)
    name = request_id(error)
    headers = {**error.headers, "Content-Type": JSON}
    if request is not None:
        headers |= own_headers(spoken, request.headers, name)
    if isinstance(error, UpstreamRefused) and error.body and error.protocol in ("", spoken.name):
        headers["Content-Type"] = safe_type(error.content_type)
        headers["X-Content-Type-Options"] = "nosniff"
        body = error.body
        for name, value in error.details.items():
            body = spliced(body, name.encode(), orjson.dumps(value))
        return web.Response(status=error.status, body=body, headers=headers)
    if extra:
        headers.update(extra)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    body = orjson.dumps(spoken.error(error, name))
    return web.Response(status=error.status, body=body, headers=headers)


def safe_type(content_type: str | None) -> str:
    """The type under which what an upstream said is passed on: JSON, or text that stays text.

    A page of HTML would run in the caller's browser with this service's origin.
    """
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    if kind == JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return content_type or JSON
    return "text/plain; charset=utf-8"


def translated(error: web.HTTPException, method: str, path: str) -> LLMRouterError:
    """The HTTP server's own refusals in our terms."""
    if error.status == 404:
        return NotFound(f"there is no {path[:200]}; /openapi.json lists what there is")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"{method} is not allowed on {path[:200]}; use {allowed}")
    if error.status == 413:
        return PayloadTooLarge("the body is larger than this service accepts")
    return HTTPRefused(error.status, error.text or error.reason)
