"""API keys over HTTP: made, listed, changed and revoked with the admin key, without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.router_options import suggestion, wrong_type
from llmrouter.auth.managed_keys import CHANGEABLE, KeyWanted, ManagedKeys
from llmrouter.errors import BadRequest
from llmrouter.ratelimit.policies import PoliciesInvalid, policy_of

WANTED: Final = ("name", *CHANGEABLE, "admin")


async def keys(request: web.Request) -> web.Response:
    """GET /keys: the environment's and every key that was made here, without their secrets."""
    limits = request.app[SERVICES].limits
    known = await _managed(request).keys()
    if limits is not None:
        usage = await asyncio.gather(*(limits.usage(one["name"]) for one in known))
        known = [{**one, "usage": used} for one, used in zip(known, usage, strict=True)]
    return _json({"keys": known})


async def create(request: web.Request) -> web.Response:
    """POST /keys: `{"name", "tier"?, "allow"?, "limits"?, "admin"?}`; the key is told this once."""
    body = await _body(request, WANTED)
    name, admin = body.get("name"), body.get("admin", False)
    if not isinstance(name, str):
        raise wrong_type("name", "a string", name)
    if not isinstance(admin, bool):
        raise wrong_type("admin", "true or false", admin)
    wanted = KeyWanted(name, body.get("tier"), body.get("allow"), body.get("limits"), admin)
    return _json(await _managed(request).create(wanted), 201)


async def change(request: web.Request) -> web.Response:
    """PATCH /keys/{id}: `{"tier"?, "allow"?, "limits"?}`; null takes one away."""
    body = await _body(request, CHANGEABLE)
    if not body:
        raise BadRequest(f"nothing to change: send {', '.join(CHANGEABLE)}")
    return _json(await _managed(request).change(request.match_info["id"], body))


async def revoke(request: web.Request) -> web.Response:
    """DELETE /keys/{id}: the key is refused from now on, by every worker within a second."""
    await _managed(request).revoke(request.match_info["id"])
    return web.Response(status=204)


async def _body(request: web.Request, allowed: tuple[str, ...]) -> dict[str, Any]:
    """The body, of which what can be changed is checked. Raises BadRequest."""
    body = await read_object(request, request.app[SERVICES])
    for name in body:
        if name not in allowed:
            message = f"unknown key {name[:64]!r}{suggestion(name, allowed)}"
            raise BadRequest(message, param=name[:64], code="unknown_parameter")
    tier, allow, limits = (body.get(name) for name in CHANGEABLE)
    if tier is not None and not isinstance(tier, str):
        raise wrong_type("tier", "a string", tier)
    if allow is not None and not (
        isinstance(allow, list) and all(isinstance(one, str) for one in allow)
    ):
        raise wrong_type("allow", "a list of targets", allow)
    if limits is not None:
        body["limits"] = _limits(limits)
    return body


def _limits(limits: object) -> Mapping[str, str] | None:
    if not isinstance(limits, dict) or not all(isinstance(one, str) for one in limits.values()):
        raise wrong_type("limits", 'an object such as {"requests": "60/m"}', limits)
    try:
        policy_of(limits)
    except PoliciesInvalid as error:
        raise BadRequest(str(error), param="limits", code="invalid_value") from None
    return limits or None


def _managed(request: web.Request) -> ManagedKeys:
    managed = request.app[SERVICES].managed_keys
    assert managed is not None, "the path exists only where keys can be made"  # noqa: S101
    return managed


def _json(value: Any, status: int = 200) -> web.Response:
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(value), status=status, headers=headers)
