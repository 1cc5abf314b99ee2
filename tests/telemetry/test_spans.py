"""Reading the caller's trace context."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from llmrouter.fastpath.telemetry.batch import Batches
from llmrouter.telemetry.spans import Caller, Span, Tracer, caller_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_valid_header_is_read() -> None:
    """Ids, the sampled flag and the state come out as they went in."""
    found = caller_of({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1,b=2"})
    assert found is not None
    assert (found.trace_id, found.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert found.sampled
    assert found.state is not None
    assert found.state.to_header() == "a=1,b=2"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{'0x' + TRACE[2:]}-{PARENT}-01",
        f"00-{TRACE[:15] + '_' + TRACE[16:]}-{PARENT}-01",
        f"00-{'١' * 32}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}- 1",
    ],
)
def test_a_malformed_header_counts_as_none(header: str) -> None:
    """What W3C calls invalid starts a new trace, with nothing taken from it."""
    assert caller_of({"traceparent": header, "tracestate": "a=1"}) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """A version other than 00 may carry more fields behind the known ones."""
    assert caller_of({"traceparent": f"cc-{TRACE}-{PARENT}-01-later"}) is not None


def test_several_states_are_one_list() -> None:
    """A tracestate split over two header lines keeps the order."""
    headers = CIMultiDict(
        [("Traceparent", f"00-{TRACE}-{PARENT}-01"), ("Tracestate", "a=1"), ("tracestate", "b=2")]
    )
    found = caller_of(headers)
    assert found is not None
    assert found.state is not None
    assert found.state.to_header() == "a=1,b=2"


@given(st.text(max_size=120), st.text(max_size=200))
def test_hostile_headers_never_raise(parent: str, state: str) -> None:
    """Whatever a caller sends is read or ignored, and what is passed on is well-formed."""
    for header in (parent, f"00-{TRACE}-{PARENT}-01"):
        found = caller_of({"traceparent": header, "tracestate": state})
        if found is None:
            continue
        sent = Span(Tracer(), "x", {}).below(found).headers()
        assert caller_of(sent) is not None
        assert "\n" not in sent.get("tracestate", "")
        assert "\r" not in sent.get("tracestate", "")


@pytest.mark.parametrize(
    ("sampler", "unsampled_caller", "no_caller"),
    [
        (ParentBased(ALWAYS_ON), False, True),
        (ALWAYS_ON, True, True),
        (ParentBased(ALWAYS_OFF), False, False),
        (TraceIdRatioBased(0.0), False, False),
        (TraceIdRatioBased(1.0), True, True),
    ],
)
def test_the_samplers_say_is_the_sdks(
    sampler: Sampler, unsampled_caller: bool, no_caller: bool
) -> None:
    """Short cuts decide as the sampler itself would."""
    tracer, caller = Tracer(sampler=sampler), Caller(int(TRACE, 16), 1, False)
    assert tracer.sampled(caller, caller.trace_id, "x") == unsampled_caller
    assert tracer.sampled(None, caller.trace_id, "x") == no_caller
    for above, expected in ((caller.context(), unsampled_caller), (None, no_caller)):
        parent = Context() if above is None else set_span_in_context(NonRecordingSpan(above))
        decided = sampler.should_sample(parent, caller.trace_id, "x").decision
        assert (decided is Decision.RECORD_AND_SAMPLE) == expected


def test_a_span_that_cannot_be_encoded_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the step it was for goes on."""

    class Queue:
        """Takes what comes."""

        def __init__(self) -> None:
            self.spans: list[object] = []
            self.add = self.spans.append

    queue = Queue()
    tracer = Tracer(cast(Batches, queue))
    with Span(tracer, "good", {}).under(None), Span(tracer, "bad", {}) as bad:
        bad.sampled, bad.trace_id = True, 1 << 200
    assert len(queue.spans) == 1
    assert "bad" in caplog.text
