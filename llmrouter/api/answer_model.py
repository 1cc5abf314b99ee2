"""Which model's name an answer carries: the upstream's own, or the one that the caller asked for.

Most clients only print it. Claude Code compares it with what it asked for, and drops its thinking
where the two differ. The real model is in the headers in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import orjson

from llmrouter.execution.json_splice import splice
from llmrouter.upstream.response_parser import parsed
from llmrouter.upstream.sse_decoder import data_of

AnswerModel = Literal["auto", "asked", "upstream"]
_DEPENDS = ("claude-cli/", "claude-code/")


def name_to_show(setting: AnswerModel, asked: str | None, headers: Mapping[str, str]) -> str | None:
    """The name to put into the answer, or None where the upstream's own stays.

    `auto` puts in what was asked for where the client is known to depend on it.
    """
    if asked is None or setting == "upstream":
        return None
    if setting == "auto" and not headers.get("User-Agent", "").lower().startswith(_DEPENDS):
        return None
    return asked


def renamed(body: bytes, name: str) -> bytes:
    """A whole answer under another model's name; all other bytes stay."""
    try:
        return splice(body, {"model": orjson.dumps(name)}) if b'"model"' in body else body
    except ValueError:
        return body


def renamed_event(event: bytes, name: str) -> bytes:
    """An event of a stream under another model's name, where it carries one.

    Anthropic's and OpenAI's Responses name it one level down, in `message` or `response`; such an
    event is written anew.
    """
    data = data_of(event) if b'"model"' in event else None
    document = parsed(data) if data else None
    if data is None or document is None:
        return event
    if "model" in document:
        return event.replace(data, renamed(data, name))
    for member in ("message", "response"):
        inner = document.get(member)
        if isinstance(inner, dict) and "model" in inner:
            inner["model"] = name
            return event.replace(data, orjson.dumps(document))
    return event
