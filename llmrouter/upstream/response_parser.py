"""What a reply says about itself: usage, text, finish reason. Pure, and trusts no shape.

Replies come from servers of all kinds, so every value may be missing or of another type; a
field that makes no sense is left out, it never breaks a reply that is otherwise good.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.domain.completion import ChoicePart, Usage
from llmrouter.upstream.usage_parser import usage_in

_NOTHING: Mapping[str, Any] = {}
_BROKEN_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
"""Finish reasons of an answer that its server gave up: OpenRouter's, vLLM's and DeepSeek's."""
_NOT_WRITTEN = frozenset({"id", "type", "data", "b64_json", "signature"})
_CONSTANTS = {"-Infinity": -1e300, "Infinity": None, "NaN": None}


@dataclass(slots=True)
class ParsedResponse:
    """One body or chunk, read.

    `has_content` is true when it carries anything of an answer: text, a tool call, a refusal, audio
    or a provider's own field; a role alone is none. `choices` is how many choices it has, `text` is
    the first one's; `written` counts the bytes of text in all of them, thought and tool calls too.
    `done` marks the event that ends a stream. `parts` are the choices one by one, where there are
    others than the first.
    """

    text: str = ""
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    usage: Usage | None = None
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    refusal: bool = False
    has_content: bool = False
    choices: int = 0
    done: bool = False
    written: int = 0
    calls_tools: bool = False
    parts: tuple[ChoicePart, ...] = ()


def parsed(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None when it is anything else.

    What Python's and JavaScript's parsers take and a strict one does not (half a surrogate pair,
    `NaN` and `-Infinity` among log-probabilities) is read too: such bytes are relayed as they are,
    and no reading of them holds what could not be written again. An error wrapped in a list
    (Gemini) is that error.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _leniently(data)
    if type(value) is list and value and isinstance(value[0], dict) and "error" in value[0]:
        value = value[0]
    return value if type(value) is dict else None


def _leniently(data: bytes) -> Any:
    try:
        value = json.loads(data.decode(), parse_constant=_CONSTANTS.__getitem__)
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def read(document: Mapping[str, Any]) -> ParsedResponse:
    """Read a chat completion or one chunk of it (`message` and `delta` alike)."""
    model, response_id = document.get("model"), document.get("id")
    choices = document.get("choices")
    text, finish, refusal, has_content, written = "", None, False, False, 0
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    if not isinstance(choices, list):
        choices = ()
    calls_tools, several = False, len(choices) > 1
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        several = several or bool(choice.get("index"))
        calls_tools = calls_tools or _calls_tools(choice)
        body = choice.get("message") or choice.get("delta")
        if isinstance(body, dict):
            text = text or text_of(body.get("content"))
            written += sum([written_in(v) for k, v in body.items() if k != "role"])
            refusal = refusal or bool(body.get("refusal"))
            has_content = (
                has_content or bool(text) or any(v for k, v in body.items() if k != "role")
            )
        elif isinstance(choice.get("text"), str):
            text = text or choice["text"]
            written += written_in(choice["text"])
            has_content = has_content or bool(text)
        reason = choice.get("finish_reason")
        if finish is None and isinstance(reason, str):
            finish = reason
        if choice.get("logprobs") and not logprobs:
            logprobs, margins = _logprobs(choice["logprobs"])
    return ParsedResponse(
        text=text,
        finish_reason=finish,
        model=model if isinstance(model, str) else None,
        response_id=response_id if isinstance(response_id, str) else None,
        usage=usage_in(document),
        logprobs=logprobs,
        margins=margins,
        refusal=refusal or finish == "content_filter",
        has_content=has_content,
        choices=len(choices),
        written=written,
        calls_tools=calls_tools,
        parts=_parts(choices) if several else (),
    )


def _parts(choices: Sequence[Any]) -> tuple[ChoicePart, ...]:
    """Each choice by itself, under the index that it gives, else its place."""
    parts: list[ChoicePart] = []
    for place, choice in enumerate(choices):
        if not isinstance(choice, dict):
            continue
        body = _mapping(choice.get("message") or choice.get("delta"))
        index, reason, text = choice.get("index"), choice.get("finish_reason"), choice.get("text")
        logprobs, margins = _logprobs(choice.get("logprobs"))
        parts.append(
            ChoicePart(
                index=index if type(index) is int else place,
                text=text_of(body.get("content")) or (text if isinstance(text, str) else ""),
                finish_reason=reason if isinstance(reason, str) else None,
                logprobs=logprobs,
                margins=margins,
                refusal=bool(body.get("refusal")) or reason == "content_filter",
                calls_tools=_calls_tools(choice),
            )
        )
    return tuple(parts)


def _calls_tools(choice: Mapping[str, Any]) -> bool:
    """Whether a choice holds a tool call; many servers end one with `stop`."""
    body = _mapping(choice.get("message") or choice.get("delta"))
    return bool(body.get("tool_calls") or body.get("function_call"))


def error_of(document: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The message and HTTP status of an error in a reply of status 200, or None where it has none.

    It may stand beside the choices or in one of them, or a choice may say that it ended in one.
    """
    error = document.get("error")
    if not error:
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            error = choice.get("error")
            if error:
                break
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason in _BROKEN_OFF:
                return f"the answer ended in {reason!r}", None
        else:
            return None
    if not isinstance(error, dict):
        return str(error)[:500], None
    status = None
    for name in ("status", "code", "status_code"):
        number = _count(error.get(name))
        if number is not None and 400 <= number <= 599:
            status = number
            break
    return str(error.get("message") or error.get("code") or "no message")[:500], status


def written_in(value: object, depth: int = 8) -> int:
    """Bytes of text written in a value: not its names, ids, or sounds and pictures."""
    if isinstance(value, str):
        if value.isascii():
            return 0 if value.startswith("data:") else len(value)
        return len(value.encode("utf-8", "replace"))
    if depth and isinstance(value, dict):
        return sum([written_in(v, depth - 1) for k, v in value.items() if k not in _NOT_WRITTEN])
    if depth and isinstance(value, list):
        return sum([written_in(inner, depth - 1) for inner in value])
    return 0


def text_of(content: object) -> str:
    """The text of a message's content, whether it is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def _logprobs(value: object) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Each token's log-probability, and each one's margin where the two likeliest are given."""
    tokens = _mapping(value).get("content")
    if not isinstance(tokens, list):
        return (), ()
    logprobs: list[float] = []
    margins: list[float] = []
    for token in tokens:
        if (logprob := _logprob(token)) is not None:
            logprobs.append(logprob)
            if (margin := _margin(token.get("top_logprobs"))) is not None:
                margins.append(margin)
    return tuple(logprobs), tuple(margins)


def _logprob(token: object) -> float | None:
    """A token's log-probability, -100 at least (some servers write -inf as -9999), or None."""
    value = _mapping(token).get("logprob")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return min(0.0, max(float(value), -100.0))


def _margin(top: object) -> float | None:
    """How far the likeliest token's probability is ahead of the next one's; None without two."""
    if not isinstance(top, list):
        return None
    likeliest = sorted(p for token in top if (p := _logprob(token)) is not None)[-2:]
    return math.exp(likeliest[1]) - math.exp(likeliest[0]) if len(likeliest) == 2 else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value)
