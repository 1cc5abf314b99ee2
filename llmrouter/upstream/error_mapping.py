"""The HTTP client's exceptions and the upstream's statuses, as UpstreamFailure.

Facts alone: what follows from a failure (repeat, another target, the caller's own fault) is
decided in one table elsewhere. A credential never gets into a message: what a server says about
our key (401, 403) is not repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.response_parser import error_of, parsed

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
    retry_after = retry_after_s(headers, time.time() if now is None else now)
    if status in (401, 403):
        detail = f"the upstream refused this service's credentials ({status})"
        return UpstreamFailure("status", detail, status=status, retry_after_s=retry_after)
    if 300 <= status < 400:
        detail = f"the upstream redirects ({status}); base_url must name the final address"
        return UpstreamFailure("misconfigured", detail, status=status)
    said = error_of(parsed(body) or {})
    return UpstreamFailure(
        "status",
        f"{status} {said[0] if said else ''}".strip()[:MAX_DETAIL],
        status=status,
        body=body,
        retry_after_s=retry_after,
        content_type=content_type,
    )


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
