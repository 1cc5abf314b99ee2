"""GET /stats, /stats/series and /stats/frontier, of all workers together."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.dependencies import CALLER, SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.errors import BadRequest

WINDOWS = ("hour", "day", "fortnight")


async def stats(request: web.Request) -> web.Response:
    """The figures the caller may see, of the last fortnight unless `window` says otherwise."""
    window = window_of(request, "fortnight")
    return _json(await request.app[SERVICES].stats(request[CALLER], window))


async def series(request: web.Request) -> web.Response:
    """GET /stats/series: the same over time, in pieces of `window` (hour, day, fortnight)."""
    find = request.app[SERVICES].series
    assert find is not None, "the path exists only where there are series"  # noqa: S101
    return _json(await find(request[CALLER], window_of(request, "day")))


async def frontier(request: web.Request) -> web.Response:
    """GET /stats/frontier: how well, and at what price, the router expects targets to answer."""
    find = request.app[SERVICES].frontier
    assert find is not None, "the path exists only where beliefs are kept"  # noqa: S101
    return _json(await find(request[CALLER]))


def window_of(request: web.Request, default: str) -> str:
    """The window that a query names. Raises BadRequest."""
    window = request.query.get("window", default)
    if window not in WINDOWS:
        raise BadRequest(
            f"window must be one of {', '.join(WINDOWS)}", param="window", code="invalid_value"
        )
    return window


def _json(figures: object) -> web.Response:
    return web.Response(
        body=orjson.dumps(figures, option=orjson.OPT_NON_STR_KEYS),
        headers={"Content-Type": JSON},
    )
