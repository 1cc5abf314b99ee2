"""Executing and answering, for the two calls that do: `/complete` and the OpenAI drop-in.

The upstream's bytes go out as they came. What `/complete` adds is spliced in front of the body's
last brace, never by parsing and rebuilding it.
"""

from __future__ import annotations

import time

import orjson
from aiohttp import web

from llmrouter.api.intake import decision_headers
from llmrouter.api.services import Routed, Services
from llmrouter.api.sse import stream
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.reply import ReplyEvent


async def execute(
    request: web.Request, services: Services, caller: Caller, chat: ChatRequest, *, explain: bool
) -> web.StreamResponse:
    """Run a request and answer it; `explain` adds the `router` object. Holds its key's budget."""
    limits = services.limits
    if limits is None:
        return await _answer(request, await services.gateway.complete(chat, caller), explain)
    held, chat = await limits.reserve(caller, chat, services.gateway.catalog.current)
    if held is None:
        return await _answer(request, await services.gateway.complete(chat, caller), explain)
    try:
        routed = await services.gateway.complete(chat, caller)
    except Exception:
        await limits.settle(caller, held, None)
        raise
    try:
        return await _answer(request, routed, explain)
    finally:
        if routed.completion is not None:
            await limits.settle(caller, held, routed.completion)


async def _answer(request: web.Request, routed: Routed, explain: bool) -> web.StreamResponse:
    headers = decision_headers(routed.decision, routed.content_type)
    if routed.content_type.startswith("text/event-stream"):
        return await stream(request, routed, headers, last_chunk if explain else None)
    try:
        pieces = [event.data async for event in routed]
    finally:
        await routed.aclose()
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if explain:
        body = spliced(body, router_object(routed))
    return web.Response(status=routed.status, body=body, headers=headers)


def router_object(routed: Routed) -> bytes:
    """The `router` object: the decision's own keys, what was attempted, and what it took."""
    completion = routed.completion
    shown = routed.decision.public()
    shown["attempts"] = [] if completion is None else [a.public() for a in completion.attempts]
    shown["cost_usd"] = None if completion is None else completion.cost_usd
    shown["latency_ms"] = None if completion is None else completion.latency_ms
    if completion is not None and completion.phases_ms is not None:
        shown["phases_ms"] = dict(completion.phases_ms)
    return orjson.dumps(shown)


def spliced(body: bytes, router: bytes) -> bytes:
    """A JSON object with `router` as its last key; a body that is no object stays as it is."""
    end = body.rstrip()
    start = body.lstrip()
    if not (start.startswith(b"{") and end.endswith(b"}")):
        return body
    head = end[:-1].rstrip()
    comma = b"" if head.endswith(b"{") and head.strip() == b"{" else b","
    return b'%b%b"router":%b}' % (head, comma, router)


def last_chunk(routed: Routed, first: ReplyEvent | None) -> bytes:
    """A chunk of the stream that carries `router` and no choices."""
    completion = routed.completion
    head = {
        "id": (first and first.response_id) or routed.decision.decision_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": (first and first.model)
        or (completion.target if completion is not None else routed.decision.model),
        "choices": [],
    }
    return b"data: " + spliced(orjson.dumps(head), router_object(routed)) + b"\n\n"
