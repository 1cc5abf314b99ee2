"""What a reply says about itself: usage, text, finish reason. Pure, and trusts no shape.

Replies come from servers no one here wrote, so every value may be missing or of another type; a
field that makes no sense is left out, it never breaks a reply that is otherwise good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.domain.completion import Usage

_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class ParsedResponse:
    """One body or chunk, read.

    `has_content` is true when it carries anything of an answer: text, a tool call, a refusal, audio
    or a provider's own field; a role alone is none. `choices` is how many choices it has. `done`
    marks the event that ends a stream.
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


def parsed(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None when it is anything else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def read(document: Mapping[str, Any]) -> ParsedResponse:
    """Read a chat completion or one chunk of it (`message` and `delta` alike)."""
    model, response_id = document.get("model"), document.get("id")
    usage = document.get("usage")
    choices = document.get("choices")
    text, finish, refusal, has_content = "", None, False, False
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    if not isinstance(choices, list):
        choices = ()
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        body = choice.get("message") or choice.get("delta")
        if isinstance(body, dict):
            text = text or _text(body.get("content"))
            refusal = refusal or bool(body.get("refusal"))
            has_content = (
                has_content or bool(text) or any(v for k, v in body.items() if k != "role")
            )
        elif isinstance(choice.get("text"), str):
            text = text or choice["text"]
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
        usage=usage_of(usage) if isinstance(usage, dict) else None,
        logprobs=logprobs,
        margins=margins,
        refusal=refusal or finish == "content_filter",
        has_content=has_content,
        choices=len(choices),
    )


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Token counts in any of the common spellings; None when there is no count at all.

    Reasoning tokens are billed as output. Most servers count them within the completion; where the
    total shows that one does not, they are added.
    """
    given = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    written = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    if given is None and written is None:
        return None
    taken = _mapping(usage.get("prompt_tokens_details", usage.get("input_tokens_details")))
    made = _mapping(usage.get("completion_tokens_details", usage.get("output_tokens_details")))
    cached = _count(taken.get("cached_tokens")) or 0
    cached = cached or _count(usage.get("prompt_cache_hit_tokens")) or 0
    reasoning = _count(made.get("reasoning_tokens")) or 0
    given, written = given or 0, written or 0
    if reasoning and _count(usage.get("total_tokens")) == given + written + reasoning:
        written += reasoning
    return Usage(given, written, min(cached, given), min(reasoning, written))


def error_of(document: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The message and HTTP status of an error object in a reply, or None where there is none."""
    error = document.get("error")
    if not error:
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


def _text(content: object) -> str:
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
