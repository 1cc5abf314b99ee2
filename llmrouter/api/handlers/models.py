"""The models that callers can ask for: `auto` and every enabled target.

In OpenAI's shape, and in Anthropic's for callers that send `anthropic-version`.
"""

from __future__ import annotations

import datetime
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.dependencies import SERVICES, Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.formats import MESSAGES, new_request_id, own_headers, spoken_by
from llmrouter.domain.target import Target
from llmrouter.errors import BadRequest, ModelNotFound

AUTO = "auto"
MOST = 1000
"""Models on a page of Anthropic's list; as many are there without `limit`."""
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


async def models(request: web.Request) -> web.Response:
    """GET /v1/models: `auto` and every enabled target."""
    if spoken_by(request) is MESSAGES:
        return _json(_page(request, list(_infos(request.app[SERVICES]).values())), request)
    found = list(_models(request.app[SERVICES]).values())
    return _json({"object": "list", "data": found}, request)


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}: one of them."""
    name = request.match_info["id"]
    services = request.app[SERVICES]
    known = _infos(services) if spoken_by(request) is MESSAGES else _models(services)
    target = services.gateway.catalog.current.named(name)
    name = name if target is None else target.id
    if name not in known:
        raise ModelNotFound(f'there is no model "{name[:200]}"', param="model")
    return _json(known[name], request)


def _models(services: Dependencies) -> dict[str, dict[str, Any]]:
    """In OpenAI's shape, by id; context, limits, capabilities and price beside it."""
    created = int(services.started_at)
    auto = {"id": AUTO, "object": "model", "created": created, "owned_by": "llmrouter"}
    found: dict[str, dict[str, Any]] = {AUTO: auto}
    for target in services.gateway.catalog.current.enabled:
        found[target.id] = {
            "id": target.id,
            "object": "model",
            "created": created,
            "owned_by": target.provider,
            "aliases": list(target.aliases),
            "context_length": target.context_window,
            "max_output_tokens": target.max_output,
            "capabilities": sorted(target.capabilities),
            "pricing": _pricing(target),
        }
    return found


def _infos(services: Dependencies) -> dict[str, dict[str, Any]]:
    """In Anthropic's shape, by id; aliases and price beside it."""
    started = datetime.datetime.fromtimestamp(int(services.started_at), datetime.UTC)
    common = {"type": "model", "created_at": started.strftime("%Y-%m-%dT%H:%M:%SZ")}
    common |= {"lifecycle": "active"}
    targets = services.gateway.catalog.current.enabled
    able = frozenset[str]().union(*(target.capabilities for target in targets))
    found: dict[str, dict[str, Any]] = {
        AUTO: {
            "id": AUTO,
            "display_name": "Auto: the router chooses",
            **common,
            "max_input_tokens": max((t.context_window for t in targets), default=None),
            "max_tokens": max((t.max_output for t in targets if t.max_output), default=None),
            "capabilities": _capabilities(able),
        }
    }
    for target in targets:
        found[target.id] = {
            "id": target.id,
            "display_name": target.id,
            **common,
            "max_input_tokens": target.context_window,
            "max_tokens": target.max_output,
            "capabilities": _capabilities(target.capabilities),
            "aliases": list(target.aliases),
            "pricing": _pricing(target),
        }
    return found


def _pricing(target: Target) -> dict[str, Any]:
    return {
        "input": target.price.input,
        "cached_input": target.price.cached_input,
        "output": target.price.output,
        "unit": "USD per 1M tokens",
    }


def _capabilities(able: frozenset[str]) -> dict[str, Any]:
    """Anthropic's capabilities, each said of; what only Anthropic hosts is not offered."""

    def one(name: str) -> dict[str, bool]:
        return {"supported": name in able}

    thinks, no = one("reasoning"), {"supported": False}
    return {
        "batch": no,
        "citations": no,
        "code_execution": no,
        "context_management": no,
        "effort": {**thinks, **dict.fromkeys(_EFFORTS, thinks)},
        "image_input": one("vision"),
        "pdf_input": one("files"),
        "server_tools": {**no, "code_execution": no, "web_search": no},
        "structured_outputs": one("json_schema"),
        "thinking": {
            **thinks,
            "types": {
                "adaptive": thinks,
                "between_tools": no,
                "disabled": {"supported": True},
                "enabled": thinks,
            },
        },
    }


def _page(request: web.Request, found: list[dict[str, Any]]) -> dict[str, Any]:
    """A page of the list, by `after_id`, `before_id` and `limit`. Raises BadRequest."""
    ids = [one["id"] for one in found]
    first, last = 0, len(found)
    for name in ("after_id", "before_id"):
        cursor = request.query.get(name)
        if cursor is None:
            continue
        if cursor not in ids:
            raise BadRequest(f'{name}: there is no model "{cursor[:200]}"', param=name)
        if name == "after_id":
            first = ids.index(cursor) + 1
        else:
            last = ids.index(cursor)
    given = request.query.get("limit", str(MOST))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST):
        raise BadRequest(f"limit must be a number from 1 to {MOST}", param="limit")
    backwards = "before_id" in request.query and "after_id" not in request.query
    wanted = found[first:last]
    page = wanted[-int(given) :] if backwards else wanted[: int(given)]
    return {
        "data": page,
        "has_more": len(page) < len(wanted),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _json(value: object, request: web.Request) -> web.Response:
    headers = {"Content-Type": JSON}
    spoken = spoken_by(request)
    if spoken is MESSAGES:
        headers |= own_headers(spoken, request.headers, new_request_id())
    return web.Response(body=orjson.dumps(value), headers=headers)
