"""Executing and answering, for every call that does: `/complete` and the drop-ins.

The upstream's bytes go out as they came. What `/complete` adds is spliced in front of the body's
last brace, never by parsing and rebuilding it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from llmrouter.api.answer_model import name_to_show, renamed
from llmrouter.api.body_reader import decision_headers
from llmrouter.api.dependencies import Dependencies, Routed
from llmrouter.api.error_response import InternalError, safe_type, spliced
from llmrouter.api.formats import CHAT, format_of, own_headers
from llmrouter.api.sse_response import Wording, stream
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.completion import ResponseEvent
from llmrouter.errors import LLMRouterError
from llmrouter.fastpath.response import FullResponse
from llmrouter.ratelimit.key_limits import RateLimiter, RequestReservation
from llmrouter.ratelimit.worst_case import routing_usd

MAX_WARNINGS = 2000


async def execute(
    request: web.Request,
    services: Dependencies,
    caller: Caller,
    chat: ChatRequest,
    *,
    explain: bool,
) -> web.StreamResponse:
    """Run a request and answer it; `explain` adds the `router` object. Holds its key's budget."""
    limits = services.active_limits
    held: RequestReservation | None = None
    routed: Routed | None = None
    if limits is not None:
        held, chat = await limits.reserve(caller, chat, services.gateway.catalog.current)
    elif services.keyring.open:
        routed = await services.gateway.complete(chat, caller)
        return await _answer(request, services, Call(caller, chat, explain), routed)
    router_usd = 0.0
    try:
        try:
            routed = await services.gateway.complete(chat, caller)
        except asyncio.CancelledError:
            router_usd = left_while_deciding_usd(services, chat)
            raise
        router_usd = _router_usd(routed, chat)
        if held is not None and held.spend is not None and limits is not None:
            left_usd = held.spend.amount - router_usd
            routed.pays(_afford(limits, caller, held, router_usd), left_usd)
        return await _answer(request, services, Call(caller, chat, explain), routed)
    finally:
        completion = None if routed is None else routed.completion
        answered_usd = 0.0 if completion is None else completion.cost_usd
        if completion is not None or router_usd:
            services.telemetry.spent(caller.name, answered_usd + router_usd)
        if held is not None and limits is not None and (routed is None or completion is not None):
            await limits.settle(caller, held, completion, router_usd)


def _afford(
    limits: RateLimiter, caller: Caller, held: RequestReservation, router_usd: float
) -> Callable[[float], Awaitable[bool]]:
    """Whether a key can pay for an execution that comes to so much, beside what deciding took."""

    def afford(cost_usd: float) -> Awaitable[bool]:
        return limits.extend(caller, held, cost_usd + router_usd)

    return afford


def left_while_deciding_usd(services: Dependencies, chat: ChatRequest) -> float:
    """What is charged to a key whose caller left before there was a decision, in USD.

    The router LLM may have been asked by then, and its server bills what it has read.
    """
    return routing_usd(chat, services.gateway.catalog.current)


class Call(NamedTuple):
    """Who asks what; `explain` adds the `router` object."""

    caller: Caller
    chat: ChatRequest
    explain: bool


async def _answer(
    request: web.Request, services: Dependencies, call: Call, routed: Routed
) -> web.StreamResponse:
    try:
        await routed.open()
    except LLMRouterError as error:
        _tell_decision(error, routed, call.explain)
        raise
    except ConnectionError:
        raise
    except Exception as defect:
        failed = InternalError()
        _tell_decision(failed, routed, call.explain)
        raise failed from defect
    spoken = format_of(request.path)
    headers = _headers(routed)
    if spoken is not CHAT:
        headers |= own_headers(spoken, request.headers, routed.decision.decision_id)
    name = name_to_show(services.answer_model, call.chat.model, request.headers)
    if routed.content_type.startswith("text/event-stream"):
        if (limits := services.active_limits) is not None:
            headers.update(limits.headers(call.caller))
        last = last_chunk if call.explain else None
        return await stream(request, services, routed, headers, Wording(spoken, last, name))
    try:
        pieces = [event.data async for event in routed]
    finally:
        await routed.aclose()
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if name is not None:
        body = renamed(body, name)
    if call.explain:
        body = spliced(body, b"router", router_object(routed))
    return FullResponse(body, headers, routed.status)


def _tell_decision(error: LLMRouterError, routed: Routed, explain: bool) -> None:
    """Have an error say which decision it came after."""
    error.headers = {**error.headers, **_headers(routed)}
    if explain:
        error.details = {"router": _explained(routed)}


def _headers(routed: Routed) -> dict[str, str]:
    """The decision's headers, and who answered in the end where that is another target.

    They go out at the commit point, so they are the same for a stream.
    """
    kind = routed.content_type
    if not kind.startswith(("application/json", "text/event-stream")):
        kind = safe_type(kind)
    headers = decision_headers(routed.decision, kind)
    if routed.tried != 1:
        headers["x-llmrouter-attempts"] = str(routed.tried)
    if routed.target is not None and routed.target != routed.decision.target:
        headers["x-llmrouter-served-by"] = routed.target
    if routed.warnings:
        headers["x-llmrouter-warnings"] = "; ".join(map(_plain, routed.warnings))[:MAX_WARNINGS]
    return headers


def _plain(text: str) -> str:
    """A warning as a header may hold it; it can quote what the caller sent."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _router_usd(routed: Routed, chat: ChatRequest) -> float:
    """What this request's own decision cost; one named by its id was paid for by `/route`."""
    return 0.0 if chat.options.decision_id else routed.decision.router_cost_usd


def router_object(routed: Routed) -> bytes:
    """The `router` object, as JSON."""
    return orjson.dumps(_explained(routed))


def _explained(routed: Routed) -> dict[str, Any]:
    """The `router` object: the decision's own keys, what was attempted, and what it took."""
    completion = routed.completion
    shown = routed.decision.public()
    shown["attempts"] = [] if completion is None else [a.public() for a in completion.attempts]
    shown["cost_usd"] = None if completion is None else completion.cost_usd
    shown["latency_ms"] = None if completion is None else completion.latency_ms
    shown["router_cost_usd"] = routed.decision.router_cost_usd
    if completion is not None and completion.phases_ms is not None:
        shown["phases_ms"] = dict(completion.phases_ms)
    if completion is not None and completion.bounds is not None:
        shown["bounds"] = completion.bounds.public()
    return shown


def last_chunk(routed: Routed, first: ResponseEvent | None) -> bytes:
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
    return b"data: " + spliced(orjson.dumps(head), b"router", router_object(routed)) + b"\n\n"
