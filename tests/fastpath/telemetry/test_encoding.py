"""The encoder of spans, held against the SDK's own."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.trace import SpanKind, TraceState

from llmrouter.fastpath.telemetry.encoding import encode_span, encode_trace_request
from llmrouter.telemetry.spans import Span, Tracer
from tests.telemetry.receiver import values

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
scalars = (
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
)  # fmt: skip
attributes = st.dictionaries(
    texts.filter(bool), scalars | st.lists(texts, max_size=3) | st.tuples(texts), max_size=8
)
times = st.integers(1, 2**63)
resources = st.sampled_from([Resource({"service.name": "x"}), Resource({"n": 1}, "http://s")])


class Server(Span):
    """A span of another kind."""

    kind = SpanKind.SERVER


class Client(Span):
    """A span of a third kind."""

    kind = SpanKind.CLIENT


@st.composite
def batches(draw: st.DrawFn) -> list[Span]:
    """Finished spans of one process, as the processor hands them over."""
    tracer = Tracer(resource=draw(resources))
    return [finished(draw, tracer) for _ in range(draw(st.integers(1, 4)))]


def finished(draw: st.DrawFn, tracer: Tracer) -> Span:
    """Any finished span."""
    span = draw(st.sampled_from([Span, Server, Client]))(tracer, draw(texts), draw(attributes))
    span.sampled = True
    span.trace_id = draw(st.integers(1, 2**128 - 1))
    span.span_id = draw(st.integers(1, 2**64 - 1))
    span.parent_id = draw(st.just(0) | st.integers(1, 2**64 - 1))
    span.remote = bool(span.parent_id) and draw(st.booleans())
    span.state = draw(st.sampled_from([None, TraceState(), TraceState([("a", "1"), ("b", "=")])]))
    span.events = draw(st.none() | st.lists(st.builds(Event, texts, attributes, times), max_size=2))
    span.failed = draw(st.booleans())
    span.started, span.ended = draw(times), draw(times)
    return span


def request(spans: list[Span]) -> ExportTraceServiceRequest:
    """The spans encoded and decoded again."""
    encoded = encode_trace_request(spans[0].tracer.resource, [encode_span(span) for span in spans])
    return ExportTraceServiceRequest.FromString(encoded)


@given(batches())
def test_the_bytes_decode_to_what_the_sdk_sends(spans: list[Span]) -> None:
    """Whatever the spans hold, both encodings are the same message."""
    ours = request(spans)
    readable = [span.readable() for span in spans]
    theirs = ExportTraceServiceRequest.FromString(encode_spans(readable).SerializeToString())
    assert ours == theirs


def decoded(spans: list[Span]) -> list[Wire]:
    """The spans as a collector sees them."""
    sent = request(spans)
    return list(sent.resource_spans[0].scope_spans[0].spans)


def test_a_large_batch_arrives_whole() -> None:
    """A batch over several pauses, with lengths of every size, loses nothing."""
    spans = [Span(Tracer(), f"span {n}", {"text": "x" * n * 40}) for n in range(500)]
    found = decoded(spans)
    assert [span.name for span in found] == [span.name for span in spans]
    assert [len(values(span.attributes)["text"]) for span in found] == [n * 40 for n in range(500)]


def test_what_otlp_cannot_carry_is_left_out() -> None:
    """A value of no known kind or an integer too large costs that attribute alone."""
    odd: dict[str, Any] = {"good": "yes", "object": object(), "large": 2**64, "half": "\ud800"}
    (found,) = decoded([Span(Tracer(), "s", odd)])
    assert values(found.attributes) == {"good": "yes", "half": "?"}


def test_true_and_one_stay_apart() -> None:
    """Equal values of different types are remembered apart."""
    found = decoded([Span(Tracer(), "s", {"a": value}) for value in (True, 1, 1.0)])
    kinds = [span.attributes[0].value.WhichOneof("value") for span in found]
    assert kinds == ["bool_value", "int_value", "double_value"]
