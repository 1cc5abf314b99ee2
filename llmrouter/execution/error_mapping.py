"""How an execution ends when it does not end well: the error a caller gets, in either form."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from llmrouter.domain.completion import Attempt, ResponseEvent
from llmrouter.domain.deadline import Deadline
from llmrouter.errors import (
    DeadlineExceeded,
    LLMRouterError,
    NoEligibleTarget,
    Overloaded,
    UpstreamFailed,
    UpstreamFailure,
    UpstreamRefused,
)
from llmrouter.execution.retry_policy import said

_NO_ROOM = frozenset({"saturated", "circuit_open"})


def final_error(
    failures: Sequence[UpstreamFailure],
    final: UpstreamFailure | None,
    attempts: Sequence[Attempt],
    deadline: Deadline,
) -> LLMRouterError:
    """The error once no attempt is left: the upstream's own refusal, 504, 503 or 502."""
    if final is not None and final.status is not None and 400 <= final.status < 500:
        kind, message, code, param = said(final.body)
        return UpstreamRefused(
            message or f"the upstream refused the request: {final.detail}",
            status=final.status,
            body=final.body,
            content_type=final.content_type,
            type=kind,
            param=param,
            code=code,
            protocol=final.protocol,
        )
    listed = "; ".join(f"{attempt.target}: {attempt.reason}" for attempt in attempts)
    if deadline.remaining_s() <= 0.001:
        tried = f" ({listed})" if listed else ""
        return DeadlineExceeded(f"the request's time budget ran out{tried}")
    if failures and all(failure.kind == "untranslatable" for failure in failures):
        return NoEligibleTarget(f"no target can be sent this request: {listed}")
    waits = [f.retry_after_s for f in failures if f.retry_after_s is not None]
    if failures and all(failure.kind in _NO_ROOM for failure in failures):
        return Overloaded(
            f"every eligible target is at its limit or unwell: {listed}",
            retry_after_s=min(waits, default=1.0),
        )
    limited = failures and all(failure.status == 429 for failure in failures)
    return UpstreamFailed(
        f"every attempt failed: {listed}" if listed else "no target could be tried",
        retry_after_s=min(waits, default=None) if limited else None,
    )


def error_event(
    failure: UpstreamFailure, deadline: Deadline
) -> tuple[ResponseEvent, LLMRouterError]:
    """A stream's last event after its commit point, and the error it tells of.

    Nothing follows it, `[DONE]` included, because the reply is not whole.
    """
    kind, message, code, param = said(failure.body)
    if failure.kind == "timeout" and deadline.remaining_s() <= 0.001:
        error: LLMRouterError = DeadlineExceeded("the request's time budget ran out mid-reply")
    else:
        error = UpstreamFailed(
            f"the reply broke off: {message or failure.detail}", code=code, param=param
        )
    error.type = kind or error.type
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
