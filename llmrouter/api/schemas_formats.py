"""The JSON Schemas of the wire formats that other services made: Messages, Responses and so on."""

from __future__ import annotations

from llmrouter.api.schema_parts import (
    BOOLEAN,
    COUNT,
    FULL,
    INTEGER,
    OBJECT,
    STRING,
    Schema,
    array,
    or_null,
    record,
    ref,
)

FORMAT_SCHEMAS: dict[str, Schema] = {
    "Document": OBJECT,
    "MessagesRequest": record(
        {"model": FULL, "messages": array(OBJECT, minItems=1)},
        {
            "max_tokens": or_null(COUNT),
            "system": {"anyOf": [STRING, array(OBJECT), {"type": "null"}]},
            "tools": or_null(array(OBJECT)),
            "stream": or_null(BOOLEAN),
            "router": or_null(ref("Router")),
        },
    ),
    "MessagesAnswer": record(
        {
            "id": STRING,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": STRING,
            "content": array(OBJECT),
            "usage": OBJECT,
        }
    ),
    "MessagesError": record(
        {
            "type": {"const": "error"},
            "error": record({"type": STRING, "message": STRING}),
            "request_id": STRING,
        }
    ),
    "TokenCount": record({"input_tokens": INTEGER}),
    "ResponsesRequest": record(
        {"model": FULL, "input": {"anyOf": [FULL, array(OBJECT, minItems=1)]}},
        {
            "instructions": or_null(STRING),
            "max_output_tokens": or_null(COUNT),
            "tools": or_null(array(OBJECT)),
            "stream": or_null(BOOLEAN),
            "store": {"enum": [False, None]},
            "previous_response_id": {"type": "null"},
            "background": {"enum": [False, None]},
            "router": or_null(ref("Router")),
        },
    ),
    "ResponsesAnswer": record(
        {
            "id": STRING,
            "object": {"const": "response"},
            "model": STRING,
            "output": array(OBJECT),
        }
    ),
    "EmbeddingsRequest": record(
        {"model": FULL, "input": {"anyOf": [FULL, {"type": "array", "minItems": 1}]}},
        {"router": or_null(ref("Router"))},
    ),
    "CompletionsRequest": record(
        {"model": FULL, "prompt": {"anyOf": [FULL, {"type": "array", "minItems": 1}]}},
        {
            "max_tokens": or_null(COUNT),
            "n": or_null(COUNT),
            "stream": or_null(BOOLEAN),
            "router": or_null(ref("Router")),
        },
    ),
    "DecisionsRequest": record(
        {"input": {"anyOf": [FULL, {"type": "array", "minItems": 1}]}},
        {"model": or_null(FULL), "router": or_null(ref("Router"))},
    ),
    "SystemOneRequest": record(
        {"state": {"anyOf": [FULL, OBJECT, {"type": "array", "minItems": 1}]}},
        {"model": or_null(FULL), "router": or_null(ref("Router"))},
    ),
}
