"""POST /catalog/route: the decision that edited files would make. Nothing is written or kept."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import CALLER, SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.preview import edits_of
from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.api.router_options import wrong_type


async def route(request: web.Request) -> web.Response:
    """`{"request": a body of /route, "files" or "version"}`, as `/catalog/preview` takes them."""
    services = request.app[SERVICES]
    body = await read_object(request, services)
    asked = body.pop("request", None)
    if not isinstance(asked, dict):
        raise wrong_type("request", "an object", asked)
    chat = parse(orjson.dumps(asked), Endpoint.ROUTE, limits=services.body_limits)
    edits, _ = await edits_of(body, services)
    assert services.trial is not None, "the path exists only where edits are"  # noqa: S101
    decision = await services.trial(edits, chat, request[CALLER])
    return web.Response(body=orjson.dumps(decision.public()), headers={"Content-Type": JSON})
