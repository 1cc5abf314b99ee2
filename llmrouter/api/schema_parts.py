"""The pieces that the JSON Schemas of bodies are made of."""

from __future__ import annotations

from typing import Any

from llmrouter.api.request_parser import MAX_COUNT
from llmrouter.api.router_options import MAX_NAME

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Schema, optional: Schema | None = None, *, closed: bool = False) -> Schema:
    """An object with these members; `closed` refuses any other."""
    made: Schema = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    if closed:
        made["additionalProperties"] = False
    return made


def array(of: Schema, **bounds: int) -> Schema:
    """An array; `bounds` are `minItems` and `maxItems`."""
    return {"type": "array", "items": of, **bounds}


def or_null(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
FULL: Schema = {"type": "string", "minLength": 1}
