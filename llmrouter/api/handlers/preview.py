"""POST /catalog/preview: what an edit would change, before it does. Nothing is written.

The edit is checked as `PUT /catalog/{id}` checks it, then recorded requests are decided under the
catalog that serves and under the edited one, in another process.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import SERVICES, CatalogEditor, Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.catalog_files import edited_texts
from llmrouter.api.router_options import shown, suggestion, wrong_type, wrong_value
from llmrouter.catalog.loader import TARGETS, Edits
from llmrouter.catalog.target_file import id_problem
from llmrouter.errors import BadRequest

LAST: Final = 1000
MOST: Final = 10_000
KEYS: Final = ("id", "text", "files", "version", "last")


async def preview(request: web.Request) -> web.Response:
    """The report; a 400 with file and line where the edit could not be served."""
    services = request.app[SERVICES]
    look = services.preview
    assert look is not None, "the path exists only where edits can be previewed"  # noqa: S101
    edits, last = await edits_of(await read_object(request, services), services)
    return web.Response(body=await look(edits, last), headers={"Content-Type": JSON})


async def edits_of(document: dict[str, Any], services: Dependencies) -> tuple[Edits, int]:
    """What a body asks to try, and `last`. Raises BadRequest, NotFound."""
    edits, last = parse_edits(document)
    if isinstance(edits, str):
        edits = await _reverted(services.editor, edits)
    return edits, last


async def _reverted(editor: CatalogEditor | None, version: str) -> Edits:
    """The edits that reverting to a version would make. Raises NotFound."""
    assert editor is not None, "the path exists only where the catalog can be edited"  # noqa: S101
    _, texts = await editor.files()
    return {**dict.fromkeys(texts), **await editor.texts(version)}


def parse_edits(document: dict[str, Any]) -> tuple[Edits | str, int]:
    """`{id, text}` or `{files: {path: text}}`, where null takes a file away, and `last`.

    `{version}` is returned as the id of the version to revert to. Raises BadRequest.
    """
    for name in document:
        if name not in KEYS:
            raise BadRequest(
                f"unknown key {shown(name)}{suggestion(name, KEYS)}",
                param=name[:64],
                code="unknown_parameter",
            )
    last = _last(document.get("last"))
    if "version" in document:
        return _version(document), last
    return (_files if "files" in document else _file)(document), last


def _version(document: dict[str, Any]) -> str:
    for other in ("id", "text", "files"):
        if other in document:
            raise wrong_value(other, "cannot stand beside version; send one of them")
    if not isinstance(document["version"], str):
        raise wrong_type("version", "a string", document["version"])
    return document["version"]


def _file(document: dict[str, Any]) -> Edits:
    name = document.get("id")
    if not isinstance(name, str):
        raise wrong_type("id", "a string", name)
    if (wrong := id_problem(name)) is not None:
        raise BadRequest(wrong, param="id", code="invalid_value")
    if "text" not in document:
        raise BadRequest(
            "text is missing: send the file's new text, or null to take the target out",
            param="text",
            code="missing_required_parameter",
        )
    return {f"{TARGETS}/{name}.md": _text("text", document["text"])}


def _files(document: dict[str, Any]) -> Edits:
    for other in ("id", "text"):
        if other in document:
            raise wrong_value(other, "cannot stand beside files; send one of them")
    return edited_texts(document["files"])


def _text(param: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise wrong_type(param, "a string or null", value)
    return value


def _last(value: object) -> int:
    if value is None:
        return LAST
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type("last", "a whole number", value)
    if value % 1 or not 1 <= value <= MOST:
        raise wrong_value("last", f"must be a whole number from 1 to {MOST}, not {value:g}")
    return int(value)
