"""The prompts directory over HTTP: its files, and its versions. All with the admin key.

An edit names every file that changes; it is checked whole, put in place together and recorded, or
refused. A file's ETag in `If-Match` (or in `seen`) keeps one editor from undoing what another has
saved meanwhile. `/catalog/{id}` edits the same files, one target at a time.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import CALLER, SERVICES, CatalogEditor
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.catalog import edit_text, public, seen
from llmrouter.api.handlers.catalog_files import edited_texts
from llmrouter.api.router_options import suggestion, wrong_type
from llmrouter.catalog.editor import Edit, Saved
from llmrouter.catalog.loader import ROUTING
from llmrouter.catalog.versions import Author, path_problem, tag
from llmrouter.errors import BadRequest, NotFound

PAGE: Final = 50
MOST: Final = 200
_KEYS: Final = ("files", "seen")


async def files(request: web.Request) -> web.Response:
    """GET /prompts: every file with its ETag, and the newest version's id."""
    version, texts = await _editor(request).files()
    desk = request.app[SERVICES].catalog
    return _json(
        {
            "version": version,
            "files": {path: {"text": text, "etag": tag(text)} for path, text in texts.items()},
            "problems": public(desk)["problems"],
        }
    )


async def edit(request: web.Request) -> web.Response:
    """PUT /prompts: `{"files": {path: text or null}, "seen"?: {path: etag}}`, all or none."""
    body = await read_object(request, request.app[SERVICES])
    for name in body:
        if name not in _KEYS:
            message = f"unknown key {name[:64]!r}{suggestion(name, _KEYS)}"
            raise BadRequest(message, param=name[:64], code="unknown_parameter")
    known = body.get("seen") or {}
    if not isinstance(known, dict) or not all(isinstance(one, str) for one in known.values()):
        raise wrong_type("seen", "an object of ETags by path", known)
    read = {path: frozenset({etag.strip('"')}) for path, etag in known.items()}
    wanted = Edit(edited_texts(body.get("files")), _author(request), read)
    return _saved(request, await _editor(request).save(wanted))


async def file(request: web.Request) -> web.Response:
    """GET /prompts/{path}: a file's text as it is on disk."""
    path = _path(request)
    text = await _editor(request).read(path)
    media = "application/yaml" if path == ROUTING else "text/markdown; charset=utf-8"
    headers = {"Content-Type": media, "ETag": f'"{tag(text)}"', "Cache-Control": "no-store"}
    return web.Response(body=text.encode("utf-8", "surrogateescape"), headers=headers)


async def put(request: web.Request) -> web.Response:
    """PUT /prompts/{path}: replace one file, or add it. The body is its text or `{"text": …}`."""
    path = _path(request)
    text = await edit_text(request)
    saved = await _editor(request).save(_edit(request, path, text))
    return _saved(request, saved, tag(text))


async def delete(request: web.Request) -> web.Response:
    """DELETE /prompts/{path}: take a file away."""
    return _saved(request, await _editor(request).save(_edit(request, _path(request), None)))


async def versions(request: web.Request) -> web.Response:
    """GET /prompts/versions: who edited what, when and how, newest first."""
    limit = _number(request, "limit", PAGE)
    known = list(await _editor(request).versions())
    before = request.query.get("before")
    end = len(known)
    if before is not None:
        places = [place for place, one in enumerate(known) if one.id == before]
        if not places:
            raise BadRequest(f"there is no version {before[:20]!r}", param="before")
        end = places[0]
    start = max(end - min(limit, MOST), 0)
    shown = [known[at].public(known[at - 1] if at else None) for at in range(start, end)][::-1]
    following = known[start].id if start else None
    return _json({"versions": shown, "next": following})


async def version(request: web.Request) -> web.Response:
    """GET /prompts/versions/{version}: one version with its texts."""
    name = request.match_info["version"]
    texts = await _editor(request).texts(name)
    known = list(await _editor(request).versions())
    at = next(place for place, one in enumerate(known) if one.id == name)
    return _json({**known[at].public(known[at - 1] if at else None), "files": dict(texts)})


async def diff(request: web.Request) -> web.Response:
    """GET /prompts/diff?from=3&to=12: what differs, text by text and field by field."""
    older = request.query.get("from")
    if older is None:
        raise BadRequest(
            "from is missing: name the version to compare with",
            param="from",
            code="missing_required_parameter",
        )
    return _json((await _editor(request).diff(older, request.query.get("to"))).public())


async def revert(request: web.Request) -> web.Response:
    """POST /prompts/versions/{version}/revert: make the whole directory what it was."""
    name = request.match_info["version"]
    return _saved(request, await _editor(request).revert(name, request[CALLER].name))


def _edit(request: web.Request, path: str, text: str | None) -> Edit:
    known = seen(request)
    return Edit({path: text}, _author(request), {} if known is None else {path: known})


def _path(request: web.Request) -> str:
    path = request.match_info["path"]
    if (wrong := path_problem(path)) is not None:
        raise NotFound(wrong, code="file_not_found")
    return path


def _number(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and int(given[:9]) > 0):
        raise BadRequest(f"{name} must be a whole number from 1 to {MOST}", param=name)
    return int(given[:9])


def _author(request: web.Request) -> Author:
    return Author(request[CALLER].name, "http")


def _editor(request: web.Request) -> CatalogEditor:
    editor = request.app[SERVICES].editor
    assert editor is not None, "the path exists only where the catalog can be edited"  # noqa: S101
    return editor


def _saved(request: web.Request, saved: Saved, etag: str | None = None) -> web.Response:
    answer = _json({"version": saved.version, "catalog": public(request.app[SERVICES].catalog)})
    if etag is not None:
        answer.headers["ETag"] = f'"{etag}"'
    return answer


def _json(value: Any) -> web.Response:
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(value, default=str), headers=headers)
