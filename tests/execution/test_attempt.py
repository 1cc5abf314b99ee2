"""One attempt lets go of all it holds, and its span is nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import pytest

from llmrouter.domain.completion import ResponseEvent, UpstreamRequest, Usage
from llmrouter.domain.interfaces import Attribute
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.attempt import AttemptRequest, AttemptRunner, ExecutionContext, error_type
from llmrouter.execution.concurrency import ConcurrencyLimiter
from llmrouter.upstream.health import TargetHealth
from tests.fakes import RecordedSpan, RecordingObserver, a_target

CURRENT: ContextVar[str] = ContextVar("current", default="request")


class Scripted:
    """An upstream that yields the scripted events, raises the scripted failure, and counts."""

    def __init__(self, *script: ResponseEvent | UpstreamFailure) -> None:
        self.script = script
        self.calls: list[UpstreamRequest] = []
        self.opened = self.closed = 0

    @contextlib.asynccontextmanager
    async def send(self, call: UpstreamRequest) -> AsyncIterator[AsyncIterator[ResponseEvent]]:
        """One reply."""
        self.calls.append(call)
        self.opened += 1
        try:
            yield self._events()
        finally:
            self.closed += 1

    async def _events(self) -> AsyncIterator[ResponseEvent]:
        for step in self.script:
            if isinstance(step, UpstreamFailure):
                raise step
            yield step


class ContextObserver(RecordingObserver):
    """Steps that make themselves current, as real ones do; attempts do not."""

    def __init__(self) -> None:
        super().__init__()
        self.parents: list[str] = []

    @contextlib.contextmanager
    def _span(self, name: str, attributes: Mapping[str, Attribute]) -> Iterator[RecordedSpan]:
        self.parents.append(CURRENT.get())
        token = CURRENT.set(name)
        with super()._span(name, attributes) as span:
            yield span
        CURRENT.reset(token)

    def attempt(
        self, target: Target, attributes: Mapping[str, Attribute]
    ) -> contextlib.AbstractContextManager[RecordedSpan]:
        """One attempt's step."""
        self.parents.append(CURRENT.get())
        return super()._span(f"chat {target.model}", attributes)


def a_run(upstream: Scripted, name: str = "a", **desk: Any) -> AttemptRunner:
    """An attempt at this upstream."""
    made = ExecutionContext(
        upstream, desk.pop("observer", RecordingObserver()), TargetHealth(1), **desk
    )
    sending = AttemptRequest(
        body=b"{}",
        stream=False,
        include_usage_added=False,
        input_tokens=40,
        timeout_s=2.0,
        attempt_timeout_s=1.0,
    )
    return AttemptRunner(made, a_target(name), sending)


async def test_side_by_side_attempts_are_siblings_and_leave_no_trace() -> None:
    """Whatever tasks open and close them, each span's parent is the request's own."""
    observer = ContextObserver()
    upstream = Scripted(ResponseEvent(b"{}"))
    one, two = (a_run(upstream, name, observer=observer) for name in "ab")
    await asyncio.gather(*(asyncio.ensure_future(run.open()) for run in (one, two)))
    assert CURRENT.get() == "request"
    await two.close("ok")
    await one.close("ok")
    assert CURRENT.get() == "request"
    assert observer.parents == ["request", "request"]
    assert all(span.ended for span in observer.spans)


async def test_close_lets_go_of_everything_once() -> None:
    """Slot, span, connection; a second close says what the first one did."""
    upstream = Scripted(ResponseEvent(b"{}", usage=Usage(10, 5)))
    limits = ConcurrencyLimiter(concurrent=1)
    observer = RecordingObserver()
    run = a_run(upstream, limits=limits, observer=observer)
    await run.open()
    assert limits.running("a") == 1
    first = await run.close("ok")
    assert await run.close("cancelled") is first
    assert (limits.running("a"), upstream.opened, upstream.closed) == (0, 1, 1)
    assert observer.attempts == [first]
    assert first.cost_usd == pytest.approx(20e-6)


async def test_what_was_never_sent_costs_nothing_and_has_no_span() -> None:
    """A target whose circuit is open is not called."""
    upstream = Scripted()
    observer = RecordingObserver()
    run = a_run(upstream, observer=observer)
    run._context.health.record("a", ok=False)
    with pytest.raises(UpstreamFailure, match="circuit_open"):
        await run.open()
    attempt = await run.close("failed", "circuit_open")
    assert (attempt.cost_usd, upstream.calls, observer.spans) == (0.0, [], [])


async def test_a_reply_of_no_event_is_empty() -> None:
    """An upstream that ends at once has not answered."""
    run = a_run(Scripted())
    with pytest.raises(UpstreamFailure, match="empty"):
        await run.open()
    await run.close("failed")


async def test_costs_without_counts_are_estimates_only_where_money_may_be_due() -> None:
    """A failure before the first event costs nothing; a cancelled answer may."""
    failed = a_run(Scripted(UpstreamFailure("connect", "x")))
    with pytest.raises(UpstreamFailure):
        await failed.open()
    attempt = await failed.close("failed")
    assert (attempt.cost_usd, attempt.cost_estimated) == (0.0, False)
    left = a_run(Scripted(ResponseEvent(b"x", text="eight ch", written=8)))
    await left.open()
    attempt = await left.close("cancelled")
    assert attempt.cost_estimated
    assert attempt.usage == Usage(40, 2, estimated=True)


async def test_patience_bounds_the_first_event_alone() -> None:
    """The call carries both bounds."""
    upstream = Scripted(ResponseEvent(b"{}"))
    run = a_run(upstream)
    await run.open()
    await run.close("ok")
    assert (upstream.calls[0].timeout_s, upstream.calls[0].first_timeout_s) == (2.0, 1.0)
    assert upstream.calls[0].headers["traceparent"].startswith("00-")


def test_error_types_are_statuses_or_kinds() -> None:
    """As the conventions ask: low cardinality."""
    assert error_type(UpstreamFailure("status", "x", status=503)) == "503"
    assert error_type(UpstreamFailure("connect", "x")) == "connect"
