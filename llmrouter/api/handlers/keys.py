"""API keys over HTTP: made, listed and revoked with the admin key, without a restart."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_body
from llmrouter.api.dependencies import SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.request_parser import parse_object
from llmrouter.api.router_options import wrong_type
from llmrouter.auth.managed_keys import KeyWanted, ManagedKeys
from llmrouter.errors import BadRequest


async def keys(request: web.Request) -> web.Response:
    """GET /keys: every key that was made here, without its secret."""
    return _json({"keys": await _managed(request).keys()})


async def create(request: web.Request) -> web.Response:
    """POST /keys: `{"name", "tier"?, "allow"?: [target]}`; the answer holds the key, this once."""
    body = parse_object(await read_body(request, request.app[SERVICES]))
    if unknown := sorted(body.keys() - {"name", "tier", "allow"}):
        raise BadRequest(f"unknown key {unknown[0]!r}; there are name, tier, allow", param="name")
    name, tier, allow = body.get("name"), body.get("tier"), body.get("allow")
    if not isinstance(name, str):
        raise wrong_type("name", "a string", name)
    if tier is not None and not isinstance(tier, str):
        raise wrong_type("tier", "a string", tier)
    if allow is not None and (
        not isinstance(allow, list) or not all(isinstance(one, str) for one in allow)
    ):
        raise wrong_type("allow", "a list of targets", allow)
    return _json(await _managed(request).create(KeyWanted(name, tier, allow)), 201)


async def revoke(request: web.Request) -> web.Response:
    """DELETE /keys/{id}: the key is refused from now on, by every worker within a second."""
    await _managed(request).revoke(request.match_info["id"])
    return web.Response(status=204)


def _managed(request: web.Request) -> ManagedKeys:
    managed = request.app[SERVICES].managed_keys
    assert managed is not None, "the path exists only where keys can be made"  # noqa: S101
    return managed


def _json(value: Any, status: int = 200) -> web.Response:
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(value), status=status, headers=headers)
