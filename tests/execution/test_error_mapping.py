"""Which error a caller gets once no attempt is left."""

from __future__ import annotations

import json

from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.errors import (
    DeadlineExceeded,
    Overloaded,
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
    assert final_error(storm, None, [], NEVER).retry_after_s == 4.0


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
