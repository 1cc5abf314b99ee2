"""POST /route: the decision, and nothing is executed."""

from __future__ import annotations

import asyncio

from aiohttp import web

from llmrouter.api.body_reader import decision_headers, read_request
from llmrouter.api.completion_response import left_while_deciding_usd
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.request_parser import Endpoint, encode_decision
from llmrouter.domain.chat import Caller
from llmrouter.fastpath.response import FullResponse


async def route(request: web.Request, services: Dependencies, caller: Caller) -> web.Response:
    """Decide and answer the decision."""
    chat = await read_request(request, services, Endpoint.ROUTE)
    limits, router_usd = services.active_limits, 0.0
    held = None
    if limits is not None:
        held = await limits.reserve_routing(caller, chat, services.gateway.catalog.current)
    try:
        decision = await services.gateway.decide(chat, caller)
        router_usd = decision.router_cost_usd
    except asyncio.CancelledError:
        router_usd = left_while_deciding_usd(services, chat)
        raise
    finally:
        if router_usd and not services.keyring.open:
            services.telemetry.spent(caller.name, router_usd)
        if limits is not None and held is not None:
            await limits.settle(caller, held, None, router_usd)
        elif limits is not None:
            await limits.charge(caller, router_usd)
    return FullResponse(encode_decision(decision), decision_headers(decision))
