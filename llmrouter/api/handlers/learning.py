"""GET /learning: which tasks the learned model answers, and why; and the way back."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.dependencies import SERVICES
from llmrouter.api.error_response import JSON


async def learning(request: web.Request) -> web.Response:
    """Trust by task, the model that serves, and what it rests on, as this worker sees them."""
    shown = request.app[SERVICES].learning
    assert shown is not None, "the path exists only where something is learned"  # noqa: S101
    return _json(shown())


async def roll_back(request: web.Request) -> web.Response:
    """POST /learning/rollback: the model before this one serves again, with its trust."""
    back = request.app[SERVICES].roll_back
    assert back is not None, "the path exists only where something is learned"  # noqa: S101
    return _json(await back())


def _json(value: object) -> web.Response:
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(value), headers=headers)
