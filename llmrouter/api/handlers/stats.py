"""GET /stats: counts, rates, spend and quality-to-cost, as the statistics add them up."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.dependencies import CALLER, SERVICES
from llmrouter.api.error_response import JSON


async def stats(request: web.Request) -> web.Response:
    """The figures the caller may see."""
    figures = await request.app[SERVICES].stats(request[CALLER])
    return web.Response(
        body=orjson.dumps(dict(figures), option=orjson.OPT_NON_STR_KEYS),
        headers={"Content-Type": JSON},
    )
