"""The drop-ins for clients of other wire formats than chat completions.

Bodies are what the clients know: relayed from a target that speaks the same format, translated
from any other. The decision is in headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_as
from llmrouter.api.completion_response import execute
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.formats import MESSAGES, new_request_id, own_headers
from llmrouter.api.request_parser import Endpoint
from llmrouter.domain.chat import Caller

Routed = Callable[[web.Request, Dependencies, Caller], Awaitable[web.StreamResponse]]
RELAYED: tuple[Endpoint, ...] = (
    Endpoint.MESSAGES,
    Endpoint.RESPONSES,
    Endpoint.EMBEDDINGS,
    Endpoint.COMPLETIONS,
    Endpoint.DECISIONS,
    Endpoint.SYSTEMONE,
)


def drop_in(endpoint: Endpoint) -> Routed:
    """The handler of one endpoint: `auto` routes, a target's id pins it."""

    async def answer(
        request: web.Request, services: Dependencies, caller: Caller
    ) -> web.StreamResponse:
        chat = await read_as(request, services, endpoint)
        return await execute(request, services, caller, chat, explain=False)

    return answer


async def count_tokens(
    request: web.Request, services: Dependencies, caller: Caller
) -> web.StreamResponse:
    """POST /v1/messages/count_tokens: an estimate, as different targets count differently."""
    chat = await read_as(request, services, Endpoint.COUNT)
    tokens = services.gateway.input_tokens(chat, caller)
    headers = {
        "Content-Type": JSON,
        "x-llmrouter-warnings": "input_tokens is an estimate",
        **own_headers(MESSAGES, request.headers, new_request_id()),
    }
    return web.Response(body=orjson.dumps({"input_tokens": tokens}), headers=headers)
