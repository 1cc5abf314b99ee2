"""GET /catalog and its edits. Edits are validated whole and swapped atomically, or refused."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.envelope import JSON
from llmrouter.api.intake import read_body
from llmrouter.api.options import wrong_type
from llmrouter.api.services import CALLER, SERVICES, CatalogDesk
from llmrouter.api.wire import parse_object
from llmrouter.domain.target import Target
from llmrouter.errors import BadRequest


async def catalog(request: web.Request) -> web.Response:
    """The catalog that serves, and what is wrong with newer files."""
    return _json(public(request.app[SERVICES].catalog))


async def put(request: web.Request) -> web.Response:
    """PUT /catalog/{id}: replace one target's file.

    The body is the file's text (`text/markdown`) or `{"text": …}`.
    """
    services = request.app[SERVICES]
    write = services.write
    assert write is not None, "the path exists only where a catalog can be written"  # noqa: S101
    text = edit_text(request.content_type, await read_body(request, services))
    await write(request.match_info["id"], text)
    return _json(public(services.catalog))


async def preview(request: web.Request) -> web.Response:
    """POST /catalog/preview: what `{id, text, last?}` would change."""
    services = request.app[SERVICES]
    look = services.preview
    assert look is not None, "the path exists only where edits can be previewed"  # noqa: S101
    document = parse_object(await read_body(request, services))
    for name in ("id", "text"):
        if not isinstance(document.get(name), str):
            raise wrong_type(name, "a string", document.get(name))
    return _json(dict(await look(document, request[CALLER])))


def edit_text(content_type: str, body: bytes) -> str:
    """The new text of a catalog file. Raises BadRequest."""
    if content_type == JSON:
        text = parse_object(body).get("text")
        if not isinstance(text, str):
            raise wrong_type("text", "a string", text)
        return text
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the file is not UTF-8: {error}", code="invalid_encoding") from None


def public(desk: CatalogDesk) -> dict[str, Any]:
    """The catalog as callers see it: no addresses, no names of variables that hold keys."""
    current = desk.current
    return {
        "version": current.version,
        "default": current.default,
        "quality": current.quality,
        "targets": [_target(target) for target in current.targets.values()],
        "warnings": list(current.warnings),
        "problems": [
            {"file": problem.file, "line": problem.line, "message": problem.message}
            for problem in desk.problems
        ],
    }


def _target(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "model": target.model,
        "provider": target.provider,
        "description": target.description,
        "enabled": target.enabled,
        "price": {
            "input": target.price.input,
            "cached_input": target.price.cached_input,
            "output": target.price.output,
        },
        "context_window": target.context_window,
        "max_output": target.max_output,
        "capabilities": sorted(target.capabilities),
        "tiers": None if target.tiers is None else sorted(target.tiers),
        "latency": {
            "ttft_ms": target.latency.ttft_ms,
            "tokens_per_s": target.latency.tokens_per_s,
        },
        "timeout_s": target.timeout_s,
    }


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers={"Content-Type": JSON})
