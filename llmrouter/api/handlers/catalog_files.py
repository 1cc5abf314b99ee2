"""Texts by path in a JSON body, as edits, checks, previews and canaries send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmrouter.api.router_options import wrong_type, wrong_value
from llmrouter.catalog.versions import path_problem
from llmrouter.errors import BadRequest

MOST_FILES: Final = 600


def edited_texts(files: object) -> dict[str, str | None]:
    """`{path: text or null}` over what is on disk. Raises BadRequest."""
    if not isinstance(files, dict):
        raise wrong_type("files", "an object of texts (or null) by path", files)
    if not 1 <= len(files) <= MOST_FILES:
        raise wrong_value("files", f"must hold 1 to {MOST_FILES} files, not {len(files)}")
    for path, text in files.items():
        if (wrong := path_problem(path)) is not None:
            raise BadRequest(wrong, param="files", code="invalid_value")
        if text is not None and not isinstance(text, str):
            raise wrong_type(f"files.{path}", "a string or null", text)
    return files


def whole_texts(files: object) -> Mapping[str, str]:
    """`{path: text}`, every file of a catalog. Raises BadRequest."""
    texts = {}
    for path, text in edited_texts(files).items():
        if text is None:
            raise wrong_type(f"files.{path}", "a string", None)
        texts[path] = text
    return texts
