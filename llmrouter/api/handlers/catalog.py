"""The catalog over HTTP: what serves, one target's file, its edits and how to undo them.

Edits are validated whole and swapped atomically, or refused. A file has an ETag, and so has the
catalog (its version): an edit with `If-Match` is refused with 412 when what its editor read is not
what is there, so that of two editors none loses an edit.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_body, read_object
from llmrouter.api.dependencies import CALLER, SERVICES, CatalogEditor, CatalogStatus
from llmrouter.api.error_response import JSON
from llmrouter.api.router_options import wrong_type
from llmrouter.catalog.editor import ANY, Edit, target_edit, target_path
from llmrouter.catalog.target_file import id_problem
from llmrouter.catalog.versions import Author, tag
from llmrouter.domain.target import Target
from llmrouter.errors import BadRequest, NotFound

MARKDOWN = "text/markdown; charset=utf-8"


async def catalog(request: web.Request) -> web.Response:
    """The catalog that serves, and what is wrong with newer files."""
    return _served(request)


async def file(request: web.Request) -> web.Response:
    """GET /catalog/{id}: the file's text as it is on disk, with the ETag an edit goes by."""
    text = await _editor(request).read(_known_path(request))
    return web.Response(
        body=text.encode("utf-8", "surrogateescape"),
        headers={"Content-Type": MARKDOWN, "ETag": f'"{tag(text)}"', "Cache-Control": "no-store"},
    )


async def put(request: web.Request) -> web.Response:
    """PUT /catalog/{id}: replace one target's file, or add it.

    The body is the file's text (`text/markdown`) or `{"text": …}`.
    """
    text = await edit_text(request)
    await _editor(request).save(_edit(request, text))
    return _served(request, tag(text))


async def delete(request: web.Request) -> web.Response:
    """DELETE /catalog/{id}: take a target out. What its file held can be brought back."""
    await _editor(request).save(_edit(request, None))
    return _served(request)


async def history(request: web.Request) -> web.Response:
    """GET /catalog/{id}/history: what the file held before its last edits, newest first."""
    versions = await _editor(request).history(_known_path(request))
    shown = [{"version": one.version, "at": one.at, "text": one.text} for one in versions]
    return _json({"id": request.match_info["id"], "versions": shown})


async def revert(request: web.Request) -> web.Response:
    """POST /catalog/{id}/revert: go back to a version, by default what was before the last edit."""
    body = await read_object(request, request.app[SERVICES], optional=True)
    version = body.get("version")
    if version is not None and not isinstance(version, str):
        raise wrong_type("version", "a string", version)
    await _editor(request).undo(_edit(request, None), version)
    return _served(request)


def seen(request: web.Request) -> frozenset[str] | None:
    """What an editor says it has read, as `catalog.editor.Edit` takes it."""
    if request.headers.get("If-None-Match", "").strip() == ANY:
        return frozenset()
    given = request.headers.getall("If-Match", None)
    if given is None:
        return None
    return frozenset(
        one.strip().removeprefix("W/").strip('"') for one in ",".join(given).split(",")
    )


def _edit(request: web.Request, text: str | None) -> Edit:
    author = Author(request[CALLER].name, "http")
    return target_edit(request.match_info["id"], text, seen(request), author)


def _known_path(request: web.Request) -> str:
    name = request.match_info["id"]
    if id_problem(name) is not None:
        raise NotFound(f"no target {name[:100]!r} in the catalog", code="target_not_found")
    return target_path(name)


def _editor(request: web.Request) -> CatalogEditor:
    editor = request.app[SERVICES].editor
    assert editor is not None, "the path exists only where the catalog can be edited"  # noqa: S101
    return editor


def _served(request: web.Request, etag: str | None = None) -> web.Response:
    """The catalog, under its own version or, after an edit, under the file's tag."""
    desk = request.app[SERVICES].catalog
    answer = _json(public(desk))
    answer.headers["ETag"] = f'"{etag or desk.current.version}"'
    return answer


async def edit_text(request: web.Request) -> str:
    """The new text of a catalog file, as `text/markdown` or in JSON. Raises BadRequest."""
    services = request.app[SERVICES]
    if request.content_type == JSON:
        text = (await read_object(request, services)).get("text")
        if not isinstance(text, str):
            raise wrong_type("text", "a string", text)
        return text
    try:
        return (await read_body(request, services)).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the file is not UTF-8: {error}", code="invalid_encoding") from None


def public(desk: CatalogStatus) -> dict[str, Any]:
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
            "cache_write": target.price.cache_write,
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
        "ttft_timeout_s": target.first_token_s,
        "stall_timeout_s": target.stall_timeout_s,
    }


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers={"Content-Type": JSON})
