"""What every routed call does first: read the body and parse it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import JSON, HTTPRefused
from llmrouter.api.formats import FORMAT_OF, FORWARDED, session_of
from llmrouter.api.request_parser import Endpoint, in_session, parse, parse_as
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import Decision
from llmrouter.errors import BadRequest, PayloadTooLarge

SILENT_S = 60.0


def too_large(services: Dependencies) -> PayloadTooLarge:
    """The error for a body over the limit."""
    most = services.max_body_bytes / (1024 * 1024)
    return PayloadTooLarge(f"the body is over {most:g} MB, the most this service takes")


async def read_body(request: web.Request, services: Dependencies) -> bytes:
    """The whole body. Raises PayloadTooLarge by its announced length, before reading it."""
    content = request.content
    if content.is_eof() and content.exception() is None:  # it is here already: most bodies are
        body = content.read_nowait()
        if len(body) > services.max_body_bytes:
            raise too_large(services)
        return body
    length = request.content_length
    if length is not None and length > services.max_body_bytes:
        raise too_large(services)
    try:
        return await _arriving(request, services)
    except TimeoutError:
        raise HTTPRefused(408, f"nothing of the body came for {SILENT_S:g} s") from None
    except web.RequestPayloadError as error:
        why = str(error).rpartition("\n")[2].strip()
        raise BadRequest(f"the body cannot be read: {why}", code="invalid_body") from None


async def _arriving(request: web.Request, services: Dependencies) -> bytes:
    """A body that is on its way. One that has stopped would hold its place in the load for ever."""
    request.content.set_read_chunk_size(services.max_body_bytes)  # unpacks in larger pieces
    body = bytearray()
    while True:
        async with asyncio.timeout(SILENT_S):
            piece = await request.content.readany()
        if not piece:
            return bytes(body)
        body += piece
        if len(body) > services.max_body_bytes:
            raise too_large(services)


async def read_request(
    request: web.Request, services: Dependencies, endpoint: Endpoint
) -> ChatRequest:
    """A well-formed request. Raises BadRequest, PayloadTooLarge."""
    session = session_of(request.headers)
    return _parsed(await read_body(request, services), services, endpoint, session)


async def read_as(request: web.Request, services: Dependencies, endpoint: Endpoint) -> ChatRequest:
    """A well-formed request of another wire format. Raises BadRequest, PayloadTooLarge."""
    body = await read_body(request, services)
    given = request.headers
    headers = {n: given[n] for n in FORWARDED.get(FORMAT_OF[endpoint].name, ()) if n in given}
    session = session_of(given)
    key = f"{endpoint}{headers or ''}{session or ''}", body
    chat = services.read.get(key)
    if chat is None:
        again = services.read.came_before(key)
        chat = in_session(parse_as(body, endpoint, headers, kept=again), session)
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
        chat = in_session(parse(body, endpoint, kept=again), session)
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
