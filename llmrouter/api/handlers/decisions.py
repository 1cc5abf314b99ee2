"""GET /decisions: what was decided lately, for the caller's own tenant alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.dependencies import CALLER, SERVICES, Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.router_options import shown
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision_query import OUTCOMES, DecisionQuery
from llmrouter.errors import BadRequest, NotFound, StoreFailed

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


async def decisions(request: web.Request) -> web.Response:
    """Past decisions, newest first: `limit` (1 to 1000), `before` and filters by name.

    While the store is down, this worker's own newest ones are shown, unfiltered.
    """
    services, caller = request.app[SERVICES], request[CALLER]
    query = parse_query(request.query)
    if services.decisions is not None:
        try:
            page = await services.decisions(query, caller)
            return web.Response(body=orjson.dumps(page), headers={"Content-Type": JSON})
        except StoreFailed as failure:
            log.warning("decisions not read: %s", failure)
    recent = await services.gateway.recent(query.limit, caller)
    return web.Response(body=orjson.dumps({"decisions": recent}), headers={"Content-Type": JSON})


async def decision(request: web.Request) -> web.Response:
    """GET /decisions/{id}: one decision."""
    name = request.match_info["id"]
    found = await _find(request.app[SERVICES], name, request[CALLER])
    if found is None:
        raise NotFound(f"there is no decision {shown(name)}", code="decision_not_found")
    return web.Response(body=orjson.dumps(found), headers={"Content-Type": JSON})


def parse_query(given: Mapping[str, str]) -> DecisionQuery:
    """The filters of a query. Raises BadRequest."""
    others = ("limit", "brief")
    names = [part.name for part in fields(DecisionQuery) if part.name not in others]
    for name in given:
        if name not in (*names, *others):
            raise BadRequest(
                f"unknown filter {shown(name)}; there are {', '.join((*others, *names))}",
                param=name,
            )
    if given.get("outcome") not in (None, *OUTCOMES):
        raise BadRequest(f"outcome must be one of {', '.join(OUTCOMES)}", param="outcome")
    if given.get("brief") not in (None, "true", "false"):
        raise BadRequest("brief must be true or false", param="brief", code="invalid_value")
    return DecisionQuery(
        parse_limit(given.get("limit")),
        **{name: given[name] for name in names if name in given},
        brief=given.get("brief") == "true",
    )


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
