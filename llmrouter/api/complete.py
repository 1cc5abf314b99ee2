"""POST /complete: the upstream's completion, plus a `router` object that explains it."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.intake import read_request
from llmrouter.api.relay import execute
from llmrouter.api.services import CALLER, SERVICES
from llmrouter.api.wire import Endpoint


async def complete(request: web.Request) -> web.StreamResponse:
    """Decide, execute and explain."""
    services = request.app[SERVICES]
    caller = request[CALLER]
    chat = await read_request(request, services, caller, Endpoint.COMPLETE)
    return await execute(request, services, caller, chat, explain=True)
