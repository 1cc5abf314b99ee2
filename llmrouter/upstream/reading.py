"""What a reply says about itself: usage, text, finish reason. Pure, and trusts no shape.

Replies come from servers no one here wrote, so every value may be missing or of another type; a
field that makes no sense is left out, it never breaks a reply that is otherwise good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.domain.reply import Usage

_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Reading:
    """One body or chunk, read.

    `substance` is true when it carries anything of an answer: text, a tool call, a refusal, audio
    or a provider's own field; a role alone is none. `choices` is how many choices it has.
    """

    text: str = ""
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    usage: Usage | None = None
    logprobs: tuple[float, ...] = ()
    refusal: bool = False
    substance: bool = False
    choices: int = 0


def parsed(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None when it is anything else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def read(document: Mapping[str, Any]) -> Reading:
    """Read a chat completion or one chunk of it (`message` and `delta` alike)."""
    model, response_id = document.get("model"), document.get("id")
    usage = document.get("usage")
    choices = document.get("choices")
    text, finish, refusal, substance = "", None, False, False
    logprobs: tuple[float, ...] = ()
    if not isinstance(choices, list):
        choices = ()
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        body = choice.get("message") or choice.get("delta")
        if isinstance(body, dict):
            text = text or _text(body.get("content"))
            refusal = refusal or bool(body.get("refusal"))
            substance = substance or bool(text) or any(v for k, v in body.items() if k != "role")
        elif isinstance(choice.get("text"), str):
            text = text or choice["text"]
            substance = substance or bool(text)
        reason = choice.get("finish_reason")
        if finish is None and isinstance(reason, str):
            finish = reason
        if choice.get("logprobs"):
            logprobs = logprobs or _logprobs(choice["logprobs"])
    return Reading(
        text=text,
        finish_reason=finish,
        model=model if isinstance(model, str) else None,
        response_id=response_id if isinstance(response_id, str) else None,
        usage=usage_of(usage) if isinstance(usage, dict) else None,
        logprobs=logprobs,
        refusal=refusal or finish == "content_filter",
        substance=substance,
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


def _logprobs(value: object) -> tuple[float, ...]:
    tokens = _mapping(value).get("content")
    if not isinstance(tokens, list):
        return ()
    found = (token.get("logprob") for token in tokens if isinstance(token, dict))
    return tuple(float(p) for p in found if isinstance(p, int | float))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value)
