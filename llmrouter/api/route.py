"""POST /route: the decision, and nothing is executed."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.intake import decision_headers, read_request
from llmrouter.api.services import Services
from llmrouter.api.whole import Whole
from llmrouter.api.wire import Endpoint, encode_decision
from llmrouter.domain.chat import Caller


async def route(request: web.Request, services: Services, caller: Caller) -> web.Response:
    """Decide and answer the decision."""
    chat = await read_request(request, services, Endpoint.ROUTE)
    decision = await services.gateway.decide(chat, caller)
    if decision.router_cost_usd and not services.keyring.open:
        services.telemetry.spent(caller.name, decision.router_cost_usd)
    if services.limits is not None:
        await services.limits.charge(caller, decision.router_cost_usd)
    return Whole(encode_decision(decision), decision_headers(decision))
