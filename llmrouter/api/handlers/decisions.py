"""GET /decisions: what was decided lately, for the caller's own tenant alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.dependencies import CALLER, SERVICES, Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.router_options import shown
from llmrouter.domain.chat import Caller
from llmrouter.errors import BadRequest, NotFound

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


async def decisions(request: web.Request) -> web.Response:
    """The newest decisions, newest first; `limit` is 1 to 1000."""
    limit = parse_limit(request.query.get("limit"))
    recent = await request.app[SERVICES].gateway.recent(limit, request[CALLER])
    return web.Response(body=orjson.dumps({"decisions": recent}), headers={"Content-Type": JSON})


async def decision(request: web.Request) -> web.Response:
    """GET /decisions/{id}: one decision."""
    name = request.match_info["id"]
    found = await _find(request.app[SERVICES], name, request[CALLER])
    if found is None:
        raise NotFound(f"there is no decision {shown(name)}", code="decision_not_found")
    return web.Response(body=orjson.dumps(found), headers={"Content-Type": JSON})


def parse_limit(text: str | None) -> int:
    """Check the `limit` of a query. Raises BadRequest."""
    if text is None:
        return DEFAULT_LIMIT
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(
            f"limit must be a whole number from 1 to {MAX_LIMIT}",
            param="limit",
            code="invalid_value",
        )
    return limit


async def _find(services: Dependencies, name: str, caller: Caller) -> Mapping[str, Any] | None:
    if services.find_decision is not None:
        return await services.find_decision(name, caller)
    for recent in await services.gateway.recent(MAX_LIMIT, caller):
        if recent.get("decision_id") == name:
            return recent
    return None
