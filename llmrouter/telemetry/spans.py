"""Spans that cost little: a few slots and a dict, encoded when they end.

The SDK's own span locks, copies and validates at every call, which is most of the cost of a cached
decision. Here nothing happens before a span ends; then it is encoded and queued (`batch`).
Sampling is the SDK's.

A trace reads the wall clock once, at its root, and counts on from there by the monotonic one: no
duration is negative when the clock is set, and no child ends after its parent.

A failure leaves its `error.type` and no message: an upstream may quote the prompt in one, and
prompt text never gets into a trace.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, Sampler
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
from llmrouter.domain.interfaces import Attribute
from llmrouter.domain.patterns import compile_pattern
from llmrouter.fastpath.telemetry.encoding import SCOPE, encode_span

log = logging.getLogger(__name__)

SAMPLED, UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
QUOTING = frozenset({semconv.ESCALATION_REASON})  # a judge's or validator's words about an answer
_getrandbits = random.Random(random.SystemRandom().getrandbits(128)).getrandbits  # noqa: S311 - trace ids need spread, not secrecy


class Caller(NamedTuple):
    """The caller's span, as its headers name it."""

    trace_id: int
    span_id: int
    sampled: bool
    state: TraceState | None = None

    def context(self) -> SpanContext:
        """The same in the SDK's terms."""
        flags = SAMPLED if self.sampled else UNSAMPLED
        return SpanContext(self.trace_id, self.span_id, True, flags, self.state)


class Recorder(Protocol):
    """Where ended spans go: `fastpath.telemetry.Batches`, or `export.SdkBatches`."""

    add: Callable[[Any], None]

    def shutdown(self) -> None:
        """Send what waits, and end. Takes as long as the exporter does."""
        ...


class Tracer:
    """Where spans end up, each as `encode` makes it.

    `batches` None records nothing, and trace context still passes on.
    """

    def __init__(
        self,
        batches: Recorder | None = None,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        encode: Callable[[Span], object] | None = None,
    ) -> None:
        self._batches = batches
        self.encode = encode or encode_span
        self.ended = None if batches is None else batches.add
        self.resource = resource or Resource.get_empty()
        self._sampler = sampler
        self._follows = sampler is None or isinstance(sampler, ParentBased)
        self._keeps_all = sampler is None or sampler.get_description().startswith(
            (ALWAYS_ON.get_description(), f"ParentBased{{root:{ALWAYS_ON.get_description()},")
        )

    def stop(self) -> Recorder | None:
        """Record nothing more; what was recorded is still to be sent."""
        batches, self._batches, self.ended = self._batches, None, None
        return batches

    def sampled(self, caller: Caller | None, trace_id: int, name: str) -> bool:
        """Whether the sampler wants a trace of ours that starts here, below a caller or nothing."""
        if caller is not None and self._follows:
            return caller.sampled
        if self._keeps_all or self._sampler is None:
            return True
        above = Context()
        if caller is not None:
            above = set_span_in_context(NonRecordingSpan(caller.context()))
        return (
            self._sampler.should_sample(above, trace_id, name).decision
            is Decision.RECORD_AND_SAMPLE
        )


class Span:
    """One step. A context manager: entering starts it and makes it current, leaving ends it."""

    __slots__ = (
        "_token", "attributes", "baggage", "ended", "events", "failed", "name", "offset",
        "parent_id", "remote", "root", "sampled", "span_id", "started", "state", "trace_id",
        "tracer", "waited_ns",
    )  # fmt: skip
    kind: ClassVar[SpanKind] = SpanKind.INTERNAL
    current: ClassVar[bool] = True  # whether entering it makes it the current one

    def __init__(self, tracer: Tracer, name: str, attributes: dict[str, Attribute]) -> None:
        self.tracer = tracer
        self.name = name
        self.attributes = attributes
        self.trace_id = self.span_id = self.parent_id = 0
        self.remote = self.sampled = self.failed = False
        self.state: TraceState | None = None
        self.baggage = ""
        self.events: list[Event] | None = None
        self.root: Span | None = None
        self.started = self.ended = self.offset = 0
        self.waited_ns = 0  # what of a root span was spent waiting for models

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self.attributes[name] = value

    def event(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Something that happened within the step; what may quote the request is left out."""
        if self.events is None:
            self.events = []
        kept = {key: value for key, value in attributes.items() if key not in QUOTING}
        self.events.append(Event(name, kept, time.perf_counter_ns() + self.offset))

    def fail(self, error_type: str, message: str = "") -> None:
        """Mark the step as failed; `message` is for logs, a trace does not keep it."""
        self.attributes[semconv.ERROR_TYPE] = error_type
        self.failed = True

    def headers(self) -> dict[str, str]:
        """W3C trace context and baggage for a request made inside this step; perhaps none."""
        found = {}
        if self.trace_id:
            ids = f"{self.trace_id:032x}-{self.span_id:016x}"
            found["traceparent"] = f"00-{ids}-{'01' if self.sampled else '00'}"
            if self.state:
                found["tracestate"] = self.state.to_header()
        if self.baggage:
            found["baggage"] = self.baggage
        return found

    def under(self, parent: Span | None) -> Span:
        """Place the span below `parent`, or at the root of a new trace.

        Without export this span is never seen, so a request made inside it gets the id of
        the caller's span instead.
        """
        recording = self.tracer.ended is not None
        if parent is not None:
            self.root = parent.root or parent
            self.baggage, self.offset, self.state = parent.baggage, parent.offset, parent.state
            self.trace_id, self.sampled = parent.trace_id, parent.sampled
            if recording and self.trace_id:
                self.parent_id, self.span_id = parent.span_id, _getrandbits(64) or 1
            else:
                self.span_id = parent.span_id
        elif recording:
            self.trace_id, self.span_id = _getrandbits(128) or 1, _getrandbits(64) or 1
            self.sampled = self.tracer.sampled(None, self.trace_id, self.name)
        return self

    def below(self, caller: Caller) -> Span:
        """Place the span below a caller's span, or pass that one on where nothing is exported."""
        self.trace_id, self.span_id, self.sampled, self.state = caller
        if self.tracer.ended is not None:
            self.parent_id, self.span_id, self.remote = caller.span_id, _getrandbits(64) or 1, True
            self.sampled = self.tracer.sampled(caller, caller.trace_id, self.name)
        return self

    def __enter__(self) -> Span:
        if not self.offset:
            self.offset = time.time_ns() - time.perf_counter_ns()
        self.started = time.perf_counter_ns() + self.offset
        self._token: Token[Span | None] | None = CURRENT.set(self) if self.current else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                CURRENT.reset(token)
            except ValueError:
                CURRENT.set(None)  # ended in another task than it started in
        self.ended = time.perf_counter_ns() + self.offset
        if kind is not None and not self.failed:
            self.fail(kind.__name__)
        tracer = self.tracer
        if self.sampled and tracer.ended is not None:
            try:
                tracer.ended(tracer.encode(self))
            except Exception:  # a trace is never worth a request
                log.exception("a span could not be encoded: %s", self.name)

    def readable(self) -> ReadableSpan:
        """The span in the SDK's terms."""
        flags = SAMPLED if self.sampled else UNSAMPLED
        parent = None
        if self.parent_id:
            parent = SpanContext(self.trace_id, self.parent_id, self.remote, flags, self.state)
        return ReadableSpan(
            self.name,
            SpanContext(self.trace_id, self.span_id, False, flags, self.state),
            parent,
            self.tracer.resource,
            self.attributes,
            self.events or (),
            (),
            self.kind,
            None,
            Status(StatusCode.ERROR if self.failed else StatusCode.UNSET),
            self.started,
            self.ended,
            SCOPE,
        )


_TRACEPARENT = compile_pattern(
    r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[^\x00-\x1f]*)?[ \t]*"
)
CURRENT: ContextVar[Span | None] = ContextVar("llmrouter_span", default=None)


def caller_of(headers: Mapping[str, str]) -> Caller | None:
    """The caller's span from its `traceparent` and `tracestate`, or None where there is none.

    A header that W3C Trace Context calls invalid counts as absent, whatever else it holds.
    """
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    trace_id, span_id, sampled = int(trace, 16), int(span, 16), bool(int(flags, 16) & 1)
    if not trace_id or not span_id:
        return None
    if "tracestate" not in headers:
        return Caller(trace_id, span_id, sampled)
    every = headers.getall("tracestate") if hasattr(headers, "getall") else [headers["tracestate"]]
    return Caller(trace_id, span_id, sampled, TraceState.from_header(every))
