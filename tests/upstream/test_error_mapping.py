"""Vendor exceptions and statuses become our failures, and no secret gets into one."""

from __future__ import annotations

import aiohttp
import pytest

from llmrouter.upstream.error_mapping import failure_of, refused, retry_after_s


@pytest.mark.parametrize(
    ("error", "answered", "kind"),
    [
        (TimeoutError(), False, "timeout"),
        (TimeoutError(), True, "timeout"),
        (aiohttp.SocketTimeoutError("x"), True, "timeout"),
        (aiohttp.ConnectionTimeoutError("x"), False, "connect"),
        (aiohttp.ServerDisconnectedError(), False, "connect"),
        (aiohttp.ServerDisconnectedError(), True, "interrupted"),
        (ConnectionResetError(), True, "interrupted"),
        (OSError("no route"), False, "connect"),
        (aiohttp.ClientPayloadError("short"), True, "interrupted"),
        (aiohttp.http_exceptions.BadStatusLine("x"), False, "malformed"),
        (aiohttp.InvalidURL("x"), False, "misconfigured"),
        (ValueError("what"), True, "malformed"),
    ],
)
def test_every_exception_has_a_kind(error: Exception, answered: bool, kind: str) -> None:
    """By what broke, and whether an answer had begun."""
    assert failure_of(error, answered=answered).kind == kind


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.http_exceptions.BadStatusLine("Four. Said to somebody"),
        aiohttp.http_exceptions.LineTooLong(b"Four. Said to somebody", 8190),
        aiohttp.ClientPayloadError("Four. Said to somebody"),
    ],
)
def test_an_answer_that_cannot_be_read_is_not_quoted(error: Exception) -> None:
    """Failures are logged, journaled and shown; it may hold what was said to somebody."""
    assert "somebody" not in str(failure_of(error, answered=True))


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_said_about_our_key_is_not_repeated(status: int) -> None:
    """Some servers quote a part of the key."""
    failure = refused(status, b'{"error": {"message": "bad key sk-secret"}}', {})
    assert "sk-secret" not in str(failure)
    assert failure.body == b""
    assert failure.status == status


def test_a_redirect_is_our_misconfiguration() -> None:
    """It is not followed: a body with a credential must not wander."""
    assert refused(302, b"", {}).kind == "misconfigured"


def test_a_refusal_keeps_what_was_said() -> None:
    """Status, body, type and how long to wait."""
    body = b'{"error": {"message": "slow down"}}'
    failure = refused(429, body, {"Retry-After": "3", "Content-Type": "application/json"})
    assert (failure.status, failure.body, failure.retry_after_s) == (429, body, 3.0)
    assert "slow down" in failure.detail


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e300"}, None),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, dates, nonsense."""
    assert retry_after_s(headers, now=10.0) == seconds
