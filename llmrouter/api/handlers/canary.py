"""A canary over HTTP: an edited catalog takes a share of the sessions. All with the admin key."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_body
from llmrouter.api.dependencies import SERVICES, CanaryControl
from llmrouter.api.error_response import JSON
from llmrouter.api.request_parser import parse_object
from llmrouter.api.router_options import wrong_type
from llmrouter.catalog.loader import ROUTER, ROUTING, TARGETS, VERIFIER
from llmrouter.catalog.target_file import id_problem
from llmrouter.errors import BadRequest

DEFAULT_SHARE = 0.1


async def status(request: web.Request) -> web.Response:
    """GET /canary: its state, both arms' figures, and the verdict."""
    return _json(await _control(request).status())


async def start(request: web.Request) -> web.Response:
    """POST /canary: `{"files": {path: text}, "share": 0.1}`; the files are the whole catalog."""
    body = parse_object(await read_body(request, request.app[SERVICES]))
    files, share = body.get("files"), body.get("share", DEFAULT_SHARE)
    if not isinstance(files, dict) or not all(isinstance(t, str) for t in files.values()):
        raise wrong_type("files", "an object of texts by path", files)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise wrong_type("share", "a number", share)
    for path in files:
        check_path(path)
    return _json(await _control(request).start(files, float(share)), 201)


async def promote(request: web.Request) -> web.Response:
    """POST /canary/promote: its files become the current catalog."""
    return _json(await _control(request).promote())


async def stop(request: web.Request) -> web.Response:
    """POST /canary/stop: every session gets the current catalog again."""
    return _json(await _control(request).stop())


def check_path(path: str) -> None:
    """Refuse what is no file of a catalog. Raises BadRequest."""
    folder, _, name = path.rpartition("/")
    if path in (ROUTER, ROUTING, VERIFIER):
        return
    if folder != TARGETS or not name.endswith(".md") or id_problem(name.removesuffix(".md")):
        raise BadRequest(
            f"{path[:100]!r} is no file of a catalog: write {ROUTING}, {ROUTER}, {VERIFIER} or "
            f"{TARGETS}/<id>.md",
            param="files",
            code="invalid_value",
        )


def _control(request: web.Request) -> CanaryControl:
    control = request.app[SERVICES].canary
    assert control is not None, "the path exists only where there are canaries"  # noqa: S101
    return control


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers={"Content-Type": JSON})
