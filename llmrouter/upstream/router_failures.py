"""What a router LLM's server says instead of an answer, as RouterLLMFailed.

Whose fault an error is comes from the table of signs that the targets' errors are read by
(`domain/error_signs`), and so does what is never repeated: what a server says about this service's
key or account.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.provider_errors import category_of
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.dialect import DialectRejection
from llmrouter.upstream.error_mapping import refused
from llmrouter.upstream.response_parser import parsed
from llmrouter.upstream.router_http import ServerRefused
from llmrouter.upstream.structured_answer import check_error
from llmrouter.upstream.usage_parser import usage_in

MAX_DETAIL: Final = 300
PASSING: Final = frozenset(
    {
        ErrorCategory.RATE_LIMITED,
        ErrorCategory.OVERLOADED,
        ErrorCategory.SERVER_ERROR,
        ErrorCategory.CONFLICT,
    }
)
"""What may be over by the next try."""


@dataclass(frozen=True, slots=True)
class ServerRefusal:
    """An answer that is no success. `retry_after_s` is the wait that it asks for, in seconds."""

    rejection: DialectRejection
    category: ErrorCategory
    failure: RouterLLMFailed
    retry_after_s: float | None


def refusal_of(error: ServerRefused, key: str | None) -> ServerRefusal:
    """What the server said, wherever in the body it said it, without the key."""
    status, body = error.status, error.body
    document = parsed(body) or {}
    inner = document.get("error")
    param = inner.get("param") if isinstance(inner, dict) else document.get("param")
    said = refused(status, body, error.headers, time.time())
    category = category_of(said)
    detail = said.detail.replace(key, "***") if key else said.detail
    kind = "misconfigured" if category is ErrorCategory.MISCONFIGURED else "http"
    return ServerRefusal(
        DialectRejection(
            status,
            body[:16_000].decode("utf-8", "replace")[:4000],
            param if isinstance(param, str) else "",
        ),
        category,
        RouterLLMFailed(
            kind, " ".join(detail.split())[:MAX_DETAIL], status=status, category=category
        ),
        said.retry_after_s,
    )


def timed_out(timeout_s: float, prompt_chars: int) -> RouterLLMFailed:
    """No answer in time. The server has read the question, so that is billed, as an estimate."""
    detail = f"no answer within {timeout_s * 1000:.0f} ms"
    return RouterLLMFailed("timeout", detail, tokens=(prompt_chars // 4, 0, 0))


def document_of(reply: bytes) -> Mapping[str, Any]:
    """The JSON object in a reply. Raises RouterLLMFailed."""
    document = parsed(reply)
    if document is None:
        raise RouterLLMFailed("malformed", "the server's answer is no JSON object")
    check_error(document, usage_in(document))
    return document
