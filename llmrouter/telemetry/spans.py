"""Spans that cost little: built once, when they end.

The SDK's own span locks, copies and validates at every call, which is most of the cost of a cached
decision. Here a span is a few slots and a dict; when it ends it becomes the SDK's ReadableSpan and
goes to the SDK's batch processor, so sampling and batching are the SDK's.

A trace reads the wall clock once, at its root, and counts on from there by the monotonic one: no
duration is negative when the clock is set, and no child ends after its parent.

A failure leaves its `error.type` and no message: an upstream may quote the prompt in one, and
prompt text never gets into a trace.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from llmrouter.domain import semconv
from llmrouter.domain.ports import Attribute

SCOPE = InstrumentationScope("llmrouter")
QUOTING = frozenset({semconv.ESCALATION_REASON})  # a judge's or validator's words about an answer
SAMPLED, UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_getrandbits = random.SystemRandom().getrandbits
_random = random.Random(_getrandbits(128))  # noqa: S311 - trace ids need spread, not secrecy


class Tracer:
    """Where spans end up. `processor` None records nothing, and trace context still passes on."""

    def __init__(
        self,
        processor: BatchSpanProcessor | None = None,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
    ) -> None:
        self.processor = processor
        self.sampler = sampler
        self.resource = resource
        self._follows = isinstance(sampler, ParentBased)

    def sampled(self, parent: SpanContext | None, trace_id: int, name: str) -> bool:
        """Whether the sampler wants a span of ours that starts here, below `parent` or nothing."""
        if self.sampler is None:
            return True
        if parent is not None and self._follows:
            return parent.trace_flags.sampled
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent))
        decision = self.sampler.should_sample(context, trace_id, name).decision
        return decision is Decision.RECORD_AND_SAMPLE


class Span:
    """One step. A context manager: entering starts it and makes it current, leaving ends it."""

    __slots__ = (
        "_ended", "_events", "_offset", "_started", "_status", "_token", "attributes", "baggage",
        "context", "kind", "name", "parent", "root", "tracer", "waited_ns",
    )  # fmt: skip

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Attribute],
    ) -> None:
        self.tracer = tracer
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.baggage = ""
        self.context: SpanContext | None = None
        self.parent: SpanContext | None = None
        self.root: Span | None = None
        self.waited_ns = 0  # what of a root span was spent waiting for models
        self._events: list[Event] | None = None
        self._status: Status | None = None
        self._started = 0
        self._ended = 0
        self._offset = 0
        self._token: Token[Span | None] | None = None

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self.attributes[name] = value

    def event(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Something that happened within the step; what may quote the request is left out."""
        if self._events is None:
            self._events = []
        kept = {key: value for key, value in attributes.items() if key not in QUOTING}
        self._events.append(Event(name, kept, time.perf_counter_ns() + self._offset))

    def fail(self, error_type: str, message: str = "") -> None:
        """Mark the step as failed; `message` is for logs, a trace does not keep it."""
        self.attributes[semconv.ERROR_TYPE] = error_type
        self._status = _ERROR

    def headers(self) -> dict[str, str]:
        """W3C trace context and baggage for a request made inside this step; perhaps none."""
        context = self.context
        if context is None:
            return {"baggage": self.baggage} if self.baggage else {}
        flags = int(context.trace_flags)
        found = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"}
        if context.trace_state:
            found["tracestate"] = context.trace_state.to_header()
        if self.baggage:
            found["baggage"] = self.baggage
        return found

    def under(self, parent: Span | None) -> Span:
        """Place the span below `parent`, or at the root of a new trace."""
        recording = self.tracer.processor is not None
        if parent is None:
            if recording:
                trace_id = _random.getrandbits(128) or 1
                kept = self.tracer.sampled(None, trace_id, self.name)
                self.context = _context(trace_id, SAMPLED if kept else UNSAMPLED)
            return self
        self.root, self.baggage, self._offset = (
            parent.root or parent,
            parent.baggage,
            parent._offset,
        )
        above = parent.context
        if above is None or not recording:
            self.context = above  # nobody will hear of this span, so nobody gets its id
        else:
            self.parent = above
            self.context = _context(above.trace_id, above.trace_flags, above.trace_state)
        return self

    def below_remote(self, remote: SpanContext) -> Span:
        """Place the span below a caller's span. Without export, the caller's context passes on."""
        if self.tracer.processor is None:
            self.context = remote
            return self
        kept = self.tracer.sampled(remote, remote.trace_id, self.name)
        self.parent = remote
        self.context = _context(remote.trace_id, SAMPLED if kept else UNSAMPLED, remote.trace_state)
        return self

    def __enter__(self) -> Span:
        if not self._offset:
            self._offset = time.time_ns() - time.perf_counter_ns()
        self._started = time.perf_counter_ns() + self._offset
        self._token = CURRENT.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            try:
                CURRENT.reset(self._token)
            except ValueError:
                CURRENT.set(None)  # ended in another task than it started in
        self._ended = time.perf_counter_ns() + self._offset
        if kind is not None and self._status is None:
            self.fail(kind.__name__)
        processor, context = self.tracer.processor, self.context
        if processor is None or context is None or not context.trace_flags.sampled:
            return
        processor.on_end(
            ReadableSpan(
                self.name,
                context,
                self.parent,
                self.tracer.resource,
                self.attributes,
                self._events or (),
                (),
                self.kind,
                None,
                self._status or _UNSET,
                self._started,
                self._ended,
                SCOPE,
            )
        )


def _context(trace_id: int, flags: TraceFlags, state: TraceState | None = None) -> SpanContext:
    return SpanContext(trace_id, _random.getrandbits(64) or 1, False, flags, state)


_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_TRACEPARENT = re.compile(
    r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[^\x00-\x1f]*)?[ \t]*"
)
CURRENT: ContextVar[Span | None] = ContextVar("llmrouter_span", default=None)


def remote_context(headers: Mapping[str, str]) -> SpanContext | None:
    """The caller's span from its `traceparent` and `tracestate`, or None where there is none.

    A header that W3C Trace Context calls invalid counts as absent, whatever else it holds.
    """
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    sampled = SAMPLED if int(flags, 16) & 1 else UNSAMPLED
    if "tracestate" not in headers:
        return SpanContext(trace_id, span_id, True, sampled)
    every = headers.getall("tracestate") if hasattr(headers, "getall") else [headers["tracestate"]]
    return SpanContext(trace_id, span_id, True, sampled, TraceState.from_header(every))
