"""The admin key's calls in the OpenAPI document: catalog, prompts, versions, keys, canaries."""

from __future__ import annotations

from typing import Any

from llmrouter.api.error_response import JSON
from llmrouter.api.openapi_parts import (
    ETAG,
    ID,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    error_answer,
    json_answers,
    json_body,
    keyed,
    tagged,
)
from llmrouter.api.schema_parts import ref

_TEXTS = ("text/markdown", "application/yaml")
_EDITS = (400, 401, 403, 404, 408, 412, 413, 500)
_PATH = {**ID, "name": "path", "description": "routing.yaml, router.md, catalog/<id>.md …"}
_VERSION = {**ID, "name": "version"}
_FROM = {"name": "from", "in": "query", "schema": {"type": "string"}}
_BEFORE = {**_FROM, "name": "before"}

ADMIN_PATHS: dict[str, Any] = {
    "/catalog/preview": {
        "post": keyed(
            "What an edit would change for recorded requests; nothing is written",
            json_answers("Preview", (400, 401, 403, 408, 413, 500, 503, 504)),
            requestBody=json_body("CatalogEdit"),
        )
    },
    "/catalog/check": {
        "post": keyed(
            "Whether edited files could serve; nothing is written",
            json_answers("CatalogCheck", (400, 401, 403, 408, 413, 500)),
            requestBody=json_body("CatalogFiles"),
        )
    },
    "/catalog/route": {
        "post": keyed(
            "Which target edited files would choose for a request; nothing is kept",
            json_answers("Decision", (400, 401, 403, 404, 408, 413, 422, 500)),
            requestBody=json_body("CatalogTrial"),
        )
    },
    "/learning/rollback": {
        "post": keyed(
            "The learned model before this one serves again",
            json_answers("LearningRollBack", (401, 403, 404, 500)),
        )
    },
    "/keys": {
        "get": keyed("The keys made over HTTP", json_answers("Keys", (401, 403, 500))),
        "post": keyed(
            "Make a key; its secret is told this once",
            json_answers("NewKey", (400, 401, 403, 408, 413, 500), 201),
            requestBody=json_body("KeyWanted"),
        ),
    },
    "/keys/{id}": {
        "patch": keyed(
            "Change a key's tier, targets or limits",
            json_answers("Key", (400, 401, 403, 404, 408, 413, 500)),
            parameters=[ID],
            requestBody=json_body("KeyChange"),
        ),
        "delete": keyed(
            "Revoke a key",
            {
                "204": {"description": "It is refused from now on."},
                **{str(status): error_answer(status) for status in (401, 403, 404, 500)},
            },
            parameters=[ID],
        ),
    },
    "/canary": {
        "get": keyed("The canary's figures and verdict", json_answers("Canary", (401, 403, 500))),
        "post": keyed(
            "Give a share of the sessions to an edited catalog",
            json_answers("Canary", (400, 401, 403, 408, 413, 500), 201),
            requestBody=json_body("CanaryStart"),
        ),
    },
    "/canary/promote": {
        "post": keyed(
            "Make the canary's files the current catalog",
            json_answers("Canary", (400, 401, 403, 404, 500)),
        )
    },
    "/canary/stop": {"post": keyed("End the canary", json_answers("Canary", (401, 403, 404, 500)))},
    "/catalog/{id}": {
        "get": keyed(
            "One target's file, as it is on disk",
            {
                "200": {
                    "description": "Its text.",
                    "content": {"text/markdown": {"schema": {"type": "string"}}},
                    "headers": ETAG,
                },
                **{str(status): error_answer(status) for status in (401, 403, 404, 500)},
            },
            parameters=[ID],
        ),
        "put": keyed(
            "Replace one target's file, or add it; validated, atomic, hot",
            tagged((400, 401, 403, 404, 408, 412, 413, 500)),
            parameters=[ID, IF_MATCH, IF_NONE_MATCH],
            requestBody={
                "required": True,
                "content": {
                    "text/markdown": {"schema": {"type": "string"}},
                    JSON: {"schema": ref("CatalogFile")},
                },
            },
        ),
        "delete": keyed(
            "Take a target out; validated, atomic, hot",
            tagged((400, 401, 403, 404, 412, 500)),
            parameters=[ID, IF_MATCH],
        ),
    },
    "/catalog/{id}/history": {
        "get": keyed(
            "What one target's file held before its last edits, newest first",
            json_answers("CatalogHistory", (401, 403, 404, 500)),
            parameters=[ID],
        )
    },
    "/catalog/{id}/revert": {
        "post": keyed(
            "Go back to a version, by default to what was before the last edit",
            tagged((400, 401, 403, 404, 408, 412, 413, 500)),
            parameters=[ID, IF_MATCH],
            requestBody={**json_body("CatalogVersion"), "required": False},
        )
    },
    "/prompts": {
        "get": keyed(
            "Every file of the catalog, as it is on disk", json_answers("Prompts", (401, 403, 500))
        ),
        "put": keyed(
            "Edit files together; validated, atomic, hot",
            json_answers("PromptsSaved", _EDITS),
            requestBody=json_body("PromptsEdit"),
        ),
    },
    "/prompts/{path}": {
        "get": keyed(
            "One file, as it is on disk",
            {
                "200": {
                    "description": "Its text.",
                    "content": {kind: {"schema": {"type": "string"}} for kind in _TEXTS},
                    "headers": ETAG,
                },
                **{str(status): error_answer(status) for status in (401, 403, 404, 500)},
            },
            parameters=[_PATH],
        ),
        "put": keyed(
            "Replace one file, or add it; validated, atomic, hot",
            json_answers("PromptsSaved", _EDITS),
            parameters=[_PATH, IF_MATCH, IF_NONE_MATCH],
            requestBody={
                "required": True,
                "content": {
                    **{kind: {"schema": {"type": "string"}} for kind in _TEXTS},
                    JSON: {"schema": ref("CatalogFile")},
                },
            },
        ),
        "delete": keyed(
            "Take a file away; validated, atomic, hot",
            json_answers("PromptsSaved", (400, 401, 403, 404, 412, 500)),
            parameters=[_PATH, IF_MATCH],
        ),
    },
    "/prompts/versions": {
        "get": keyed(
            "Who edited what, when and how, newest first",
            json_answers("Versions", (400, 401, 403, 500)),
            parameters=[
                {**LIMIT, "schema": {"type": "integer", "minimum": 1, "default": 50}},
                _BEFORE,
            ],
        )
    },
    "/prompts/versions/{version}": {
        "get": keyed(
            "One version with its files",
            json_answers("Version", (401, 403, 404, 500)),
            parameters=[_VERSION],
        )
    },
    "/prompts/versions/{version}/revert": {
        "post": keyed(
            "Make all files what they were in a version; validated, atomic, hot",
            json_answers("PromptsSaved", (400, 401, 403, 404, 500)),
            parameters=[_VERSION],
        )
    },
    "/prompts/diff": {
        "get": keyed(
            "What differs between two versions; without `to`, between one and the newest",
            json_answers("VersionDiff", (400, 401, 403, 404, 500)),
            parameters=[{**_FROM, "required": True}, {**_FROM, "name": "to"}],
        )
    },
}
