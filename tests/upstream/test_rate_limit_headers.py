"""The end of a rate limit, in every provider's spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from llmrouter.upstream.error_mapping import refused
from llmrouter.upstream.rate_limit_headers import reset_s

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2m59.5s"}, 179.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h1m1s"}, 3661.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1764000005000"}, 5.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1764000007"}, 7.0),
        ({"RateLimit-Reset": "30"}, 30.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2025-11-24T16:00:09Z",
            },
            9.0,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "4s",
            },
            4.0,
        ),
        ({"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "1s"}, None),
        ({"x-ratelimit-reset": "1763999999"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "1.2.3s"}, None),
        ({}, None),
    ],
)
def test_each_spelling_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """What is used up and ends in the future; the longest of several."""
    found = reset_s(CIMultiDict(headers), NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=60))
def test_any_text_is_a_number_of_seconds_or_nothing(text: str) -> None:
    """Headers are written by strangers."""
    found = reset_s({"x-ratelimit-reset": text}, NOW)
    assert found is None or found > 0


def test_a_refusal_without_retry_after_takes_the_limit_s_end() -> None:
    """`Retry-After` goes first, and another failure than a limit or an overload reads neither."""
    spent = CIMultiDict({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "4s"})
    assert refused(429, b"", spent).retry_after_s == 4.0
    assert refused(529, b"", spent).retry_after_s == 4.0
    assert refused(429, b"", CIMultiDict({**spent, "Retry-After": "2"})).retry_after_s == 2.0
    assert refused(500, b"", spent).retry_after_s is None
