"""How an execution ends when it does not end well: the error a caller gets, in either form."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from llmrouter.domain.completion import Attempt, ResponseEvent
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.interfaces import RATE_LIMITED
from llmrouter.domain.provider_errors import category_of, read_error
from llmrouter.errors import (
    DeadlineExceeded,
    LLMRouterError,
    NoEligibleTarget,
    Overloaded,
    RefusalBody,
    TargetsRateLimited,
    UpstreamFailed,
    UpstreamFailure,
    UpstreamRefused,
)
from llmrouter.execution.retry_policy import consequence

_NO_ROOM = frozenset({"saturated", "circuit_open", "cooldown"})
_CODES = {
    ErrorCategory.CONTEXT_OVERFLOW: "context_length_exceeded",
    ErrorCategory.CONTENT_FILTERED: "content_filter",
}


def final_error(
    failures: Sequence[UpstreamFailure],
    final: UpstreamFailure | None,
    attempts: Sequence[Attempt],
    deadline: Deadline,
) -> LLMRouterError:
    """The error once no attempt is left: the upstream's own refusal, 504, 503 or 502."""
    if final is None and failures and all(_asks_too_much(failure) for failure in failures):
        final = failures[0]  # no target takes it: the chosen one's own words say what
    if final is not None and (refused := refusal_of(final)) is not None:
        return refused
    listed = "; ".join(f"{attempt.target}: {attempt.reason}" for attempt in attempts)
    if deadline.remaining_s() <= 0.001:
        tried = f" ({listed})" if listed else ""
        return DeadlineExceeded(f"the request's time budget ran out{tried}")
    if failures and all(failure.kind == "untranslatable" for failure in failures):
        return NoEligibleTarget(f"no target can be sent this request: {listed}")
    waits = [f.retry_after_s for f in failures if f.retry_after_s is not None]
    if any(failure.kind == "saturated" for failure in failures):
        waits.append(1.0)
    wait_s = min(waits, default=1.0)
    if failures and all(is_rate_limit(failure) for failure in failures):
        return TargetsRateLimited(
            f"every fitting target is rate limited: {listed}", retry_after_s=wait_s
        )
    if failures and all(f.kind in _NO_ROOM or f.retry_after_s is not None for f in failures):
        return Overloaded(
            f"every fitting target is at its limit or resting: {listed}", retry_after_s=wait_s
        )
    return UpstreamFailed(
        f"every attempt failed: {listed}" if listed else "no target could be tried"
    )


def refusal_of(failure: UpstreamFailure) -> UpstreamRefused | None:
    """The upstream's refusal as the caller's error; None where the caller has nothing to mend.

    Its own body goes back where OpenAI's clients can read it. Where a server tells a caller's
    mistake with 500, or in a 200, the caller gets 400.
    """
    category = category_of(failure)
    status = failure.status
    if status is None or not 400 <= status < 500:
        if category not in _CODES and category is not ErrorCategory.UNSUPPORTED:
            return None
        status = 400
    said = read_error(failure.body)
    body = failure.body if said.shaped and status == failure.status else b""
    return UpstreamRefused(
        said.message or f"the upstream refused the request: {failure.detail}",
        RefusalBody(status, body, failure.content_type, failure.protocol),
        type=said.type,
        param=said.param,
        code=_CODES.get(category) or said.code,
    )


def _asks_too_much(failure: UpstreamFailure) -> bool:
    return category_of(failure) is ErrorCategory.UNSUPPORTED


def is_rate_limit(failure: UpstreamFailure) -> bool:
    """Whether the target refused for a rate limit, now or before."""
    return failure.kind == "cooldown" or consequence(failure).rest == RATE_LIMITED


def error_event(
    failure: UpstreamFailure, deadline: Deadline
) -> tuple[ResponseEvent, LLMRouterError]:
    """A stream's last event after its commit point, and the error it tells of.

    Nothing follows it, `[DONE]` included, because the reply is not whole.
    """
    said = read_error(failure.body)
    if failure.kind == "timeout" and deadline.remaining_s() <= 0.001:
        error: LLMRouterError = DeadlineExceeded("the request's time budget ran out mid-reply")
    else:
        error = UpstreamFailed(
            f"the reply broke off: {said.message or failure.detail}",
            code=said.code,
            param=said.param,
        )
    error.type = said.type or error.type
    return event_of(error)


def event_of(error: LLMRouterError) -> tuple[ResponseEvent, LLMRouterError]:
    """An error as a stream's last event, and the error itself."""
    body = orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }
    )
    return ResponseEvent(b"data: " + body + b"\n\n", "text/event-stream"), error
