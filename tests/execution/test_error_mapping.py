"""Which error a caller gets once no attempt is left."""

from __future__ import annotations

import json

from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.errors import (
    DeadlineExceeded,
    Overloaded,
    TargetsRateLimited,
    UpstreamFailed,
    UpstreamFailure,
    UpstreamRefused,
)
from llmrouter.execution.error_mapping import error_event, final_error


def test_each_end_has_its_error() -> None:
    """Refused, out of time, no room, and everything else."""
    body = b'{"error": {"message": "bad", "type": "t", "param": "p", "code": "c"}}'
    refused = UpstreamFailure("status", "x", status=422, body=body)
    error = final_error([refused], refused, [], NEVER)
    assert isinstance(error, UpstreamRefused)
    assert (error.status, error.type, error.param, error.code) == (422, "t", "p", "c")
    assert UpstreamRefused.status == 400
    silent = UpstreamFailure("status", "400", status=400)
    assert (
        final_error([silent], silent, [], NEVER).message == "the upstream refused the request: 400"
    )
    failed = UpstreamFailure("connect", "x")
    assert isinstance(final_error([failed], None, [], Deadline(0.0)), DeadlineExceeded)
    full = [UpstreamFailure("saturated", "x"), UpstreamFailure("circuit_open", "x")]
    assert isinstance(final_error(full, None, [], NEVER), Overloaded)
    assert isinstance(final_error([failed, *full], None, [], NEVER), UpstreamFailed)


def test_a_storm_tells_when_to_come_back() -> None:
    """The shortest of what the targets asked."""
    storm = [UpstreamFailure("status", "x", status=429, retry_after_s=s) for s in (9.0, 4.0)]
    error = final_error(storm, None, [], NEVER)
    assert isinstance(error, TargetsRateLimited)
    assert (error.status, error.retry_after_s) == (429, 4.0)
    rested = [*storm, UpstreamFailure("cooldown", "x", retry_after_s=2.0)]
    assert final_error(rested, None, [], NEVER).retry_after_s == 2.0


def test_targets_that_all_ask_for_time_are_503_with_the_soonest() -> None:
    """A rate limit, an overload with its time and an open circuit; a plain failure is 502."""
    waits = [
        UpstreamFailure("status", "x", status=429, retry_after_s=9.0),
        UpstreamFailure("status", "x", status=503, retry_after_s=3.0),
        UpstreamFailure("circuit_open", "x", retry_after_s=20.0),
    ]
    error = final_error(waits, None, [], NEVER)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3.0
    full = final_error([*waits, UpstreamFailure("saturated", "x")], None, [], NEVER)
    assert full.retry_after_s == 1.0
    failed = final_error([*waits, UpstreamFailure("connect", "x")], None, [], NEVER)
    assert isinstance(failed, UpstreamFailed)
    assert failed.retry_after_s is None


def test_an_error_event_is_one_whole_event_in_openais_shape() -> None:
    """What breaks off mid-reply says why, also where the upstream's own words hold line feeds."""
    failure = UpstreamFailure("error_body", "x", body=b'{"error": {"message": "a\\nb"}}')
    event, error = error_event(failure, NEVER)
    assert event.data.count(b"\n") == 2
    assert json.loads(event.data[6:])["error"]["message"] == "the reply broke off: a\nb"
    assert isinstance(error, UpstreamFailed)
    late, error = error_event(UpstreamFailure("timeout", "x"), Deadline(0.0))
    assert json.loads(late.data[6:])["error"]["type"] == "timeout_error"
    assert isinstance(error, DeadlineExceeded)
