"""POST /feedback: what a caller thought of a decision."""

from __future__ import annotations

import time
from difflib import get_close_matches
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import CALLER, SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.router_options import MAX_NAME, shown, wrong_type, wrong_value
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Feedback
from llmrouter.errors import BadRequest

MAX_COMMENT = 4000
_KEYS = ("decision_id", "score", "preferred", "comment")


async def feedback(request: web.Request) -> web.Response:
    """Keep one judgement: 202, or 404 when the decision or the preferred target is unknown."""
    services = request.app[SERVICES]
    caller = request[CALLER]
    given = parse_feedback(await read_object(request, services), caller)
    await services.gateway.record_feedback(given, caller)
    body = orjson.dumps({"status": "accepted", "decision_id": given.decision_id})
    return web.Response(status=202, body=body, headers={"Content-Type": JSON})


def parse_feedback(document: dict[str, Any], caller: Caller) -> Feedback:
    """Check a feedback body. Raises BadRequest."""
    for key in document:
        if key not in _KEYS:
            near = get_close_matches(key[:64], _KEYS, 1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; it is one of {', '.join(_KEYS)}"
            raise BadRequest(
                f"unknown key {shown(key)}{hint}", param=key[:64], code="unknown_parameter"
            )
    score = _required(document, "score")
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise wrong_type("score", "a number", score)
    if not -1.0 <= score <= 1.0:
        raise wrong_value("score", f"must be from -1 to 1, not {score:g}")
    return Feedback(
        _text("decision_id", _required(document, "decision_id"), MAX_NAME),
        float(score),
        _optional(document, "preferred", MAX_NAME),
        _optional(document, "comment", MAX_COMMENT),
        caller.name,
        time.time(),
    )


def _required(document: dict[str, Any], name: str) -> object:
    value: object = document.get(name)
    if value is None:
        raise BadRequest(f"{name} is missing", param=name, code="missing_required_parameter")
    return value


def _optional(document: dict[str, Any], name: str, most: int) -> str | None:
    value = document.get(name)
    return None if value is None else _text(name, value, most)


def _text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    if not value or len(value) > most:
        raise wrong_value(name, f"must have 1 to {most} characters, not {len(value)}")
    return value
