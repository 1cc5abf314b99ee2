"""The JSON Schemas of API keys: what is asked for, changed and shown."""

from __future__ import annotations

from llmrouter.api.schema_parts import (
    BOOLEAN,
    NUMBER,
    STRING,
    Schema,
    array,
    or_null,
    record,
    ref,
)
from llmrouter.ratelimit.policies import UNITS

_QUOTA = {"type": "string", "pattern": r"^\d+(\.\d+)?/\d*[smhd]$"}
_LIMITS = {
    "type": "object",
    "properties": dict.fromkeys(UNITS, _QUOTA),
    "additionalProperties": False,
}
_KEY_CHANGE = {
    "tier": or_null(STRING),
    "allow": or_null(array(STRING)),
    "limits": or_null(_LIMITS),
}
_KEY = record(
    {
        "id": or_null(STRING),
        "name": STRING,
        **_KEY_CHANGE,
        "admin": BOOLEAN,
        "managed": BOOLEAN,
        "created_at": or_null(NUMBER),
    },
    {
        "usage": array(
            record(
                {"unit": {"enum": list(UNITS)}}
                | {"limit": NUMBER, "used": NUMBER, "window_s": NUMBER}
            )
        )
    },
)

KEY_SCHEMAS: dict[str, Schema] = {
    "Key": _KEY,
    "Keys": record({"keys": array(ref("Key"))}),
    "KeyWanted": record({"name": STRING}, {**_KEY_CHANGE, "admin": BOOLEAN}, closed=True),
    "KeyChange": {**record({}, _KEY_CHANGE, closed=True), "minProperties": 1},
    "NewKey": {"allOf": [ref("Key"), record({"key": STRING})]},
}
