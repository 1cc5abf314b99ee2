"""Finished spans as the bytes of an OTLP ExportTraceServiceRequest.

The SDK builds one protobuf object for every attribute, which costs several times what making the
span did. The wire format of these few messages is fixed, and most attributes repeat, so here they
are encoded once and remembered. A span is encoded when it ends, while the processor still has it
at hand: that is cheaper than to come back for it in another thread, and bytes are a fifth of its
size while it waits. What comes out decodes to what the SDK's own encoder would have sent; the tests
hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, ClassVar, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, TraceState

SCOPE = InstrumentationScope("llmrouter")
REPEATED = 128  # bytes of an attribute: longer ones are encoded anew, they are seldom seen twice
KEPT = 4096

_IDS = Struct(">HQQHQ").pack  # trace_id and span_id with their tags
_TIMES = Struct("<BQBQ").pack
_DOUBLE = Struct("<Bd").pack
_PARENT = Struct(">HQ").pack
_LOW = (1 << 64) - 1
_Known = dict[tuple[str, Any], bytes]
_KNOWN: dict[type, _Known] = {str: {}, bool: {}, int: {}, float: {}}
"""Attributes as they were encoded, by the type of their value: True, 1 and 1.0 are equal."""
_KINDS = {
    SpanKind.INTERNAL: b"\x30\x01",
    SpanKind.SERVER: b"\x30\x02",
    SpanKind.CLIENT: b"\x30\x03",
    SpanKind.PRODUCER: b"\x30\x04",
    SpanKind.CONSUMER: b"\x30\x05",
}
# Status and SpanFlags: whether the parent is remote is known, and whether it is.
_ENDINGS = {
    (False, False): b"\x7a\x00\x85\x01\x00\x01\x00\x00",
    (False, True): b"\x7a\x00\x85\x01\x00\x03\x00\x00",
    (True, False): b"\x7a\x02\x18\x02\x85\x01\x00\x01\x00\x00",
    (True, True): b"\x7a\x02\x18\x02\x85\x01\x00\x03\x00\x00",
}


class EndedSpan(Protocol):
    """What is encoded of a span (`telemetry.spans.Span`)."""

    kind: ClassVar[SpanKind]
    name: str
    trace_id: int
    span_id: int
    parent_id: int
    state: TraceState | None
    started: int
    ended: int
    attributes: dict[str, Any]
    events: list[Event] | None
    failed: bool
    remote: bool


def encode_trace_request(resource: Resource, spans: Sequence[bytes]) -> bytes:
    """One request with every span, as `encode_span` made them; they are all of one process."""
    if not spans:
        return b""
    scoped = _field(0x0A, _string(0x0A, SCOPE.name)) + b"".join(spans)
    return _field(0x0A, _resource(resource) + _field(0x12, scoped))


def _resource(resource: Resource) -> bytes:
    schema = _string(0x1A, resource.schema_url or "")
    return _field(0x0A, _attributes(0x0A, resource.attributes)) + schema


def encode_span(span: EndedSpan) -> bytes:
    """A finished span as one field of its scope."""
    trace_id = span.trace_id
    parts = [_IDS(0x0A10, trace_id >> 64, trace_id & _LOW, 0x1208, span.span_id)]
    if span.state:
        parts.append(_string(0x1A, ",".join(f"{k}={v}" for k, v in span.state.items())))
    if span.parent_id:
        parts.append(_PARENT(0x2208, span.parent_id))
    parts.append(_name(span.name, span.kind))
    parts.append(_TIMES(0x39, span.started, 0x41, span.ended))
    for item in span.attributes.items():
        known = _KNOWN.get(type(item[1]))
        parts.append((known and known.get(item)) or _remembered(item))
    if span.events:
        parts += [_field(0x5A, _event(event)) for event in span.events]
    parts.append(_ENDINGS[span.failed, span.remote])
    return _field(0x12, b"".join(parts))


def _event(event: Event) -> bytes:
    head = b"\x09" + event.timestamp.to_bytes(8, "little") + _string(0x12, event.name)
    return head + _attributes(0x1A, event.attributes or {})


def _attributes(tag: int, attributes: Mapping[str, Any]) -> bytes:
    return b"".join([_attribute(tag, key, value) for key, value in attributes.items()])


def _attribute(tag: int, key: str, value: object) -> bytes:
    """One attribute, or nothing where the value is of a kind that OTLP cannot carry."""
    try:
        return _field(tag, _string(0x0A, key) + _field(0x12, _value(value)))
    except (TypeError, OverflowError):
        return b""


def _remembered(item: tuple[str, Any]) -> bytes:
    """An attribute of a span, kept for the next one of the same value."""
    key, value = item
    encoded = _attribute(0x4A, key, value)
    if len(encoded) <= REPEATED:
        known = _KNOWN.get(type(value))
        if known is None and isinstance(value, str):  # an Enum's
            known = _KNOWN[type(value)] = {}
        if known is not None:
            if len(known) >= KEPT:
                known.clear()
            known[item] = encoded
    return encoded


def _value(value: object) -> bytes:
    """An AnyValue. Raises TypeError or OverflowError for what it cannot hold."""
    if isinstance(value, str):
        return _field(0x0A, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(value)
        return b"\x18" + _varint(value & _LOW)
    if isinstance(value, float):
        return _DOUBLE(0x21, value)
    if isinstance(value, Sequence):
        return _field(0x2A, b"".join(_field(0x0A, _value(one)) for one in value))
    raise TypeError(type(value))


def _string(tag: int, text: str) -> bytes:
    """A string field; empty strings are the default and not sent."""
    return _field(tag, text.encode("utf-8", "replace")) if text else b""


@lru_cache(maxsize=512)
def _name(name: str, kind: SpanKind) -> bytes:
    return _string(0x2A, name) + _KINDS[kind]


def _field(tag: int, data: bytes) -> bytes:
    size = len(data)
    if size < 128:
        return bytes((tag, size)) + data
    if size < 16384:
        return bytes((tag, size & 127 | 128, size >> 7)) + data
    return bytes((tag,)) + _varint(size) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
