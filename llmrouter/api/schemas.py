"""The JSON Schemas of every body, as the OpenAPI document names them."""

from __future__ import annotations

from typing import Any

from llmrouter.api.handlers.catalog_files import MOST_FILES
from llmrouter.api.handlers.feedback import MAX_COMMENT
from llmrouter.api.handlers.preview import LAST, MOST
from llmrouter.api.request_parser import MAX_COUNT, ROLES
from llmrouter.api.router_options import MAX_IDS, MAX_NAME
from llmrouter.catalog.loader import ROUTER, ROUTING, VERIFIER
from llmrouter.domain.chat import CACHE_MODES, STRATEGIES
from llmrouter.domain.decision import Source
from llmrouter.ratelimit.policies import UNITS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _record(required: Schema, optional: Schema | None = None, *, closed: bool = False) -> Schema:
    record: Schema = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    if closed:
        record["additionalProperties"] = False
    return record


def _list(of: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": of, **bounds}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_STRING: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}
_BOOLEAN: Schema = {"type": "boolean"}
_OBJECT: Schema = {"type": "object"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_FULL: Schema = {"type": "string", "minLength": 1}

_ROUTER = _record(
    {},
    {
        "tier": _or_null(_NAME),
        "latency_budget_ms": _or_null(
            {"type": "number", "exclusiveMinimum": 0, "maximum": 86_400_000}
        ),
        "max_cost_usd": _or_null({"type": "number", "minimum": 0, "maximum": 1_000_000}),
        "quality": _or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "allow": _or_null(_list(_NAME, minItems=1, maxItems=MAX_IDS)),
        "deny": _or_null(_list(_NAME, maxItems=MAX_IDS)),
        "task": _or_null(_NAME),
        "session": _or_null(_NAME),
        "strategy": _or_null({"enum": sorted(STRATEGIES)}),
        "cache": _or_null({"enum": sorted(CACHE_MODES)}),
        "decision_id": _or_null(_NAME),
    },
    closed=True,
)
_PART: Schema = {
    "oneOf": [
        _record({"type": {"const": "text"}, "text": _STRING}),
        _record({"type": {"type": "string", "not": {"const": "text"}}}),
    ]
}
_CONTENT: Schema = {"anyOf": [_STRING, _list(_PART, minItems=1)]}
_CALLS: Schema = {
    "tool_calls": _or_null(_list(_OBJECT)),
    "function_call": _or_null(_OBJECT),
}
_MESSAGE: Schema = {
    "anyOf": [
        _record({"role": {"enum": list(ROLES)}, "content": _CONTENT}, _CALLS),
        _record(
            {"role": {"const": "assistant"}, "tool_calls": _list(_OBJECT, minItems=1)},
            {"content": _or_null(_CONTENT), "function_call": _or_null(_OBJECT)},
        ),
    ]
}
_CHAT: Schema = {
    "tools": _or_null(_list(_OBJECT)),
    "functions": _or_null(_list(_OBJECT)),
    "stream": _or_null(_BOOLEAN),
    "stream_options": _or_null(_OBJECT),
    "response_format": _or_null(_OBJECT),
    "max_tokens": _or_null(_COUNT),
    "max_completion_tokens": _or_null(_COUNT),
    "n": _or_null(_COUNT),
    "reasoning_effort": _or_null(_STRING),
    "router": _or_null(ref("Router")),
}
_MESSAGES = _list(ref("Message"), minItems=1)
_DECISION: Schema = {
    "decision_id": _STRING,
    "target": _STRING,
    "model": _STRING,
    "provider": _STRING,
    "source": {"enum": [source.value for source in Source]},
    "confidence": _or_null(_NUMBER),
    "task": _STRING,
    "reason": _STRING,
    "alternatives": _list(
        _record(
            {
                "target": _STRING,
                "score": _or_null(_NUMBER),
                "probability": _or_null(_NUMBER),
            }
        )
    ),
    "excluded": _list(_record({"target": _STRING, "reason": _STRING})),
    "fallbacks": _list(_STRING),
    "estimate": _record(
        {"input_tokens": _INTEGER, "cost_usd": _or_null(_NUMBER), "latency_ms": _or_null(_NUMBER)}
    ),
    "catalog_version": _STRING,
    "fingerprint": _STRING,
    "timing_ms": _NUMBER,
}
_ATTEMPT = _record(
    {
        "target": _STRING,
        "outcome": {"enum": ["ok", "failed", "rejected", "cancelled"]},
        "reason": _STRING,
        "latency_ms": _NUMBER,
        "cost_usd": _NUMBER,
    },
    {"confidence": _NUMBER, "cost_estimated": _BOOLEAN},
)
_EXPLAINED = _record(
    {
        **_DECISION,
        "attempts": _list(_ATTEMPT),
        "cost_usd": _or_null(_NUMBER),
        "latency_ms": _or_null(_NUMBER),
        "router_cost_usd": _NUMBER,
    },
    {"phases_ms": {"type": "object"}, "bounds": {"type": "object"}},
)
_PROBLEM = _record({"file": _STRING, "line": _INTEGER, "message": _STRING})
_TARGET = _record(
    {
        "id": _STRING,
        "model": _STRING,
        "provider": _STRING,
        "description": _STRING,
        "enabled": _BOOLEAN,
        "price": _record(
            {
                "input": _NUMBER,
                "cached_input": _or_null(_NUMBER),
                "cache_write": _or_null(_NUMBER),
                "output": _NUMBER,
            }
        ),
        "context_window": _INTEGER,
        "max_output": _or_null(_INTEGER),
        "capabilities": _list(_STRING),
        "tiers": _or_null(_list(_STRING)),
        "latency": _record({"ttft_ms": _NUMBER, "tokens_per_s": _NUMBER}),
        "timeout_s": _NUMBER,
        "ttft_timeout_s": _NUMBER,
        "stall_timeout_s": _NUMBER,
    }
)
_MODEL = _record(
    {"id": _STRING, "object": {"const": "model"}, "created": _INTEGER, "owned_by": _STRING},
    {
        "aliases": _list(_STRING),
        "context_length": _INTEGER,
        "max_output_tokens": _or_null(_INTEGER),
        "capabilities": _list(_STRING),
        "pricing": _record(
            {
                "input": _NUMBER,
                "cached_input": _or_null(_NUMBER),
                "output": _NUMBER,
                "unit": _STRING,
            }
        ),
    },
)

_LAST = _or_null({"type": "integer", "minimum": 1, "maximum": MOST, "default": LAST})
_FILES: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": MOST_FILES,
    "propertyNames": {
        "anyOf": [
            {"enum": [ROUTING, ROUTER, VERIFIER]},
            {"pattern": r"^catalog/[a-z0-9][a-z0-9._-]{0,79}\.md$"},
        ]
    },
    "additionalProperties": _or_null(_STRING),
}
_MOVE = _record(
    {"before": _STRING, "after": _STRING, "requests": _INTEGER}
    | {"before_usd": _NUMBER, "after_usd": _NUMBER}
)
_KIND = {"enum": ["added", "removed", "changed"]}
_CHANGES = _list(
    _record(
        {"kind": _KIND, "where": _STRING, "field": _STRING, "text": _STRING}
        | {"before": {}, "after": {}}
    )
)
_VERSION = {
    "version": _STRING,
    "at": _NUMBER,
    "by": _or_null(_STRING),
    "how": {"enum": ["http", "file", "canary", "revert", "undo"]},
    "note": _or_null(_STRING),
    "added": _list(_STRING),
    "changed": _list(_STRING),
    "removed": _list(_STRING),
}
_QUOTA = {"type": "string", "pattern": r"^\d+(\.\d+)?/\d*[smhd]$"}
_LIMITS = {
    "type": "object",
    "properties": dict.fromkeys(UNITS, _QUOTA),
    "additionalProperties": False,
}
_KEY_CHANGE = {
    "tier": _or_null(_STRING),
    "allow": _or_null(_list(_STRING)),
    "limits": _or_null(_LIMITS),
}
_KEY = _record(
    {
        "id": _or_null(_STRING),
        "name": _STRING,
        **_KEY_CHANGE,
        "admin": _BOOLEAN,
        "managed": _BOOLEAN,
        "created_at": _or_null(_NUMBER),
    },
    {
        "usage": _list(
            _record(
                {"unit": {"enum": list(UNITS)}}
                | {"limit": _NUMBER, "used": _NUMBER, "window_s": _NUMBER}
            )
        )
    },
)
_PREVIEW = _record(
    {
        "headline": _STRING,
        "changes": _CHANGES,
        "warnings": _list(_STRING),
        "recorded": _INTEGER,
        "replayed": _INTEGER,
        "told": _INTEGER,
        "since": _or_null(_NUMBER),
        "decided": _record({"before": _OBJECT, "after": _OBJECT}),
        "moved": _INTEGER,
        "before_usd": _NUMBER,
        "after_usd": _NUMBER,
        "moves": _list(_MOVE),
        "tasks": _list(
            _record(
                {"task": _STRING, "requests": _INTEGER, "moved": _INTEGER}
                | {"before_usd": _NUMBER, "after_usd": _NUMBER}
            )
        ),
        "eligibility": _list(
            _record(
                {"target": _STRING, "change": {"enum": ["lost", "gained"]}}
                | {"requests": _INTEGER, "reason": _STRING}
            )
        ),
        "refusals": _list(_record({"status": _INTEGER, "requests": _INTEGER, "message": _STRING})),
        "served_again": _INTEGER,
        "examples": _list(
            _record(
                {"decision_id": _STRING, "task": _STRING, "reason": _STRING}
                | {name: _or_null(_STRING) for name in ("before", "after", "text")}
            )
        ),
        "notes": _list(_STRING),
    }
)

SCHEMAS: dict[str, Schema] = {
    "Router": _ROUTER,
    "Message": _MESSAGE,
    "ChatRequest": _record({"model": _FULL, "messages": _MESSAGES}, _CHAT),
    "RoutableRequest": {
        "anyOf": [
            {
                **_record({"messages": _MESSAGES}, {"model": _or_null(_FULL), **_CHAT}),
                "not": {"required": ["prompt"]},
            },
            _record(
                {"prompt": _FULL},
                {"messages": {"type": "null"}, "model": _or_null(_FULL), **_CHAT},
            ),
        ]
    },
    "Feedback": _record(
        {"decision_id": _NAME, "score": {"type": "number", "minimum": -1, "maximum": 1}},
        {
            "preferred": _or_null(_NAME),
            "comment": _or_null({"type": "string", "minLength": 1, "maxLength": MAX_COMMENT}),
        },
        closed=True,
    ),
    "Accepted": _record({"status": {"const": "accepted"}, "decision_id": _STRING}),
    "Decision": _record(_DECISION),
    "Decisions": _record({"decisions": _list(_OBJECT)}),
    "ChatCompletion": {"type": "object", "description": "The upstream's own answer, as it came."},
    "Completion": {
        "type": "object",
        "description": "The upstream's own answer with `router` added.",
        "properties": {"router": _EXPLAINED},
    },
    "Model": _MODEL,
    "Models": _record({"object": {"const": "list"}, "data": _list(_MODEL)}),
    "Catalog": _record(
        {
            "version": _STRING,
            "default": _STRING,
            "quality": _NUMBER,
            "targets": _list(_TARGET),
            "warnings": _list(_STRING),
            "problems": _list(_PROBLEM),
        }
    ),
    "CatalogFile": _record({"text": _STRING}),
    "CatalogFiles": _record({"files": _OBJECT}),
    "CatalogCheck": _record(
        {"ok": {"type": "boolean"}, "problems": _list(_PROBLEM), "warnings": _list(_PROBLEM)}
    ),
    "Key": _KEY,
    "Keys": _record({"keys": _list(ref("Key"))}),
    "KeyWanted": _record({"name": _STRING}, {**_KEY_CHANGE, "admin": _BOOLEAN}, closed=True),
    "KeyChange": {**_record({}, _KEY_CHANGE, closed=True), "minProperties": 1},
    "NewKey": {"allOf": [ref("Key"), _record({"key": _STRING})]},
    "CanaryStart": _record({"files": _OBJECT}, {"share": _NUMBER}),
    "Canary": {"type": "object", "properties": {"status": _STRING}, "required": ["status"]},
    "CatalogVersion": _record({}, {"version": _or_null(_STRING)}),
    "CatalogHistory": _record(
        {
            "id": _STRING,
            "versions": _list(
                _record({"version": _STRING, "at": _NUMBER, "text": _or_null(_STRING)})
            ),
        }
    ),
    "CatalogEdit": {
        "oneOf": [
            _record({"id": _STRING, "text": _or_null(_STRING)}, {"last": _LAST}, closed=True),
            _record({"files": _FILES}, {"last": _LAST}, closed=True),
            _record({"version": _STRING}, {"last": _LAST}, closed=True),
        ]
    },
    "Prompts": _record(
        {
            "version": _STRING,
            "files": {
                "type": "object",
                "additionalProperties": _record({"text": _STRING, "etag": _STRING}),
            },
            "problems": _list(_PROBLEM),
        }
    ),
    "PromptsEdit": _record(
        {"files": _FILES},
        {"seen": _or_null({"type": "object", "additionalProperties": _STRING})},
        closed=True,
    ),
    "PromptsSaved": _record({"version": _STRING, "catalog": ref("Catalog")}),
    "Versions": _record({"versions": _list(_record(_VERSION)), "next": _or_null(_STRING)}),
    "Version": _record({**_VERSION, "files": {"type": "object", "additionalProperties": _STRING}}),
    "VersionDiff": _record(
        {
            "from": _STRING,
            "to": _STRING,
            "files": _list(_record({"path": _STRING, "kind": _KIND, "diff": _STRING})),
            "changes": _CHANGES,
            "problem": _or_null(_STRING),
        }
    ),
    "Preview": _PREVIEW,
    "Stats": _OBJECT,
    "Series": _record({"window": _STRING, "step_s": _NUMBER, "points": _list(_OBJECT)}),
    "Health": _record({"status": {"const": "ok"}, "version": _STRING, "uptime_s": _NUMBER}),
    "Readiness": _record(
        {
            "status": {
                "enum": ["ready", "leaving", "draining", "no catalog", "no target can serve"]
            },
            "running": _INTEGER,
            "store": _record({"status": {"enum": ["ok", "unavailable"]}}, {"message": _STRING}),
            "catalog": _record(
                {
                    "version": _or_null(_STRING),
                    "targets": _INTEGER,
                    "usable": _INTEGER,
                    "unusable": _list(_OBJECT),
                    "problems": _list(_PROBLEM),
                }
            ),
        }
    ),
    "Document": _OBJECT,
    "MessagesRequest": _record(
        {"model": _FULL, "messages": _list(_OBJECT, minItems=1)},
        {
            "max_tokens": _or_null(_COUNT),
            "system": {"anyOf": [_STRING, _list(_OBJECT), {"type": "null"}]},
            "tools": _or_null(_list(_OBJECT)),
            "stream": _or_null(_BOOLEAN),
            "router": _or_null(ref("Router")),
        },
    ),
    "MessagesAnswer": _record(
        {
            "id": _STRING,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": _STRING,
            "content": _list(_OBJECT),
            "usage": _OBJECT,
        }
    ),
    "MessagesError": _record(
        {
            "type": {"const": "error"},
            "error": _record({"type": _STRING, "message": _STRING}),
            "request_id": _STRING,
        }
    ),
    "TokenCount": _record({"input_tokens": _INTEGER}),
    "ResponsesRequest": _record(
        {"model": _FULL, "input": {"anyOf": [_FULL, _list(_OBJECT, minItems=1)]}},
        {
            "instructions": _or_null(_STRING),
            "max_output_tokens": _or_null(_COUNT),
            "tools": _or_null(_list(_OBJECT)),
            "stream": _or_null(_BOOLEAN),
            "store": {"enum": [False, None]},
            "previous_response_id": {"type": "null"},
            "background": {"enum": [False, None]},
            "router": _or_null(ref("Router")),
        },
    ),
    "ResponsesAnswer": _record(
        {
            "id": _STRING,
            "object": {"const": "response"},
            "model": _STRING,
            "output": _list(_OBJECT),
        }
    ),
    "EmbeddingsRequest": _record(
        {"model": _FULL, "input": {"anyOf": [_FULL, {"type": "array", "minItems": 1}]}},
        {"router": _or_null(ref("Router"))},
    ),
    "CompletionsRequest": _record(
        {"model": _FULL, "prompt": {"anyOf": [_FULL, {"type": "array", "minItems": 1}]}},
        {
            "max_tokens": _or_null(_COUNT),
            "n": _or_null(_COUNT),
            "stream": _or_null(_BOOLEAN),
            "router": _or_null(ref("Router")),
        },
    ),
    "DecisionsRequest": _record(
        {"input": {"anyOf": [_FULL, {"type": "array", "minItems": 1}]}},
        {"model": _or_null(_FULL), "router": _or_null(ref("Router"))},
    ),
    "SystemOneRequest": _record(
        {"state": {"anyOf": [_FULL, _OBJECT, {"type": "array", "minItems": 1}]}},
        {"model": _or_null(_FULL), "router": _or_null(ref("Router"))},
    ),
    "Error": _record(
        {
            "error": _record(
                {
                    "message": _STRING,
                    "type": _STRING,
                    "param": _or_null(_STRING),
                    "code": _or_null(_STRING),
                }
            )
        },
        {"router": _EXPLAINED},
    ),
}
