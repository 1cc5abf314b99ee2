"""The drop-in for OpenAI clients: bodies are the upstream's own, the decision is in headers."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_request
from llmrouter.api.completion_response import execute
from llmrouter.api.dependencies import SERVICES, Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.request_parser import Endpoint
from llmrouter.domain.chat import Caller
from llmrouter.errors import ModelNotFound

AUTO = "auto"


async def chat_completions(
    request: web.Request, services: Dependencies, caller: Caller
) -> web.StreamResponse:
    """POST /v1/chat/completions: `auto` routes, a target's id pins it."""
    chat = await read_request(request, services, Endpoint.OPENAI)
    return await execute(request, services, caller, chat, explain=False)


async def models(request: web.Request) -> web.Response:
    """GET /v1/models: `auto` and every enabled target."""
    return _json({"object": "list", "data": list(_models(request.app[SERVICES]).values())})


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}: one of them."""
    name = request.match_info["id"]
    services = request.app[SERVICES]
    known = _models(services)
    target = services.gateway.catalog.current.named(name)
    name = name if target is None else target.id
    if name not in known:
        raise ModelNotFound(f'there is no model "{name[:200]}"', param="model")
    return _json(known[name])


def _models(services: Dependencies) -> dict[str, dict[str, Any]]:
    created = int(services.started_at)
    auto = {"id": AUTO, "object": "model", "created": created, "owned_by": "llmrouter"}
    models: dict[str, dict[str, Any]] = {AUTO: auto}
    for target in services.gateway.catalog.current.enabled:
        models[target.id] = {
            "id": target.id,
            "object": "model",
            "created": created,
            "owned_by": target.provider,
            "aliases": list(target.aliases),
            "context_length": target.context_window,
            "max_output_tokens": target.max_output,
            "capabilities": sorted(target.capabilities),
            "pricing": {
                "input": target.price.input,
                "cached_input": target.price.cached_input,
                "output": target.price.output,
                "unit": "USD per 1M tokens",
            },
        }
    return models


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers={"Content-Type": JSON})
