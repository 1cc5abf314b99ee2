"""JSON whose numbers keep their text where reading would change their value.

The arguments of a tool call may hold numbers that no double and no 64-bit integer can hold: ids of
20 digits, amounts with many decimals. Chat completions and Responses carry arguments as text,
Messages as an object, so between them such a number is read and written again. Here it becomes a
piece of ready JSON, which orjson writes out as it came. Documents without a long number, almost
all, are read as ever.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from llmrouter.domain.patterns import compile_bytes

_LONG: Final = compile_bytes(rb"[0-9][0-9.]{15}")


def has_long_numbers(body: bytes) -> bool:
    """Whether there may be numbers that reading changes."""
    return _LONG.search(body) is not None


def loads(body: bytes) -> Any:
    """The document. Raises ValueError where it is not JSON."""
    value = orjson.loads(body)
    if not has_long_numbers(body):
        return value
    try:
        return json.loads(body, parse_int=_integer, parse_float=_decimal)
    except RecursionError:
        return value


def with_exact_inputs(document: dict[str, Any], body: bytes) -> dict[str, Any]:
    """A request of Messages whose tool calls have their numbers as `body` has them."""
    if b'"tool_use"' not in body or not has_long_numbers(body):
        return document
    turns = document.get("messages")
    exact = loads(body)
    if not isinstance(turns, list) or not isinstance(exact, dict):
        return document
    for turn, read in zip(turns, exact["messages"], strict=True):
        blocks = turn.get("content") if isinstance(turn, dict) else None
        for number, block in enumerate(blocks if isinstance(blocks, list) else ()):
            if isinstance(block, dict) and block.get("type") == "tool_use" and "input" in block:
                block["input"] = read["content"][number]["input"]
    return document


def _integer(text: str) -> Any:
    short = len(text) < 19
    return int(text) if short else orjson.Fragment(text)


def _decimal(text: str) -> Any:
    value = float(text)
    return value if repr(value) == text else orjson.Fragment(text)
