"""POST /complete: the upstream's completion, plus a `router` object that explains it."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.body_reader import read_request
from llmrouter.api.completion_response import execute
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.request_parser import Endpoint
from llmrouter.domain.chat import Caller


async def complete(
    request: web.Request, services: Dependencies, caller: Caller
) -> web.StreamResponse:
    """Decide, execute and explain."""
    chat = await read_request(request, services, Endpoint.COMPLETE)
    return await execute(request, services, caller, chat, explain=True)
