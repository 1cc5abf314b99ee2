"""The encoder of spans, held against the SDK's own."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from llmrouter.telemetry.encoding import encode_trace_request
from llmrouter.telemetry.spans import SAMPLED, SCOPE
from tests.telemetry.receiver import values

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
scalars = (
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
)  # fmt: skip
attributes = st.dictionaries(
    texts.filter(bool), scalars | st.lists(texts, max_size=3).map(tuple), max_size=8
)
times = st.integers(1, 2**63)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(SAMPLED),
    st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "x=y")])]),
)
statuses = st.sampled_from([StatusCode.UNSET, StatusCode.OK]).map(Status) | st.builds(
    Status, st.just(StatusCode.ERROR), st.none() | texts
)
scopes = st.sampled_from([SCOPE, InstrumentationScope("other", "1.2", "http://schema")])
resources = st.sampled_from([Resource({"service.name": "x"}), Resource({"n": 1}, "http://s")])


def span(draw: st.DrawFn, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Any finished span of this origin."""
    return ReadableSpan(
        draw(texts),
        draw(contexts),
        draw(st.none() | contexts),
        resource,
        draw(attributes),
        draw(st.lists(st.builds(Event, texts, attributes, times), max_size=2)),
        draw(st.lists(st.builds(Link, contexts, attributes), max_size=2)),
        draw(st.sampled_from(list(SpanKind))),
        None,
        draw(statuses),
        draw(times),
        draw(times),
        scope,
    )


@st.composite
def batches(draw: st.DrawFn) -> list[ReadableSpan]:
    """Finished spans of one process, as the processor hands them over."""
    resource, scope = draw(resources), draw(scopes)
    return [span(draw, resource, scope) for _ in range(draw(st.integers(0, 4)))]


@given(batches())
def test_the_bytes_decode_to_what_the_sdk_sends(finished: list[ReadableSpan]) -> None:
    """Whatever the spans hold, both encodings are the same message."""
    ours = ExportTraceServiceRequest.FromString(encode_trace_request(finished))
    theirs = ExportTraceServiceRequest.FromString(encode_spans(finished).SerializeToString())
    assert ours == theirs


def test_what_otlp_cannot_carry_is_left_out() -> None:
    """A value of no known kind or an integer too large costs that attribute alone."""
    odd: dict[str, Any] = {"good": "yes", "object": object(), "large": 2**64, "half": "\ud800"}
    context = SpanContext(1, 2, False, SAMPLED)
    span = ReadableSpan("s", context, None, Resource({}), odd, instrumentation_scope=SCOPE)
    sent = ExportTraceServiceRequest.FromString(encode_trace_request([span]))
    (decoded,) = sent.resource_spans[0].scope_spans[0].spans
    assert values(decoded.attributes) == {"good": "yes", "half": "?"}


def test_true_and_one_stay_apart() -> None:
    """Equal values of different types are remembered apart."""
    context = SpanContext(1, 2, False, SAMPLED)
    sent = [
        ReadableSpan("s", context, None, Resource({}), {"a": value}, instrumentation_scope=SCOPE)
        for value in (True, 1, 1.0)
    ]
    decoded = ExportTraceServiceRequest.FromString(encode_trace_request(sent))
    kinds = [
        span.attributes[0].value.WhichOneof("value")
        for group in decoded.resource_spans
        for span in group.scope_spans[0].spans
    ]
    assert kinds == ["bool_value", "int_value", "double_value"]
