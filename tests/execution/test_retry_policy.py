"""The one table of what follows from a failure."""

from __future__ import annotations

import json

import pytest

from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.retry_policy import BY_CATEGORY, Next, consequence, rejected_option


def failure(status: int | None, code: str | None = None, message: str = "m") -> UpstreamFailure:
    """A refusal by status, with an OpenAI-shaped body."""
    body = json.dumps({"error": {"message": message, "code": code, "type": "t"}}).encode()
    return UpstreamFailure("status", message, status=status, body=body)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_passes_by_itself_goes_elsewhere_and_may_be_repeated(status: int) -> None:
    """The statuses the issue names."""
    result = consequence(failure(status))
    assert result.then is Next.ELSEWHERE
    assert result.repeat


@pytest.mark.parametrize("status", [400, 406, 410, 415, 422, 451])
def test_what_the_caller_must_mend_is_final(status: int) -> None:
    """Any other 4xx is the caller's, and says nothing about the target's health."""
    result = consequence(failure(status))
    assert result.then is Next.NOTHING
    assert not result.ill


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_our_own_misconfiguration_is_never_the_callers_problem(status: int) -> None:
    """No credentials, no credit, no such model: others answer, and it is counted."""
    result = consequence(failure(status))
    assert result.then is Next.ELSEWHERE
    assert result.ours
    assert not result.repeat


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("context_length_exceeded", "m"),
        (None, "This model's maximum context length is 8192 tokens."),
        (None, "the request exceeds the available context window"),
        (None, "prompt is too long: 210000 tokens > 200000 maximum"),
    ],
)
def test_a_context_that_is_too_long_needs_a_larger_window(code: str | None, message: str) -> None:
    """By code, and by what servers without codes say."""
    assert consequence(failure(400, code, message)).then is Next.LARGER


def test_a_content_filter_is_final_unless_configured() -> None:
    """Refusals are configurable."""
    filtered = failure(400, "content_filter")
    assert consequence(filtered).then is Next.NOTHING
    assert consequence(filtered, on_refusal=True).then is Next.ELSEWHERE


def test_an_error_inside_a_200_counts_as_its_own_status() -> None:
    """Gateways that answer 200 with `{"error": {"code": 429}}` are read as what they say."""
    inside = UpstreamFailure("error_body", "x", status=400, body=b'{"error": {"message": "bad"}}')
    assert consequence(inside).then is Next.NOTHING
    unnamed = UpstreamFailure("error_body", "x", body=b'{"error": {"message": "bad"}}')
    assert consequence(unnamed).then is Next.ELSEWHERE


def test_every_category_has_its_consequence() -> None:
    """A category without a line in the table would be a KeyError on the day it comes up."""
    assert set(BY_CATEGORY) == set(ErrorCategory)


def test_an_account_without_credit_leaves_the_target_alone_and_others_answer() -> None:
    """It is not tried again at once, whatever status the provider chose."""
    for status in (400, 402, 403, 429):
        result = consequence(failure(status, "insufficient_quota"))
        assert (result.then, result.repeat, result.ours) == (Next.ELSEWHERE, False, True)
        assert result.rest_s


@pytest.mark.parametrize(
    ("status", "message", "option"),
    [
        (400, "unknown field stream_options", "stream_options"),
        (422, "top_logprobs: extra inputs are not permitted", "logprobs"),
        (400, "unknown field seed", None),
        (500, "stream_options", None),
    ],
)
def test_a_refused_option_of_ours_is_recognised(
    status: int, message: str, option: str | None
) -> None:
    """Only where the body names it."""
    assert rejected_option(failure(status, None, message)) == option
