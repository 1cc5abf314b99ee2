"""What every routed call does first: read the body and parse it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from llmrouter.api.body_decoder import Unpacker, encoding_of
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import JSON, HTTPRefused
from llmrouter.api.formats import FORMAT_OF, FORWARDED, session_of
from llmrouter.api.request_parser import Endpoint, in_session, parse, parse_as, parse_object
from llmrouter.domain.chat import LONG_BODY, ChatRequest
from llmrouter.domain.decision import Decision
from llmrouter.errors import BadRequest, PayloadTooLarge

BODY: web.RequestKey[bytes] = web.RequestKey("body", bytes)
"""The body of a request that was read before its handler was asked."""


def too_large(services: Dependencies) -> PayloadTooLarge:
    """The error for a body over the limit."""
    most = services.max_body_bytes / (1024 * 1024)
    return PayloadTooLarge(f"the body is over {most:g} MB, the most this service takes")


def has_arrived(request: web.Request) -> bool:
    """Whether the whole body is here, as most are once their headers are read."""
    return request.content.is_eof() and request.content.exception() is None


async def read_body(request: web.Request, services: Dependencies) -> bytes:
    """The whole body, unpacked. Raises PayloadTooLarge by its announced length, unread."""
    early: bytes | None = request.get(BODY)
    if early is not None:
        return early
    if has_arrived(request):
        body = request.content.read_nowait()
        if len(body) > services.max_body_bytes:
            raise too_large(services)
    else:
        body = await _arriving(request, services)
    if "Content-Encoding" not in request.headers:
        return body
    encoding = encoding_of(", ".join(request.headers.getall("Content-Encoding")))
    if encoding is None or not body:
        return body
    unpacker = Unpacker(services.max_body_bytes, too_large(services), services.unpacking)
    return await unpacker.unpacked(body, encoding)


async def read_early(request: web.Request, services: Dependencies) -> None:
    """Take in a body that is still on its way, before its request counts as load."""
    request[BODY] = await read_body(request, services)


async def _arriving(request: web.Request, services: Dependencies) -> bytes:
    """A body that is on its way. One that stops, or drips, is given up."""
    encoding_of(request.headers.get("Content-Encoding"))
    length = request.content_length
    if length is not None and length > services.max_body_bytes:
        raise too_large(services)
    timeouts = services.timeouts
    body = bytearray()
    try:
        async with asyncio.timeout(timeouts.body_s):
            while True:
                async with asyncio.timeout(timeouts.body_silence_s):
                    piece = await request.content.readany()
                if not piece:
                    return bytes(body)
                body += piece
                if len(body) > services.max_body_bytes:
                    raise too_large(services)
    except TimeoutError:
        raise HTTPRefused(
            408,
            f"the body did not come within {timeouts.body_s:g} s, "
            f"or nothing of it came for {timeouts.body_silence_s:g} s",
        ) from None
    except web.RequestPayloadError as error:
        why = str(error).rpartition("\n")[2].strip()
        raise BadRequest(f"the body cannot be read: {why}", code="invalid_body") from None


async def read_object(
    request: web.Request, services: Dependencies, *, optional: bool = False
) -> dict[str, Any]:
    """The one JSON object of a body that is no routed call's. Raises BadRequest, PayloadTooLarge.

    Its bounds are those of every other body, and a long one is parsed off the loop too. Where it
    is `optional`, nothing stands for an empty object.
    """
    body = await read_body(request, services)
    if optional and not body:
        return {}
    if len(body) >= LONG_BODY:
        return await asyncio.to_thread(parse_object, body, services.body_limits)
    return parse_object(body, services.body_limits)


async def read_request(
    request: web.Request, services: Dependencies, endpoint: Endpoint
) -> ChatRequest:
    """A well-formed request. Raises BadRequest, PayloadTooLarge."""
    session = session_of(request.headers)
    body = await read_body(request, services)
    if len(body) >= LONG_BODY:  # off the loop, and kept nowhere
        chat = await asyncio.to_thread(parse, body, endpoint, limits=services.body_limits)
        return in_session(chat, session)
    return _parsed(body, services, endpoint, session)


async def read_as(request: web.Request, services: Dependencies, endpoint: Endpoint) -> ChatRequest:
    """A well-formed request of another wire format. Raises BadRequest, PayloadTooLarge."""
    body = await read_body(request, services)
    given = request.headers
    headers = {n: given[n] for n in FORWARDED.get(FORMAT_OF[endpoint].name, ()) if n in given}
    session = session_of(given)
    limits = services.body_limits
    if len(body) >= LONG_BODY:
        chat = await asyncio.to_thread(parse_as, body, endpoint, headers, limits=limits)
        return in_session(chat, session)
    key = f"{endpoint}{headers or ''}{session or ''}", body
    known = services.read.get(key)
    if known is not None:
        return known
    again = services.read.came_before(key)
    chat = in_session(parse_as(body, endpoint, headers, kept=again, limits=limits), session)
    if again:
        services.read.keep(key, chat, len(body))
    return chat


def _parsed(
    body: bytes, services: Dependencies, endpoint: Endpoint, session: str | None
) -> ChatRequest:
    """The body as a request; bytes that come a second time are read for the last time."""
    key: tuple[str, bytes] = (endpoint if session is None else f"{endpoint}{session}", body)
    chat = services.read.get(key)
    if chat is None:
        again = services.read.came_before(key)
        parsed = parse(body, endpoint, kept=again, limits=services.body_limits)
        chat = in_session(parsed, session)
        if again:
            services.read.keep(key, chat, len(body))
    return chat


def decision_headers(decision: Decision, content_type: str = JSON) -> dict[str, str]:
    """The headers of every routed answer."""
    return {
        "Content-Type": content_type,
        "x-llmrouter-decision-id": decision.decision_id,
        "x-llmrouter-target": decision.target,
        "x-llmrouter-source": decision.source,
    }
