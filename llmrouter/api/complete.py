"""POST /complete: the upstream's completion, plus a `router` object that explains it."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.intake import read_request
from llmrouter.api.relay import execute
from llmrouter.api.services import Services
from llmrouter.api.wire import Endpoint
from llmrouter.domain.chat import Caller


async def complete(request: web.Request, services: Services, caller: Caller) -> web.StreamResponse:
    """Decide, execute and explain."""
    chat = await read_request(request, services, Endpoint.COMPLETE)
    return await execute(request, services, caller, chat, explain=True)
