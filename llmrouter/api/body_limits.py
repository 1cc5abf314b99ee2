"""Bounds on what is inside a body, checked before the work that they bound.

A body of 10 MB may hold one long text, which is cheap, or millions of empty lists, which hold the
event loop for seconds: a JSON parser runs in one piece and lets nothing else run. So the brackets,
commas and colons outside strings are counted first, a megabyte at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from llmrouter.errors import BadRequest
from llmrouter.util.json_structure import STEPS, scanned

_BETWEEN: Final = np.isin(np.arange(256), list(b",:"))


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may hold; settings of the same names say more or less.

    `json_values` counts keys, list items and containers, `json_depth` containers within one
    another; `parts` are all parts of all messages together, `tools` tools and functions.
    """

    messages: int = 10_000
    parts: int = 10_000
    tools: int = 2_000
    json_values: int = 100_000
    json_depth: int = 100


DEFAULT_LIMITS: Final = BodyLimits()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a caller may take, in seconds.

    For a request's headers, between two requests on a connection, between two pieces of a body,
    and for a whole body.
    """

    header_s: float = 10.0
    idle_s: float = 75.0
    body_silence_s: float = 30.0
    body_s: float = 120.0


DEFAULT_TIMEOUTS: Final = Timeouts()


def check_structure(body: bytes, limits: BodyLimits) -> None:
    """Refuse a body with too many JSON values or too deep a nesting. Raises BadRequest.

    Most bodies are told by their length and a count of their brackets.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened <= limits.json_depth:
        if len(body) <= 2 * limits.json_values:
            return
        if opened + body.count(b",") + body.count(b":") <= limits.json_values:
            return
    values, depth = _structure(body)
    if depth > limits.json_depth:
        raise _over("the body", f"is nested {depth} levels deep", limits.json_depth, "json_depth")
    if values > limits.json_values:
        raise _over("the body", f"holds {values} JSON values", limits.json_values, "json_values")


def check_counts(document: dict[str, Any], limits: BodyLimits) -> None:
    """Refuse more messages, parts or tools than a request may have. Raises BadRequest."""
    for name in ("messages", "input"):
        messages = document.get(name)
        if isinstance(messages, list):
            _check(name, len(messages), limits.messages, "messages")
            _check(name, sum(map(_parts, messages)), limits.parts, "parts")
    for name in ("tools", "functions"):
        value = document.get(name)
        if isinstance(value, list):
            _check(name, len(value), limits.tools, "tools")


def _parts(message: object) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    return len(content) if isinstance(content, list) else 0


def _check(param: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise _over(param, f"has {count} {what}", most, what)


def _over(where: str, has: str, most: int, name: str) -> BadRequest:
    return BadRequest(
        f"{where} {has}, and this service takes {most} (LLMROUTER_MAX_{name.upper()})",
        param=None if " " in where else where,
        code="array_above_max_length" if name != "json_depth" else "invalid_json",
    )


def _structure(body: bytes) -> tuple[int, int]:
    """How many JSON values a body holds, and how deep; of a body that is not JSON, a guess."""
    values = depth = deepest = 0
    for _, characters, outside in scanned(body):
        kinds = characters[outside]
        steps = STEPS[kinds]
        steps = steps[steps != 0].astype(np.int32)
        values += int((steps > 0).sum() + _BETWEEN[kinds].sum())
        if len(steps):
            levels = np.cumsum(steps)
            deepest = max(deepest, depth + int(levels.max()))
            depth += int(levels[-1])
    return values, deepest
