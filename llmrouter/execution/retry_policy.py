"""What follows from a failed attempt: one table, for streaming and not.

While another target is left, it is tried at once: a failure costs the caller its own time and no
more. Only when none is left is a target tried again, after a wait. What the caller must mend is
never hidden behind another target: the upstream's own words go back. A target that lacks our
credentials or does not know its model is our misconfiguration, so others answer meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import orjson

from llmrouter.errors import UpstreamFailure


class Next(Enum):
    """What may be tried after a failure."""

    ELSEWHERE = "another target"
    LARGER = "a target with a larger context window"
    NOTHING = "the caller must change the request"


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`repeat`: the same target may be tried again later. `ill`: it counts against its health.

    `ours` marks a misconfiguration, which is counted and logged on its own.
    """

    then: Next
    repeat: bool = False
    ill: bool = False
    ours: bool = False


TRANSIENT = RetryDecision(Next.ELSEWHERE, repeat=True, ill=True)
BUSY = RetryDecision(Next.ELSEWHERE, repeat=True)
BROKEN = RetryDecision(Next.ELSEWHERE, ill=True)
SKIPPED = RetryDecision(Next.ELSEWHERE)
OURS = RetryDecision(Next.ELSEWHERE, ill=True, ours=True)
TOO_LONG = RetryDecision(Next.LARGER)
FINAL = RetryDecision(Next.NOTHING)

BY_KIND: dict[str, RetryDecision] = {
    "connect": TRANSIENT,
    "interrupted": TRANSIENT,
    "timeout": BROKEN,
    "empty": BUSY,
    "malformed": BROKEN,
    "error_body": TRANSIENT,
    "too_large": SKIPPED,
    "misconfigured": OURS,
    "saturated": BUSY,
    "circuit_open": SKIPPED,
    "untranslatable": SKIPPED,
}
BY_STATUS: dict[int, RetryDecision] = {
    401: OURS,
    402: OURS,
    403: OURS,
    404: OURS,
    405: OURS,
    407: OURS,
    408: TRANSIENT,
    409: BUSY,
    425: BUSY,
    429: TRANSIENT,
    501: BROKEN,
    505: BROKEN,
}
_TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length"})
_TOO_LONG_WORDS = (
    "maximum context length",
    "context length",
    "context window",
    "prompt is too long",
    "exceed_context_size",
    "too many tokens",
)
ADDED = ("stream_options", "logprobs")
_FILTERED = frozenset({"content_filter", "content_policy_violation"})


def consequence(failure: UpstreamFailure, *, on_refusal: bool = False) -> RetryDecision:
    """What follows. `on_refusal`: a content filter's refusal is tried elsewhere, not final."""
    status = failure.status
    if failure.kind not in ("status", "error_body") or (status is None and not failure.body):
        return BY_KIND.get(failure.kind, BROKEN)
    if status is not None and status in BY_STATUS:
        return BY_STATUS[status]
    if status is not None and status >= 500:
        return TRANSIENT
    _, message, code, _ = said(failure.body)
    if code in _TOO_LONG or any(words in message.lower() for words in _TOO_LONG_WORDS):
        return TOO_LONG
    if code in _FILTERED:
        return SKIPPED if on_refusal else FINAL
    return FINAL if status is not None else BY_KIND[failure.kind]


def said(body: bytes) -> tuple[str | None, str, str | None, str | None]:
    """`(type, message, code, param)` of an OpenAI-shaped error body; absent ones None or ""."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, "", None, None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):
        return None, error, None, None
    if not isinstance(error, dict):
        return None, "", None, None
    kind, code, param = error.get("type"), error.get("code"), error.get("param")
    return (
        kind if isinstance(kind, str) else None,
        str(error.get("message") or ""),
        code if isinstance(code, str) else None,
        param if isinstance(param, str) else None,
    )


def rejected_option(failure: UpstreamFailure) -> str | None:
    """Which option that this service may have added an older server refuses, or None."""
    if failure.status not in (400, 422):
        return None
    return next((name for name in ADDED if name.encode() in failure.body), None)
