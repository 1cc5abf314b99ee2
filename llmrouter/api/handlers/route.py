"""POST /route: the decision, and nothing is executed."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.body_reader import decision_headers, read_request
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.request_parser import Endpoint, encode_decision
from llmrouter.domain.chat import Caller
from llmrouter.fastpath.response import FullResponse


async def route(request: web.Request, services: Dependencies, caller: Caller) -> web.Response:
    """Decide and answer the decision."""
    chat = await read_request(request, services, Endpoint.ROUTE)
    decision = await services.gateway.decide(chat, caller)
    if decision.router_cost_usd and not services.keyring.open:
        services.telemetry.spent(caller.name, decision.router_cost_usd)
    if services.limits is not None:
        await services.limits.charge(caller, decision.router_cost_usd)
    return FullResponse(encode_decision(decision), decision_headers(decision))
