"""A canary over HTTP: an edited catalog takes a share of the sessions. All with the admin key."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import CALLER, SERVICES, CanaryControl
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.catalog_files import whole_texts
from llmrouter.api.router_options import wrong_type

DEFAULT_SHARE = 0.1


async def status(request: web.Request) -> web.Response:
    """GET /canary: its state, both arms' figures, and the verdict."""
    return _json(await _control(request).status())


async def start(request: web.Request) -> web.Response:
    """POST /canary: `{"files": {path: text}, "share": 0.1}`; the files are the whole catalog."""
    body = await read_object(request, request.app[SERVICES])
    share = body.get("share", DEFAULT_SHARE)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise wrong_type("share", "a number", share)
    files = whole_texts(body.get("files"))
    return _json(await _control(request).start(files, float(share)), 201)


async def promote(request: web.Request) -> web.Response:
    """POST /canary/promote: its files become the current catalog."""
    return _json(await _control(request).promote(request[CALLER].name))


async def stop(request: web.Request) -> web.Response:
    """POST /canary/stop: every session gets the current catalog again."""
    return _json(await _control(request).stop())


def _control(request: web.Request) -> CanaryControl:
    control = request.app[SERVICES].canary
    assert control is not None, "the path exists only where there are canaries"  # noqa: S101
    return control


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers={"Content-Type": JSON})
