"""The JSON Schemas of edits: a catalog's files, versions, differences and previews."""

from __future__ import annotations

from llmrouter.api.handlers.catalog_files import MOST_FILES
from llmrouter.api.handlers.preview import LAST, MOST
from llmrouter.api.schema_parts import (
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    array,
    or_null,
    record,
)
from llmrouter.catalog.loader import ROUTER, ROUTING, VERIFIER

LAST_OF = or_null({"type": "integer", "minimum": 1, "maximum": MOST, "default": LAST})
FILES: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": MOST_FILES,
    "propertyNames": {
        "anyOf": [
            {"enum": [ROUTING, ROUTER, VERIFIER]},
            {"pattern": r"^catalog/[a-z0-9][a-z0-9._-]{0,79}\.md$"},
        ]
    },
    "additionalProperties": or_null(STRING),
}
_MOVE = record(
    {"before": STRING, "after": STRING, "requests": INTEGER}
    | {"before_usd": NUMBER, "after_usd": NUMBER}
)
KIND = {"enum": ["added", "removed", "changed"]}
CHANGES = array(
    record(
        {"kind": KIND, "where": STRING, "field": STRING, "text": STRING}
        | {"before": {}, "after": {}}
    )
)
VERSION = {
    "version": STRING,
    "at": NUMBER,
    "by": or_null(STRING),
    "how": {"enum": ["http", "file", "canary", "revert", "undo"]},
    "note": or_null(STRING),
    "added": array(STRING),
    "changed": array(STRING),
    "removed": array(STRING),
}
PREVIEW = record(
    {
        "headline": STRING,
        "changes": CHANGES,
        "warnings": array(STRING),
        "recorded": INTEGER,
        "replayed": INTEGER,
        "told": INTEGER,
        "since": or_null(NUMBER),
        "decided": record({"before": OBJECT, "after": OBJECT}),
        "moved": INTEGER,
        "before_usd": NUMBER,
        "after_usd": NUMBER,
        "moves": array(_MOVE),
        "tasks": array(
            record(
                {"task": STRING, "requests": INTEGER, "moved": INTEGER}
                | {"before_usd": NUMBER, "after_usd": NUMBER}
            )
        ),
        "eligibility": array(
            record(
                {"target": STRING, "change": {"enum": ["lost", "gained"]}}
                | {"requests": INTEGER, "reason": STRING}
            )
        ),
        "refusals": array(record({"status": INTEGER, "requests": INTEGER, "message": STRING})),
        "served_again": INTEGER,
        "examples": array(
            record(
                {"decision_id": STRING, "task": STRING, "reason": STRING}
                | {name: or_null(STRING) for name in ("before", "after", "text")}
            )
        ),
        "notes": array(STRING),
    }
)
