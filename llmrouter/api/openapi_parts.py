"""What the descriptions of calls in the OpenAPI document are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmrouter.api.error_response import JSON
from llmrouter.api.schema_parts import ref

WHY = {
    400: "The request is malformed; `param` names what is wrong.",
    401: "No API key, or one that is not known.",
    403: "The key may not do this.",
    404: "There is no such model, target, decision, version or path.",
    412: "What is to be edited is not what `If-Match` or `If-None-Match` says.",
    408: "The body stopped arriving.",
    413: "The body is too large.",
    422: "No target may serve this request; the message lists each and why.",
    429: "A quota of the key is used up.",
    500: "A defect of this service.",
    502: "Every attempt at an upstream failed.",
    503: "Overloaded or draining.",
    504: "The request's own time budget ran out.",
}
DECIDED = ("x-llmrouter-decision-id", "x-llmrouter-target", "x-llmrouter-source")
EXECUTED = ("x-llmrouter-served-by", "x-llmrouter-attempts")
QUOTAS = tuple(
    f"x-ratelimit-{what}-{unit}"
    for unit in ("requests", "tokens", "spend-usd")
    for what in ("limit", "remaining", "reset")
)
ROUTED = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)


def json_body(schema: str, media: str = JSON) -> dict[str, Any]:
    """The body that a call takes."""
    return {"required": True, "content": {media: {"schema": ref(schema)}}}


def json_answers(schema: str, statuses: Sequence[int], ok: int = 200) -> dict[str, Any]:
    """The answer of a call, and its errors."""
    answers: dict[str, Any] = {
        str(ok): {"description": "Done.", "content": {JSON: {"schema": ref(schema)}}}
    }
    for status in statuses:
        answers[str(status)] = error_answer(status)
    return answers


def error_answer(status: int) -> dict[str, Any]:
    """One error, with the headers it has."""
    answer: dict[str, Any] = {
        "description": WHY[status],
        "content": {JSON: {"schema": ref("Error")}},
    }
    if status in (429, 503):
        seconds = {"schema": {"type": "integer", "minimum": 1}, "required": True}
        answer["headers"] = {"Retry-After": seconds}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    return answer


def routed_answers(answers: dict[str, Any], *, streams: bool = False) -> dict[str, Any]:
    """Add what every routed answer has: the decision's headers, and the stream's media type."""
    done = answers["200"]
    done["headers"] = {
        **{name: {"schema": {"type": "string"}, "required": True} for name in DECIDED},
        **{name: {"schema": {"type": "string"}} for name in QUOTAS},
    }
    if streams:
        done["headers"] |= {name: {"schema": {"type": "string"}} for name in EXECUTED}
        done["content"]["text/event-stream"] = {}
        answers["4XX"] = {
            "description": "The upstream refused the request; its answer as it came.",
            "content": {"*/*": {}},
        }
    return answers


def call(summary: str, answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A call that needs no key."""
    return {"summary": summary, "responses": answers, **more}


def keyed(summary: str, answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A call that needs a key where keys are configured."""
    return call(summary, answers, security=[{}, {"bearer": []}, {"header": []}], **more)


def text_answers(media: str) -> dict[str, Any]:
    """An answer of text."""
    body = {media: {"schema": {"type": "string"}}}
    return {"200": {"description": "Done.", "content": body}, "500": error_answer(500)}


ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
}

FILTERS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("before", "target", "source", "task", "key", "text")
]
FILTERS.append({"name": "brief", "in": "query", "schema": {"type": "boolean"}})
FILTERS.append({"name": "outcome", "in": "query", "schema": {"enum": ["ok", "failed", "decided"]}})
WINDOW = {
    "name": "window",
    "in": "query",
    "schema": {"enum": ["hour", "day", "fortnight"]},
}

ETAG = {"ETag": {"schema": {"type": "string"}, "required": True}}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of what was read: the file's, or the catalog's.",
    "schema": {"type": "string"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "`*`: only where there is no such target yet.",
    "schema": {"type": "string"},
}


def tagged(statuses: Sequence[int]) -> dict[str, Any]:
    """The catalog as an answer, with the ETag of what was read or edited."""
    answers = json_answers("Catalog", statuses)
    answers["200"]["headers"] = ETAG
    return answers


def drop_in(
    summary: str, request: str, answer: str, *, error: str = "Error", streams: bool = True
) -> dict[str, Any]:
    """A routed call of another wire format: its bodies, its envelope, the decision's headers."""
    answers = routed_answers(json_answers(answer, ROUTED), streams=streams)
    for status in ROUTED:
        answers[str(status)]["content"] = {JSON: {"schema": ref(error)}}
    return {"post": keyed(summary, answers, requestBody=json_body(request))}
