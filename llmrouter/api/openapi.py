"""GET /openapi.json: what every call takes and answers, built once, only for paths that exist.

Each documented status is one a caller can get; each body is described as strictly as the parser
checks it and no more, because unknown OpenAI fields pass through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.schemas import SCHEMAS, ref

DOCUMENT: web.AppKey[bytes] = web.AppKey("openapi", bytes)

_WHY = {
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
_DECIDED = ("x-llmrouter-decision-id", "x-llmrouter-target", "x-llmrouter-source")
_EXECUTED = ("x-llmrouter-served-by", "x-llmrouter-attempts")
_QUOTAS = tuple(
    f"x-ratelimit-{what}-{unit}"
    for unit in ("requests", "tokens", "spend-usd")
    for what in ("limit", "remaining", "reset")
)
_ROUTED = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)


def build(services: Dependencies, paths: Sequence[str]) -> bytes:
    """The document, as JSON."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "llmrouter",
            "version": services.version,
            "description": "Decides which LLM should answer a request, says why, and executes it.",
        },
        "paths": {path: _PATHS[path] for path in dict.fromkeys(paths)},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    return orjson.dumps(document)


async def openapi(request: web.Request) -> web.Response:
    """The document."""
    return web.Response(body=request.app[DOCUMENT], headers={"Content-Type": JSON})


def _body(schema: str, media: str = JSON) -> dict[str, Any]:
    return {"required": True, "content": {media: {"schema": ref(schema)}}}


def _answers(schema: str, statuses: Sequence[int], ok: int = 200) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(ok): {"description": "Done.", "content": {JSON: {"schema": ref(schema)}}}
    }
    for status in statuses:
        answers[str(status)] = _error(status)
    return answers


def _error(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _WHY[status],
        "content": {JSON: {"schema": ref("Error")}},
    }
    if status in (429, 503):
        seconds = {"schema": {"type": "integer", "minimum": 1}, "required": True}
        answer["headers"] = {"Retry-After": seconds}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    return answer


def _routed(answers: dict[str, Any], *, streams: bool = False) -> dict[str, Any]:
    """Add what every routed answer has: the decision's headers, and the stream's media type."""
    done = answers["200"]
    done["headers"] = {
        **{name: {"schema": {"type": "string"}, "required": True} for name in _DECIDED},
        **{name: {"schema": {"type": "string"}} for name in _QUOTAS},
    }
    if streams:
        done["headers"] |= {name: {"schema": {"type": "string"}} for name in _EXECUTED}
        done["content"]["text/event-stream"] = {}
        answers["4XX"] = {
            "description": "The upstream refused the request; its answer as it came.",
            "content": {"*/*": {}},
        }
    return answers


def _call(summary: str, answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"summary": summary, "responses": answers, **more}


def _keyed(summary: str, answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return _call(summary, answers, security=[{}, {"bearer": []}, {"header": []}], **more)


def _text(media: str) -> dict[str, Any]:
    body = {media: {"schema": {"type": "string"}}}
    return {"200": {"description": "Done.", "content": body}, "500": _error(500)}


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
}

_FILTERS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("before", "target", "source", "task", "key", "text")
]
_FILTERS.append({"name": "outcome", "in": "query", "schema": {"enum": ["ok", "failed", "decided"]}})
_WINDOW = {
    "name": "window",
    "in": "query",
    "schema": {"enum": ["hour", "day", "fortnight"]},
}

_ETAG = {"ETag": {"schema": {"type": "string"}, "required": True}}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of what was read: the file's, or the catalog's.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "`*`: only where there is no such target yet.",
    "schema": {"type": "string"},
}


def _tagged(statuses: Sequence[int]) -> dict[str, Any]:
    """The catalog as an answer, with the ETag of what was read or edited."""
    answers = _answers("Catalog", statuses)
    answers["200"]["headers"] = _ETAG
    return answers


def _drop_in(
    summary: str, request: str, answer: str, *, error: str = "Error", streams: bool = True
) -> dict[str, Any]:
    """A routed call of another wire format: its bodies, its envelope, the decision's headers."""
    answers = _routed(_answers(answer, _ROUTED), streams=streams)
    for status in _ROUTED:
        answers[str(status)]["content"] = {JSON: {"schema": ref(error)}}
    return {"post": _keyed(summary, answers, requestBody=_body(request))}


_PATHS: dict[str, Any] = {
    "/route": {
        "post": _keyed(
            "Decide which target should serve a request; execute nothing",
            _routed(_answers("Decision", _ROUTED)),
            requestBody=_body("RoutableRequest"),
        )
    },
    "/complete": {
        "post": _keyed(
            "Decide, execute, and explain in a `router` object",
            _routed(_answers("Completion", _ROUTED), streams=True),
            requestBody=_body("RoutableRequest"),
        )
    },
    "/v1/chat/completions": {
        "post": _keyed(
            "The drop-in for OpenAI clients; the decision is in headers",
            _routed(_answers("ChatCompletion", _ROUTED), streams=True),
            requestBody=_body("ChatRequest"),
        )
    },
    "/v1/messages": _drop_in(
        "The drop-in for Anthropic's clients",
        "MessagesRequest",
        "MessagesAnswer",
        error="MessagesError",
    ),
    "/v1/messages/count_tokens": {
        "post": _keyed(
            "About how many input tokens a request has",
            _answers("TokenCount", (400, 401, 408, 413, 429, 500, 503))
            | {
                str(status): {
                    "description": _WHY[status],
                    "content": {JSON: {"schema": ref("MessagesError")}},
                }
                for status in (400, 408, 413, 429, 500, 503)
            },
            requestBody=_body("MessagesRequest"),
        )
    },
    "/v1/responses": _drop_in(
        "The drop-in for clients of OpenAI's Responses, without stored responses",
        "ResponsesRequest",
        "ResponsesAnswer",
    ),
    "/v1/embeddings": _drop_in(
        "Passed to a target with the capability `embeddings`; `auto` never mixes vector spaces",
        "EmbeddingsRequest",
        "Document",
        streams=False,
    ),
    "/v1/completions": _drop_in(
        "Legacy completions, passed to a target with the capability `completions`",
        "CompletionsRequest",
        "Document",
    ),
    "/v1/decisions": _drop_in(
        "OpenAI's Decisions, passed to a target with the capability `decisions`",
        "DecisionsRequest",
        "Document",
        streams=False,
    ),
    "/v1/systemone": _drop_in(
        "System One, passed to a target with the capability `systemone`",
        "SystemOneRequest",
        "Document",
        streams=False,
    ),
    "/v1/models": {
        "get": _keyed("`auto` and every enabled target", _answers("Models", (401, 500)))
    },
    "/v1/models/{id}": {
        "get": _keyed("One model", _answers("Model", (401, 404, 500)), parameters=[_ID])
    },
    "/feedback": {
        "post": _keyed(
            "Say how good a decision was",
            _answers("Accepted", (400, 401, 404, 408, 413, 500), ok=202),
            requestBody=_body("Feedback"),
        )
    },
    "/catalog": {
        "get": _keyed("The catalog that serves; its ETag is its version", _tagged((401, 500)))
    },
    "/catalog/preview": {
        "post": _keyed(
            "What an edit would change for recorded requests; nothing is written",
            _answers("Preview", (400, 401, 403, 408, 413, 500, 503, 504)),
            requestBody=_body("CatalogEdit"),
        )
    },
    "/catalog/check": {
        "post": _keyed(
            "Whether edited files could serve; nothing is written",
            _answers("CatalogCheck", (400, 401, 403, 408, 413, 500)),
            requestBody=_body("CatalogFiles"),
        )
    },
    "/keys": {
        "get": _keyed("The keys made over HTTP", _answers("Keys", (401, 403, 500))),
        "post": _keyed(
            "Make a key; its secret is told this once",
            _answers("NewKey", (400, 401, 403, 408, 413, 500), 201),
            requestBody=_body("KeyWanted"),
        ),
    },
    "/keys/{id}": {
        "delete": _keyed(
            "Revoke a key",
            {
                "204": {"description": "It is refused from now on."},
                **{str(status): _error(status) for status in (401, 403, 404, 500)},
            },
            parameters=[_ID],
        )
    },
    "/canary": {
        "get": _keyed("The canary's figures and verdict", _answers("Canary", (401, 403, 500))),
        "post": _keyed(
            "Give a share of the sessions to an edited catalog",
            _answers("Canary", (400, 401, 403, 408, 413, 500), 201),
            requestBody=_body("CanaryStart"),
        ),
    },
    "/canary/promote": {
        "post": _keyed(
            "Make the canary's files the current catalog",
            _answers("Canary", (400, 401, 403, 404, 500)),
        )
    },
    "/canary/stop": {"post": _keyed("End the canary", _answers("Canary", (401, 403, 404, 500)))},
    "/catalog/{id}": {
        "get": _keyed(
            "One target's file, as it is on disk",
            {
                "200": {
                    "description": "Its text.",
                    "content": {"text/markdown": {"schema": {"type": "string"}}},
                    "headers": _ETAG,
                },
                **{str(status): _error(status) for status in (401, 403, 404, 500)},
            },
            parameters=[_ID],
        ),
        "put": _keyed(
            "Replace one target's file, or add it; validated, atomic, hot",
            _tagged((400, 401, 403, 404, 408, 412, 413, 500)),
            parameters=[_ID, _IF_MATCH, _IF_NONE_MATCH],
            requestBody={
                "required": True,
                "content": {
                    "text/markdown": {"schema": {"type": "string"}},
                    JSON: {"schema": ref("CatalogFile")},
                },
            },
        ),
        "delete": _keyed(
            "Take a target out; validated, atomic, hot",
            _tagged((400, 401, 403, 404, 412, 500)),
            parameters=[_ID, _IF_MATCH],
        ),
    },
    "/catalog/{id}/history": {
        "get": _keyed(
            "What one target's file held before its last edits, newest first",
            _answers("CatalogHistory", (401, 403, 404, 500)),
            parameters=[_ID],
        )
    },
    "/catalog/{id}/revert": {
        "post": _keyed(
            "Go back to a version, by default to what was before the last edit",
            _tagged((400, 401, 403, 404, 408, 412, 413, 500)),
            parameters=[_ID, _IF_MATCH],
            requestBody={**_body("CatalogVersion"), "required": False},
        )
    },
    "/decisions": {
        "get": _keyed(
            "Recent decisions, newest first",
            _answers("Decisions", (400, 401, 500)),
            parameters=[_LIMIT, *_FILTERS],
        )
    },
    "/decisions/{id}": {
        "get": _keyed("One decision", _answers("Decision", (401, 404, 500)), parameters=[_ID])
    },
    "/stats": {
        "get": _keyed(
            "Counts, rates, spend, savings",
            _answers("Stats", (400, 401, 500)),
            parameters=[_WINDOW],
        )
    },
    "/stats/series": {
        "get": _keyed(
            "The same over time", _answers("Series", (400, 401, 500)), parameters=[_WINDOW]
        )
    },
    "/metrics": {
        "get": _keyed(
            "Prometheus metrics; the admin key's where tenants are kept apart",
            _text("text/plain") | {"401": _error(401), "403": _error(403)},
        )
    },
    "/healthz": {"get": _call("Liveness", _answers("Health", (500,)))},
    "/readyz": {
        "get": _call(
            "Readiness",
            {
                str(status): {"description": why, "content": {JSON: {"schema": ref("Readiness")}}}
                for status, why in ((200, "Ready."), (503, "Draining, or no catalog."))
            },
        )
    },
    "/openapi.json": {"get": _call("This document", _answers("Document", (500,)))},
    "/": {"get": _call("The console", _text("text/html"))},
}
