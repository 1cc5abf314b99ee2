"""The HTTP client's exceptions and the upstream's statuses, as UpstreamFailure.

Facts alone: what follows from a failure (repeat, another target, the caller's own fault) is
decided in one table elsewhere. A credential never gets into a message: what a server says about
our key or account (401, 403, and 400 where it is about those) is not repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.provider_errors import classify, read_error
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.rate_limit_headers import reset_s

MAX_DETAIL = 300
NO_HTTP = "the upstream's answer is not HTTP, or has a header over 8 KB"


def failure_of(error: BaseException, *, answered: bool) -> UpstreamFailure:
    """Our failure for what the client or the system raised.

    `answered` tells whether the reply's headers had arrived: a break before them is `connect`,
    after them `interrupted`.
    """
    detail = f"{type(error).__name__}: {error}".rstrip(": ")[:MAX_DETAIL]
    if isinstance(error, UpstreamFailure):
        return error
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamFailure("connect", detail)
    if isinstance(error, asyncio.TimeoutError):
        return UpstreamFailure("timeout", detail)
    if isinstance(error, aiohttp.InvalidURL):
        return UpstreamFailure("misconfigured", f"base_url is no address: {detail}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return UpstreamFailure("misconfigured", detail)
    if isinstance(error, aiohttp.ClientPayloadError):
        if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
            return UpstreamFailure("malformed", "the upstream's answer is packed wrongly")
        return UpstreamFailure("interrupted", "the upstream's answer ended before it was complete")
    if isinstance(error, aiohttp.http_exceptions.HttpProcessingError | aiohttp.ClientResponseError):
        return UpstreamFailure("malformed", NO_HTTP)  # its own words quote the answer
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return UpstreamFailure("interrupted" if answered else "connect", detail)
    return UpstreamFailure("malformed", detail)


def refused(
    status: int, body: bytes, headers: Mapping[str, str], now: float | None = None
) -> UpstreamFailure:
    """The failure for an answer that is not a success. `now` is Unix time, for dates."""
    content_type = headers.get("Content-Type", "application/json")
    if 300 <= status < 400:
        detail = f"the upstream redirects ({status}); base_url must name the final address"
        return UpstreamFailure("misconfigured", detail, status=status)
    said = read_error(body)
    category = classify(status, said)
    asked = wait_s(status, headers, time.time() if now is None else now)
    secret = _unspoken(status, category, said.message)
    failure = UpstreamFailure(
        "status",
        secret or f"{status} {said.message}".strip()[:MAX_DETAIL],
        status=status,
        body=b"" if secret else body,
        retry_after_s=said.retry_after_s if asked is None else asked,
        content_type=content_type,
    )
    failure.category = category
    return failure


def _unspoken(status: int, category: ErrorCategory, message: str) -> str | None:
    """What is said in place of the upstream's own words, where those may quote a key or account."""
    if category is ErrorCategory.INSUFFICIENT_QUOTA:
        return f"the account at the provider has no credit left ({status})"
    if category is ErrorCategory.MISCONFIGURED:
        about_key = status in (401, 403, 407) or "key" in message.lower()
        return f"the upstream refused this service's credentials ({status})" if about_key else None
    if status not in (401, 403):
        return None
    if category is ErrorCategory.CONTENT_FILTERED:
        return f"the upstream's moderation refused the request ({status})"
    return f"the upstream refused the request ({status})"


def wait_s(status: int, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait after a refusal: what it asks for, or when the limit that is used up ends."""
    asked = retry_after_s(headers, now)
    return reset_s(headers, now) if asked is None and status in (429, 503, 529) else asked


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the upstream asked to wait: `retry-after-ms`, or `Retry-After` (seconds or date)."""
    millis = headers.get("retry-after-ms")
    if millis is not None and (value := _number(millis)) is not None:
        return value / 1000.0
    text = headers.get("Retry-After")
    if text is None:
        return None
    if (value := _number(text)) is not None:
        return value
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
