"""Finished spans as the bytes of an OTLP ExportTraceServiceRequest.

The SDK builds one protobuf object for every attribute, in the export thread but on the CPU of the
requests: that costs several times what making the span did. The wire format of these few messages
is fixed, and most attributes repeat, so here they are encoded once and remembered. What comes out
decodes to what the SDK's own encoder would have sent; the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

REPEATED = 96  # characters: longer values are encoded anew, they are seldom seen twice
_LOCAL, _REMOTE = (0x100).to_bytes(4, "little"), (0x300).to_bytes(4, "little")  # OTLP SpanFlags

_TIMES = Struct("<BQBQ").pack
_DOUBLE = Struct("<Bd").pack
_KINDS = {
    SpanKind.INTERNAL: b"\x30\x01",
    SpanKind.SERVER: b"\x30\x02",
    SpanKind.CLIENT: b"\x30\x03",
    SpanKind.PRODUCER: b"\x30\x04",
    SpanKind.CONSUMER: b"\x30\x05",
}


def encode_trace_request(spans: Sequence[ReadableSpan]) -> bytes:
    """One request with every span, grouped by resource and scope as OTLP wants it."""
    groups: dict[tuple[int, int], tuple[Resource, InstrumentationScope | None, list[bytes]]] = {}
    for span in spans:
        key = (id(span.resource), id(span.instrumentation_scope))
        group = groups.get(key)
        if group is None:
            group = groups[key] = (span.resource, span.instrumentation_scope, [])
        group[2].append(_field(0x12, _span(span)))
    return b"".join(
        _field(0x0A, _resource_spans(resource, scope, b"".join(encoded)))
        for resource, scope, encoded in groups.values()
    )


def _resource_spans(resource: Resource, scope: InstrumentationScope | None, spans: bytes) -> bytes:
    named = b""
    if scope is not None:
        named = _string(0x0A, scope.name) + _string(0x12, scope.version or "")
        named += _attributes(0x1A, scope.attributes or {})
    inside = _field(0x0A, named) + spans
    if scope is not None and scope.schema_url:
        inside += _string(0x1A, scope.schema_url)
    return (
        _field(0x0A, _attributes(0x0A, resource.attributes))
        + _field(0x12, inside)
        + _string(0x1A, resource.schema_url or "")
    )


def _span(span: ReadableSpan) -> bytes:
    context, parent, status = span.context, span.parent, span.status
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        parts.append(_string(0x1A, _trace_state(context)))
    if parent is not None:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    parts += (
        _name(span.name),
        _KINDS[span.kind],
        _TIMES(0x39, span.start_time or 0, 0x41, span.end_time or 0),
    )
    attributes = span.attributes
    if attributes:
        parts.append(_attributes(0x4A, attributes))
    parts += [_field(0x5A, _event(event)) for event in span.events]
    parts += [_field(0x6A, _link(link)) for link in span.links]
    if status.status_code is StatusCode.UNSET:
        parts.append(b"\x7a\x00")
    else:
        code = _varint_field(0x18, status.status_code.value)
        parts.append(_field(0x7A, _string(0x12, status.description or "") + code))
    parts.append(b"\x85\x01")
    parts.append(_REMOTE if parent is not None and parent.is_remote else _LOCAL)
    return b"".join(parts)


def _event(event: Event) -> bytes:
    head = b"\x09" + event.timestamp.to_bytes(8, "little") + _string(0x12, event.name)
    return head + _attributes(0x1A, event.attributes or {})


def _link(link: Link) -> bytes:
    head = b"\x0a\x10" + link.context.trace_id.to_bytes(16, "big")
    head += b"\x12\x08" + link.context.span_id.to_bytes(8, "big")
    flags = b"\x35" + (_REMOTE if link.context.is_remote else _LOCAL)
    return head + _attributes(0x22, link.attributes or {}) + flags


def _trace_state(context: SpanContext) -> str:
    return ",".join(f"{key}={value}" for key, value in context.trace_state.items())


def _attributes(tag: int, attributes: Mapping[str, Any]) -> bytes:
    """Every attribute that OTLP can carry; a value of another kind is left out."""
    parts = []
    for key, value in attributes.items():
        kind = type(value)
        if kind is bool or kind is int or (kind is str and len(value) <= REPEATED):
            encoded = _remembered(tag, key, value)
        else:
            encoded = _attribute(tag, key, value)
        parts.append(encoded)
    return b"".join(parts)


def _attribute(tag: int, key: str, value: object) -> bytes:
    try:
        return _field(tag, _string(0x0A, key) + _field(0x12, _value(value)))
    except (TypeError, OverflowError):
        return b""


_remembered = lru_cache(maxsize=4096, typed=True)(_attribute)


def _value(value: object) -> bytes:
    """An AnyValue. Raises TypeError or OverflowError for what it cannot hold."""
    if isinstance(value, str):
        return _field(0x0A, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(value)
        return b"\x18" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return _DOUBLE(0x21, value)
    if isinstance(value, bytes):
        return _field(0x3A, value)
    if isinstance(value, Sequence):
        return _field(0x2A, b"".join(_field(0x0A, _value(one)) for one in value))
    raise TypeError(type(value))


def _string(tag: int, text: str) -> bytes:
    """A string field; empty strings are the default and not sent."""
    return _field(tag, text.encode("utf-8", "replace")) if text else b""


@lru_cache(maxsize=512)
def _name(name: str) -> bytes:
    return _string(0x2A, name)


def _field(tag: int, data: bytes) -> bytes:
    size = len(data)
    if size < 128:
        return bytes((tag, size)) + data
    return bytes((tag,)) + _varint(size) + data


def _varint_field(tag: int, value: int) -> bytes:
    return bytes((tag,)) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
