"""The JSON Schemas of every body, as the OpenAPI document names them."""

from __future__ import annotations

from llmrouter.api.handlers.feedback import MAX_COMMENT
from llmrouter.api.request_parser import ROLES
from llmrouter.api.router_options import MAX_IDS
from llmrouter.api.schema_parts import (
    BOOLEAN,
    COUNT,
    FULL,
    INTEGER,
    NAME,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    array,
    or_null,
    record,
    ref,
)
from llmrouter.api.schemas_edits import CHANGES, FILES, KIND, LAST_OF, PREVIEW, VERSION
from llmrouter.domain.chat import CACHE_MODES, STRATEGIES
from llmrouter.domain.decision import Source

_ROUTER = record(
    {},
    {
        "tier": or_null(NAME),
        "latency_budget_ms": or_null(
            {"type": "number", "exclusiveMinimum": 0, "maximum": 86_400_000}
        ),
        "max_cost_usd": or_null({"type": "number", "minimum": 0, "maximum": 1_000_000}),
        "quality": or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "allow": or_null(array(NAME, minItems=1, maxItems=MAX_IDS)),
        "deny": or_null(array(NAME, maxItems=MAX_IDS)),
        "task": or_null(NAME),
        "session": or_null(NAME),
        "strategy": or_null({"enum": sorted(STRATEGIES)}),
        "cache": or_null({"enum": sorted(CACHE_MODES)}),
        "decision_id": or_null(NAME),
    },
    closed=True,
)
_PART: Schema = {
    "oneOf": [
        record({"type": {"const": "text"}, "text": STRING}),
        record({"type": {"type": "string", "not": {"const": "text"}}}),
    ]
}
_CONTENT: Schema = {"anyOf": [STRING, array(_PART, minItems=1)]}
_CALLS: Schema = {
    "tool_calls": or_null(array(OBJECT)),
    "function_call": or_null(OBJECT),
}
_MESSAGE: Schema = {
    "anyOf": [
        record({"role": {"enum": list(ROLES)}, "content": _CONTENT}, _CALLS),
        record(
            {"role": {"const": "assistant"}, "tool_calls": array(OBJECT, minItems=1)},
            {"content": or_null(_CONTENT), "function_call": or_null(OBJECT)},
        ),
    ]
}
_CHAT: Schema = {
    "tools": or_null(array(OBJECT)),
    "functions": or_null(array(OBJECT)),
    "stream": or_null(BOOLEAN),
    "stream_options": or_null(OBJECT),
    "response_format": or_null(OBJECT),
    "max_tokens": or_null(COUNT),
    "max_completion_tokens": or_null(COUNT),
    "n": or_null(COUNT),
    "reasoning_effort": or_null(STRING),
    "router": or_null(ref("Router")),
}
_MESSAGES = array(ref("Message"), minItems=1)
_DECISION: Schema = {
    "decision_id": STRING,
    "target": STRING,
    "model": STRING,
    "provider": STRING,
    "source": {"enum": [source.value for source in Source]},
    "confidence": or_null(NUMBER),
    "task": STRING,
    "reason": STRING,
    "alternatives": array(
        record(
            {
                "target": STRING,
                "score": or_null(NUMBER),
                "probability": or_null(NUMBER),
            }
        )
    ),
    "excluded": array(record({"target": STRING, "reason": STRING})),
    "fallbacks": array(STRING),
    "estimate": record(
        {"input_tokens": INTEGER, "cost_usd": or_null(NUMBER), "latency_ms": or_null(NUMBER)}
    ),
    "catalog_version": STRING,
    "fingerprint": STRING,
    "timing_ms": NUMBER,
}
_ATTEMPT = record(
    {
        "target": STRING,
        "outcome": {"enum": ["ok", "failed", "rejected", "cancelled"]},
        "reason": STRING,
        "latency_ms": NUMBER,
        "cost_usd": NUMBER,
    },
    {"confidence": NUMBER, "cost_estimated": BOOLEAN},
)
_EXPLAINED = record(
    {
        **_DECISION,
        "attempts": array(_ATTEMPT),
        "cost_usd": or_null(NUMBER),
        "latency_ms": or_null(NUMBER),
        "router_cost_usd": NUMBER,
    },
    {"phases_ms": {"type": "object"}, "bounds": {"type": "object"}},
)
_PROBLEM = record({"file": STRING, "line": INTEGER, "message": STRING})
_TARGET = record(
    {
        "id": STRING,
        "model": STRING,
        "provider": STRING,
        "description": STRING,
        "enabled": BOOLEAN,
        "price": record(
            {
                "input": NUMBER,
                "cached_input": or_null(NUMBER),
                "cache_write": or_null(NUMBER),
                "output": NUMBER,
            }
        ),
        "context_window": INTEGER,
        "max_output": or_null(INTEGER),
        "capabilities": array(STRING),
        "tiers": or_null(array(STRING)),
        "latency": record({"ttft_ms": NUMBER, "tokens_per_s": NUMBER}),
        "timeout_s": NUMBER,
        "ttft_timeout_s": NUMBER,
        "stall_timeout_s": NUMBER,
    }
)
_MODEL = record(
    {"id": STRING, "object": {"const": "model"}, "created": INTEGER, "owned_by": STRING},
    {
        "aliases": array(STRING),
        "context_length": INTEGER,
        "max_output_tokens": or_null(INTEGER),
        "capabilities": array(STRING),
        "pricing": record(
            {
                "input": NUMBER,
                "cached_input": or_null(NUMBER),
                "output": NUMBER,
                "unit": STRING,
            }
        ),
    },
)
_MODEL_INFO = record(
    {"type": {"const": "model"}, "id": STRING, "display_name": STRING, "created_at": STRING},
    {
        "lifecycle": STRING,
        "max_input_tokens": or_null(INTEGER),
        "max_tokens": or_null(INTEGER),
        "capabilities": OBJECT,
    },
)

SCHEMAS: dict[str, Schema] = {
    "Router": _ROUTER,
    "Message": _MESSAGE,
    "ChatRequest": record({"model": FULL, "messages": _MESSAGES}, _CHAT),
    "RoutableRequest": {
        "anyOf": [
            {
                **record({"messages": _MESSAGES}, {"model": or_null(FULL), **_CHAT}),
                "not": {"required": ["prompt"]},
            },
            record(
                {"prompt": FULL},
                {"messages": {"type": "null"}, "model": or_null(FULL), **_CHAT},
            ),
        ]
    },
    "Feedback": record(
        {"decision_id": NAME, "score": {"type": "number", "minimum": -1, "maximum": 1}},
        {
            "preferred": or_null(NAME),
            "comment": or_null({"type": "string", "minLength": 1, "maxLength": MAX_COMMENT}),
        },
        closed=True,
    ),
    "Accepted": record({"status": {"const": "accepted"}, "decision_id": STRING}),
    "Decision": record(_DECISION),
    "Decisions": record({"decisions": array(OBJECT)}),
    "ChatCompletion": {"type": "object", "description": "The upstream's own answer, as it came."},
    "Completion": {
        "type": "object",
        "description": "The upstream's own answer with `router` added.",
        "properties": {"router": _EXPLAINED},
    },
    "Model": {"anyOf": [_MODEL, _MODEL_INFO]},
    "Models": {
        "anyOf": [
            record({"object": {"const": "list"}, "data": array(_MODEL)}),
            record(
                {
                    "data": array(_MODEL_INFO),
                    "has_more": {"type": "boolean"},
                    "first_id": or_null(STRING),
                    "last_id": or_null(STRING),
                }
            ),
        ]
    },
    "Catalog": record(
        {
            "version": STRING,
            "default": STRING,
            "quality": NUMBER,
            "targets": array(_TARGET),
            "warnings": array(STRING),
            "problems": array(_PROBLEM),
        }
    ),
    "CatalogFile": record({"text": STRING}),
    "CatalogFiles": record({"files": OBJECT}),
    "CatalogCheck": record(
        {"ok": {"type": "boolean"}, "problems": array(_PROBLEM), "warnings": array(_PROBLEM)}
    ),
    "CanaryStart": record({"files": OBJECT}, {"share": NUMBER}),
    "Canary": {"type": "object", "properties": {"status": STRING}, "required": ["status"]},
    "CatalogVersion": record({}, {"version": or_null(STRING)}),
    "CatalogHistory": record(
        {
            "id": STRING,
            "versions": array(record({"version": STRING, "at": NUMBER, "text": or_null(STRING)})),
        }
    ),
    "CatalogTrial": {
        "oneOf": [
            record({"request": ref("RoutableRequest"), "files": FILES}, closed=True),
            record({"request": ref("RoutableRequest"), "version": STRING}, closed=True),
        ]
    },
    "Learning": record({"serving": {"type": "boolean"}, "tasks": OBJECT}),
    "LearningRollBack": record({"learned": INTEGER, "instead_of": INTEGER}),
    "CatalogEdit": {
        "oneOf": [
            record({"id": STRING, "text": or_null(STRING)}, {"last": LAST_OF}, closed=True),
            record({"files": FILES}, {"last": LAST_OF}, closed=True),
            record({"version": STRING}, {"last": LAST_OF}, closed=True),
        ]
    },
    "Prompts": record(
        {
            "version": STRING,
            "files": {
                "type": "object",
                "additionalProperties": record({"text": STRING, "etag": STRING}),
            },
            "problems": array(_PROBLEM),
        }
    ),
    "PromptsEdit": record(
        {"files": FILES},
        {"seen": or_null({"type": "object", "additionalProperties": STRING})},
        closed=True,
    ),
    "PromptsSaved": record({"version": STRING, "catalog": ref("Catalog")}),
    "Versions": record({"versions": array(record(VERSION)), "next": or_null(STRING)}),
    "Version": record({**VERSION, "files": {"type": "object", "additionalProperties": STRING}}),
    "VersionDiff": record(
        {
            "from": STRING,
            "to": STRING,
            "files": array(record({"path": STRING, "kind": KIND, "diff": STRING})),
            "changes": CHANGES,
            "problem": or_null(STRING),
        }
    ),
    "Preview": PREVIEW,
    "Frontier": record({"decisions": INTEGER, "tasks": OBJECT}),
    "WhoAmI": record(
        {
            "name": STRING,
            "tier": or_null(STRING),
            "admin": {"type": "boolean"},
            "open": {"type": "boolean"},
            "has_admin_key": {"type": "boolean"},
            "version": STRING,
            "records_prompts": {"type": "boolean"},
            "can": OBJECT,
        }
    ),
    "Stats": OBJECT,
    "Series": record({"window": STRING, "step_s": NUMBER, "points": array(OBJECT)}),
    "Health": record({"status": {"const": "ok"}, "version": STRING, "uptime_s": NUMBER}),
    "Readiness": record(
        {
            "status": {
                "enum": ["ready", "leaving", "draining", "no catalog", "no target can serve"]
            },
            "running": INTEGER,
            "store": record({"status": {"enum": ["ok", "unavailable"]}}, {"message": STRING}),
            "catalog": record(
                {
                    "version": or_null(STRING),
                    "targets": INTEGER,
                    "usable": INTEGER,
                    "unusable": array(OBJECT),
                    "problems": array(_PROBLEM),
                }
            ),
        }
    ),
    "Error": record(
        {
            "error": record(
                {
                    "message": STRING,
                    "type": STRING,
                    "param": or_null(STRING),
                    "code": or_null(STRING),
                }
            )
        },
        {"router": _EXPLAINED},
    ),
}
