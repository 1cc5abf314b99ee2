"""Reads what an upstream says in an error, and says whose fault it is.

Errors come in many shapes: OpenAI's `{"error": {…}}`, the same in a list (Gemini), `error` as a
string beside `code` (xAI), `{"message": …}` (Cohere, Bedrock), `{"object": "error", …}` (vLLM,
Mistral), `{"detail": …}` (FastAPI), a provider's own error inside a gateway's (OpenRouter,
LiteLLM). `read_error` takes them all and trusts none. `category_of` holds what was read against
the table of signs (`error_signs`), then against the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from llmrouter.domain.error_signs import SIGNS, ErrorCategory, Sign
from llmrouter.errors import UpstreamFailure

MAX_TEXT = 4000
"""Characters of a message that are looked at; longer ones quote the request."""
MAX_DEPTH = 2

_BY_STATUS: Mapping[int, ErrorCategory] = {
    401: ErrorCategory.MISCONFIGURED,
    403: ErrorCategory.MISCONFIGURED,
    404: ErrorCategory.MISCONFIGURED,
    405: ErrorCategory.MISCONFIGURED,
    407: ErrorCategory.MISCONFIGURED,
    408: ErrorCategory.SERVER_ERROR,
    409: ErrorCategory.CONFLICT,
    413: ErrorCategory.CONTEXT_OVERFLOW,
    425: ErrorCategory.CONFLICT,
    501: ErrorCategory.NOT_IMPLEMENTED,
    505: ErrorCategory.NOT_IMPLEMENTED,
    503: ErrorCategory.OVERLOADED,
    529: ErrorCategory.OVERLOADED,
}
_LITELLM_MARKS = ("exception - ", "error: ")


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as it was read. `names` are all its codes and types, in lower case; `texts` its
    message and those of the providers behind it, in lower case and cut at MAX_TEXT."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    names: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    shaped: bool = False
    """Whether the body is an error as OpenAI's clients know it: `{"error": {…}}`."""
    retry_after_s: float | None = None
    """Google's `RetryInfo`, which stands in the body and in no header."""


_NOTHING = ProviderError()


def read_error(body: bytes) -> ProviderError:
    """The error in a body; never raises, an empty one where there is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[:MAX_TEXT].decode("utf-8", "replace").strip()
        return (
            ProviderError(texts=(text.lower(),)) if text and not text.startswith("<") else _NOTHING
        )
    return error_in(document)


def error_in(document: object, depth: int = 0) -> ProviderError:
    """The error in a parsed body; what a gateway passes on is read MAX_DEPTH levels deep."""
    wrapped = isinstance(document, list)
    if isinstance(document, list):
        document = next((item for item in document if isinstance(item, dict)), None)
    if not isinstance(document, dict):
        return _NOTHING
    inner = document.get("error") or _in_choice(document)
    shaped = isinstance(document.get("error"), dict) and not wrapped
    if isinstance(inner, dict):
        said = {**document, **inner}
    elif isinstance(inner, str):
        said = {**document, "message": inner}
    else:
        said = document
    message = _message(said)
    kind, code, param = said.get("type"), said.get("code"), said.get("param")
    own_kind = None if kind == "error" else kind
    behind = tuple(_behind(message, said, depth)) if depth < MAX_DEPTH else ()
    names = frozenset(name.lower() for name in _names(said)).union(*(one.names for one in behind))
    if isinstance(param, str) and not param.startswith(("messages", "input", "prompt")):
        names -= {"string_above_max_length"}  # `user` over 64 characters is another matter
    texts = (message[:MAX_TEXT].lower(), *(text for one in behind for text in one.texts))
    return ProviderError(
        message=message,
        type=own_kind if isinstance(own_kind, str) else None,
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
        names=names,
        texts=texts,
        shaped=shaped,
        retry_after_s=_retry_info_s(said),
    )


def category_of(failure: UpstreamFailure) -> ErrorCategory:
    """Whose fault a failure is. Worked out once a failure."""
    known = failure.category
    if known is None:
        known = failure.category = _category(failure)
    return ErrorCategory(known)


def classify(status: int | None, error: ProviderError) -> ErrorCategory:
    """What the table of signs says of an error with this status, else what the status says.

    `status` is None for an error in a 200 that names none.
    """
    said = category_said(status, error)
    if said is not None:
        return said
    if status is None:
        return ErrorCategory.SERVER_ERROR
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ErrorCategory.SERVER_ERROR if status >= 500 else ErrorCategory.INVALID_REQUEST


def category_said(status: int | None, error: ProviderError) -> ErrorCategory | None:
    """What the table of signs says of an error with this status; None where it knows nothing."""
    return next((sign.category for sign in SIGNS if _matches(sign, status, error)), None)


def _category(failure: UpstreamFailure) -> ErrorCategory:
    if failure.kind not in ("status", "error_body"):
        return _by_kind(failure.kind)
    return classify(failure.status, read_error(failure.body))


def _by_kind(kind: str) -> ErrorCategory:
    try:
        return ErrorCategory(kind)
    except ValueError:
        return ErrorCategory.MALFORMED


def _matches(sign: Sign, status: int | None, error: ProviderError) -> bool:
    if sign.statuses and status not in sign.statuses and not (status is None and _worded(sign)):
        return False
    if not _worded(sign):
        return True
    if not sign.names.isdisjoint(error.names):
        return True
    return any(
        any(words in text for words in sign.words) or (sign.begins and _begins(text, sign.begins))
        for text in error.texts
    )


def _worded(sign: Sign) -> bool:
    return bool(sign.names or sign.words or sign.begins)


def _begins(text: str, begins: tuple[str, ...]) -> bool:
    """Whether a message begins so, or what LiteLLM put in front of it is followed by that."""
    if text.startswith(begins):
        return True
    for mark in _LITELLM_MARKS:
        at = text.find(mark, 0, 120)
        if at >= 0 and text.startswith("litellm.") and text.startswith(begins, at + len(mark)):
            return True
    return False


def _in_choice(document: Mapping[str, Any]) -> object:
    choices = document.get("choices")
    found = (c.get("error") for c in choices if isinstance(c, dict)) if _is_list(choices) else ()
    return next((error for error in found if error), None)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _message(said: Mapping[str, Any]) -> str:
    for name in ("message", "Message", "detail", "error_message", "msg"):
        value = said.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list):
            value = next((item for item in value if isinstance(item, dict)), None)
        if isinstance(value, dict):
            inner = value.get("msg") or value.get("message") or value.get("detail")
            if isinstance(inner, str):
                return inner
    code = said.get("code")
    return code if isinstance(code, str) else ""


def _behind(message: str, said: Mapping[str, Any], depth: int) -> Iterator[ProviderError]:
    """The errors of the providers behind a gateway: its `metadata.raw`, or JSON as its message."""
    metadata = said.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    for inner in (raw, message if message.lstrip().startswith(("{", "[")) else None):
        if isinstance(inner, str):
            parsed = _parsed(inner)
            text = inner[:MAX_TEXT].lower()
            yield ProviderError(texts=(text,)) if parsed is None else error_in(parsed, depth + 1)
        elif isinstance(inner, dict):
            yield error_in(inner, depth + 1)


def _names(said: Mapping[str, Any]) -> Iterator[str]:
    for name in ("type", "code", "status", "reason", "__type"):
        value = said.get(name)
        if isinstance(value, str):
            yield value.rpartition("#")[2]  # Bedrock: com.amazon…#ThrottlingException
    details = said.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            yield detail["reason"]
    deeper = said.get("innererror")
    if isinstance(deeper, dict) and isinstance(deeper.get("code"), str):
        yield deeper["code"]
    metadata = said.get("metadata")
    if isinstance(metadata, dict):
        if "flagged_input" in metadata or metadata.get("reasons"):
            yield "moderation"
        for name in ("limit_source", "error_type"):
            if isinstance(metadata.get(name), str):
                yield metadata[name]


def _retry_info_s(said: Mapping[str, Any]) -> float | None:
    details = said.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                seconds = float(delay[:-1])
            except ValueError:
                continue
            if 0 <= seconds < 1e9:
                return seconds
    return None


def _parsed(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
