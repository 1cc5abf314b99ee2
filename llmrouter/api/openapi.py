"""GET /openapi.json: what every call takes and answers, built once, only for paths that exist.

Each documented status is one a caller can get; each body is described as strictly as the parser
checks it and no more, because unknown OpenAI fields pass through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import JSON
from llmrouter.api.openapi_admin import ADMIN_PATHS
from llmrouter.api.openapi_parts import (
    FILTERS,
    ID,
    LIMIT,
    ROUTED,
    WHY,
    WINDOW,
    call,
    drop_in,
    error_answer,
    json_answers,
    json_body,
    keyed,
    routed_answers,
    tagged,
    text_answers,
)
from llmrouter.api.schema_parts import ref
from llmrouter.api.schemas import SCHEMAS
from llmrouter.api.schemas_formats import FORMAT_SCHEMAS
from llmrouter.api.schemas_keys import KEY_SCHEMAS

DOCUMENT: web.AppKey[bytes] = web.AppKey("openapi", bytes)


def build(services: Dependencies, paths: Sequence[str]) -> bytes:
    """The document, as JSON."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "llmrouter",
            "version": services.version,
            "description": "Decides which LLM should answer a request, says why, and executes it.",
        },
        "servers": [{"url": services.base_path or "/"}],
        "paths": {path: PATHS[path] for path in dict.fromkeys(paths)},
        "components": {
            "schemas": SCHEMAS | KEY_SCHEMAS | FORMAT_SCHEMAS,
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


PATHS: dict[str, Any] = {
    **ADMIN_PATHS,
    "/route": {
        "post": keyed(
            "Decide which target should serve a request; execute nothing",
            routed_answers(json_answers("Decision", ROUTED)),
            requestBody=json_body("RoutableRequest"),
        )
    },
    "/complete": {
        "post": keyed(
            "Decide, execute, and explain in a `router` object",
            routed_answers(json_answers("Completion", ROUTED), streams=True),
            requestBody=json_body("RoutableRequest"),
        )
    },
    "/v1/chat/completions": {
        "post": keyed(
            "The drop-in for OpenAI clients; the decision is in headers",
            routed_answers(json_answers("ChatCompletion", ROUTED), streams=True),
            requestBody=json_body("ChatRequest"),
        )
    },
    "/v1/messages": drop_in(
        "The drop-in for Anthropic's clients",
        "MessagesRequest",
        "MessagesAnswer",
        error="MessagesError",
    ),
    "/v1/messages/count_tokens": {
        "post": keyed(
            "About how many input tokens a request has",
            json_answers("TokenCount", (400, 401, 408, 413, 429, 500, 503))
            | {
                str(status): {
                    "description": WHY[status],
                    "content": {JSON: {"schema": ref("MessagesError")}},
                }
                for status in (400, 408, 413, 429, 500, 503)
            },
            requestBody=json_body("MessagesRequest"),
        )
    },
    "/v1/responses": drop_in(
        "The drop-in for clients of OpenAI's Responses, without stored responses",
        "ResponsesRequest",
        "ResponsesAnswer",
    ),
    "/v1/embeddings": drop_in(
        "Passed to a target with the capability `embeddings`; `auto` never mixes vector spaces",
        "EmbeddingsRequest",
        "Document",
        streams=False,
    ),
    "/v1/completions": drop_in(
        "Legacy completions, passed to a target with the capability `completions`",
        "CompletionsRequest",
        "Document",
    ),
    "/v1/decisions": drop_in(
        "OpenAI's Decisions, passed to a target with the capability `decisions`",
        "DecisionsRequest",
        "Document",
        streams=False,
    ),
    "/v1/systemone": drop_in(
        "System One, passed to a target with the capability `systemone`",
        "SystemOneRequest",
        "Document",
        streams=False,
    ),
    "/v1/models": {
        "get": keyed(
            "`auto` and every enabled target; in Anthropic's shape, with `limit`, `after_id` and "
            "`before_id`, where `anthropic-version` is sent",
            json_answers("Models", (400, 401, 500)),
        )
    },
    "/v1/models/{id}": {
        "get": keyed("One model", json_answers("Model", (401, 404, 500)), parameters=[ID])
    },
    "/feedback": {
        "post": keyed(
            "Say how good a decision was",
            json_answers("Accepted", (400, 401, 404, 408, 413, 500), ok=202),
            requestBody=json_body("Feedback"),
        )
    },
    "/catalog": {
        "get": keyed("The catalog that serves; its ETag is its version", tagged((401, 500)))
    },
    "/decisions": {
        "get": keyed(
            "Recent decisions, newest first",
            json_answers("Decisions", (400, 401, 500)),
            parameters=[LIMIT, *FILTERS],
        )
    },
    "/decisions/{id}": {
        "get": keyed("One decision", json_answers("Decision", (401, 404, 500)), parameters=[ID])
    },
    "/stats": {
        "get": keyed(
            "Counts, rates, spend, savings",
            json_answers("Stats", (400, 401, 500)),
            parameters=[WINDOW],
        )
    },
    "/stats/series": {
        "get": keyed(
            "The same over time", json_answers("Series", (400, 401, 500)), parameters=[WINDOW]
        )
    },
    "/stats/frontier": {
        "get": keyed(
            "By task: how likely the router thinks each target answers well, and at what price",
            json_answers("Frontier", (401, 500)),
        )
    },
    "/learning": {
        "get": keyed(
            "What the learned model is trusted with, task by task, and what that rests on",
            json_answers("Learning", (401, 500)),
        )
    },
    "/whoami": {
        "get": keyed("Whose key this is, and what it may do", json_answers("WhoAmI", (401, 500)))
    },
    "/metrics": {
        "get": keyed(
            "Prometheus metrics; the admin key's where tenants are kept apart",
            text_answers("text/plain") | {"401": error_answer(401), "403": error_answer(403)},
        )
    },
    "/healthz": {"get": call("Liveness", json_answers("Health", (500,)))},
    "/readyz": {
        "get": call(
            "Readiness",
            {
                str(status): {"description": why, "content": {JSON: {"schema": ref("Readiness")}}}
                for status, why in ((200, "Ready."), (503, "Draining, or no catalog."))
            },
        )
    },
    "/openapi.json": {"get": call("This document", json_answers("Document", (500,)))},
    "/": {"get": call("The console", text_answers("text/html"))},
    "/console/{file}": {
        "get": call(
            "A script or a style of the console",
            {"200": {"description": "The file."}, "404": error_answer(404)},
        )
    },
}
