"""One attempt at one target, from its slot to its record.

It owns everything the attempt holds (the slot, the span, the upstream connection) and lets go of
all of it in `close`, however it ends. Its span is no one's current one, so that the spans of
attempts side by side are siblings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field, replace

from llmrouter.domain import semconv
from llmrouter.domain.completion import Attempt, ResponseEvent, UpstreamRequest, Usage
from llmrouter.domain.interfaces import (
    Attribute,
    Health,
    Observer,
    Rewriter,
    Rewritten,
    Span,
    Upstream,
)
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.concurrency import ConcurrencyLimiter
from llmrouter.execution.latency_tracker import Pace
from llmrouter.execution.pricing import believable, cost_usd, estimated_usage, unread_text
from llmrouter.execution.retry_policy import RetryDecision

log = logging.getLogger(__name__)

NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What every attempt works with.

    `rewrite` None sends every request as it came. `clock` gives seconds, for measuring alone.
    """

    upstream: Upstream
    observer: Observer
    health: Health
    rewrite: Rewriter | None = None
    limits: ConcurrencyLimiter = field(default_factory=ConcurrencyLimiter)
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], float] = time.perf_counter


@dataclass(slots=True)
class AttemptRequest:
    """What to send and how long it may take (seconds); `number` counts attempts from 0, `choices`
    the answers that were asked for.

    `refused` says why it cannot be sent at all. `rewritten` is set where the body is not the
    caller's own, `headers` are those of the caller's that belong to the wire format.
    `output_tokens` is how many are expected at most.
    `hurried`: the caller's deadline is nearer than the target's own timeout. `early`: it probes a
    target whose circuit is open.
    """

    body: bytes
    stream: bool
    include_usage_added: bool
    input_tokens: int
    timeout_s: float
    attempt_timeout_s: float
    output_tokens: int = 0
    number: int = 0
    detail: bool = False
    protocol: str = "openai-chat"
    rewritten: Rewritten | None = None
    headers: Mapping[str, str] | None = None
    refused: UpstreamFailure | None = None
    choices: int = 1
    hurried: bool = False
    early: bool = False


class AttemptRunner:
    """An attempt in progress: `open`, then `more` until None, then `close` (idempotent)."""

    __slots__ = (
        "_context",
        "_ended",
        "_events",
        "_finish_reason",
        "_framing",
        "_probing",
        "_received",
        "_sending",
        "_slot",
        "_span",
        "_started",
        "_step",
        "_ttft_ms",
        "_usage",
        "_wire",
        "attempt",
        "target",
    )

    def __init__(self, context: ExecutionContext, target: Target, sending: AttemptRequest) -> None:
        self._context = context
        self.target = target
        self._sending = sending
        self._started = context.clock()
        self._ended: float | None = None  # when a reply was read to its end
        self._slot = False
        self._probing = False  # it was admitted, and has not told yet how the target is
        self._step: AbstractContextManager[Span] | None = None
        self._span: Span | None = None
        self._wire: AbstractAsyncContextManager[AsyncIterator[ResponseEvent]] | None = None
        self._events: AsyncIterator[ResponseEvent] | None = None
        self._usage: Usage | None = None
        self._received = 0
        self._framing = 0
        self._ttft_ms: float | None = None
        self._finish_reason: str | None = None
        self.attempt: Attempt | None = None

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, once that is known."""
        return self._finish_reason

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the target's wire format could not carry."""
        rewritten = self._sending.rewritten
        if rewritten is None:
            return ()
        translation = rewritten.translation
        return rewritten.warnings + (() if translation is None else translation.losses)

    @property
    def spent_usd(self) -> float:
        """What the attempt has cost so far."""
        return cost_usd(self.target, self._spent("ok", None)[0])

    async def open(self) -> ResponseEvent:
        """The first event: the commit point. Raises UpstreamFailure."""
        context, target, sending = self._context, self.target, self._sending
        if sending.refused is not None:
            raise sending.refused
        rest = context.health.resting(target.id)
        if rest is not None and (rest.rate_limited or not sending.early):
            kind = "cooldown" if rest.rate_limited else "circuit_open"
            raise UpstreamFailure(kind, rest.reason, retry_after_s=rest.retry_after_s)
        if not context.limits.try_acquire(target.id):
            await context.limits.acquire(target.id, sending.attempt_timeout_s)
        self._slot = True
        if not context.health.admit(target.id, early=sending.early):
            wait_s = 1.0 if rest is None else rest.retry_after_s
            said = "another request is probing the target"
            raise UpstreamFailure("circuit_open", said, retry_after_s=wait_s)
        self._probing = True
        started = self._started = context.clock()
        attributes: dict[str, Attribute] = {semconv.TARGET: target.id}
        if sending.number:
            attributes[semconv.ATTEMPT] = sending.number
        if sending.stream:
            attributes[semconv.GEN_AI_REQUEST_STREAM] = True
        step = context.observer.attempt(target, attributes)
        span = step.__enter__()
        self._step, self._span = step, span
        call = UpstreamRequest(
            target=target,
            body=sending.body,
            stream=sending.stream,
            timeout_s=sending.timeout_s,
            headers=span.headers(),
            include_usage_added=sending.include_usage_added,
            first_timeout_s=(
                sending.attempt_timeout_s if sending.attempt_timeout_s < sending.timeout_s else None
            ),
            detail=sending.detail,
            choices=sending.choices,
            protocol=sending.protocol,
            translation=None if sending.rewritten is None else sending.rewritten.translation,
            extra_headers=sending.headers,
        )
        wire = context.upstream.send(call)
        self._events = await wire.__aenter__()
        self._wire = wire
        try:
            event = await self._events.__anext__()
        except StopAsyncIteration:
            raise UpstreamFailure("empty", "the upstream said nothing") from None
        self._ttft_ms = (context.clock() - started) * 1000.0
        context.pace.note(target.id, sending.stream, self._ttft_ms)
        self._note(event)
        return event

    async def next_event(self) -> ResponseEvent | None:
        """The next event, or None when the reply has ended well. Raises UpstreamFailure."""
        events = self._events
        if events is None:
            return None
        try:
            event = await events.__anext__()
        except StopAsyncIteration:
            self._ended = self._context.clock()
            return None
        self._note(event)
        return event

    def _note(self, event: ResponseEvent) -> None:
        first = not self._received
        self._count(event)
        if event.usage is not None:
            known = self._usage
            self._usage = event.usage if known is None else known.joined(event.usage)
        if event.finish_reason is not None:
            self._finish_reason = event.finish_reason
        span = self._span
        if span is not None and event.model is not None and first:
            span.set(semconv.GEN_AI_RESPONSE_MODEL, event.model)
            if event.response_id is not None:
                span.set(semconv.GEN_AI_RESPONSE_ID, event.response_id)

    def _count(self, event: ResponseEvent) -> None:
        """Count the text that came, for a reply that never says its usage."""
        if event.written:
            if not self._framing:
                self._framing = len(event.data) - event.written
            self._received += event.written
        elif not (event.finish_reason or event.done or event.data.startswith(b":")):
            self._received += unread_text(event.data, self._framing)

    def resample(self, sample: Callable[[bytes], bytes]) -> None:
        """Make this attempt one more sample of the same question; only before `open`."""
        sending = self._sending
        self._sending = replace(
            sending, body=sample(sending.body), stream=False, include_usage_added=False
        )

    def report_success(self, *, whole: bool = True) -> None:
        """Tell the target's health that it works; a stream that has only begun is no success yet.

        Else a target whose streams always break off would never have failed twice in a row.
        """
        self._probing = False
        if whole:
            self._context.health.record(self.target.id, ok=True)
        else:
            self._context.health.answered(self.target.id)

    def report_failure(self, failure: UpstreamFailure, result: RetryDecision) -> None:
        """Tell the target's health what a failure says of it.

        A wait that the target asked for is no failure, and neither is what the caller's own
        deadline or request led to. A refusal shows that the target answers. Where the target gave
        no time, `failure.retry_after_s` is set to how long it rests.
        """
        health, name = self._context.health, self.target.id
        asked = failure.retry_after_s
        if result.rest or (result.ill and asked):
            reason = result.rest or "overloaded"
            failure.retry_after_s = health.cooldown(name, asked or result.rest_s, reason)
        elif result.ill and not (failure.kind == "timeout" and self._sending.hurried):
            health.record(name, ok=False)
        elif failure.status is not None and failure.kind in ("status", "error_body"):
            health.answered(name)
        else:
            return
        self._probing = False

    def note(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """An event on the attempt's span."""
        if self._span is not None:
            self._span.event(name, attributes)

    async def close(
        self,
        outcome: str,
        reason: str = "",
        *,
        failure: UpstreamFailure | None = None,
        confidence: float | None = None,
        signals: tuple[str, ...] = (),
    ) -> Attempt:
        """Let go of everything and record how it went; the first call decides."""
        if self.attempt is not None:
            return self.attempt
        usage, estimated = self._spent(outcome, failure)
        self._check(usage, failure)
        ended = self._context.clock() if self._ended is None else self._ended
        attempt = self.attempt = Attempt(
            target=self.target.id,
            outcome=outcome,
            reason=reason,
            latency_ms=(ended - self._started) * 1000.0,
            cost_usd=cost_usd(self.target, usage),
            usage=usage,
            status=failure.status if failure is not None else None,
            ttft_ms=self._ttft_ms,
            cost_estimated=estimated,
            confidence=confidence,
            signals=signals,
        )
        try:
            if self._wire is not None:
                await self._wire.__aexit__(None, None, None)
        finally:
            if self._probing:
                self._context.health.release(self.target.id)
            if self._slot:
                self._context.limits.release(self.target.id)
            if self._step is not None:
                self._describe(attempt, failure)
                self._step.__exit__(None, None, None)
                self._context.observer.attempted(self.target, attempt)
        return attempt

    def _spent(self, outcome: str, failure: UpstreamFailure | None) -> tuple[Usage, bool]:
        """Reported usage; else an estimate where the upstream may bill, else nothing."""
        usage = self._usage
        if usage is None and failure is not None:
            usage = failure.usage
        if usage is not None:
            size = len(self._sending.body)
            return believable(usage, self.target, size, self._sending.choices), False
        if self._step is None:
            return NO_USAGE, False
        sending = self._sending
        if self._ttft_ms is not None:
            return estimated_usage(sending.input_tokens, self._received), True
        hurried = sending.hurried and failure is not None and failure.kind == "timeout"
        if outcome == "failed" and not hurried:
            return NO_USAGE, False
        return Usage(sending.input_tokens, self._unheard(), estimated=True), True

    def _unheard(self) -> int:
        """About how many tokens were written by the time that the caller would wait no longer."""
        latency, took_ms = self.target.latency, (self._context.clock() - self._started) * 1000.0
        written = (took_ms - latency.ttft_ms) * latency.tokens_per_s / 1000.0
        return int(min(max(0.0, written), self._sending.output_tokens))

    def _check(self, billed: Usage, failure: UpstreamFailure | None) -> None:
        """Say where an upstream counted more than this request can have used."""
        told = self._usage or (failure.usage if failure is not None else None)
        if told is None or told.input_tokens + told.output_tokens == (
            billed.input_tokens + billed.output_tokens
        ):
            return
        log.warning(
            "%s counted %d tokens in and %d out, more than a request can use: %d and %d are billed",
            self.target.id,
            told.input_tokens,
            told.output_tokens,
            billed.input_tokens,
            billed.output_tokens,
        )
        self._context.observer.count("usage_not_believed", 1, {"target": self.target.id})

    def _describe(self, attempt: Attempt, failure: UpstreamFailure | None) -> None:
        span = self._span
        if span is None:
            return
        usage = attempt.usage
        if usage is not NO_USAGE:
            span.set(semconv.GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
            span.set(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)
            span.set(semconv.COST_USD, attempt.cost_usd)
            if usage.cached_tokens:
                span.set(semconv.GEN_AI_USAGE_CACHED_TOKENS, usage.cached_tokens)
            if attempt.cost_estimated:
                span.set(semconv.COST_ESTIMATED, True)
        if self._finish_reason is not None:
            span.set(semconv.GEN_AI_RESPONSE_FINISH_REASONS, (self._finish_reason,))
        if attempt.ttft_ms is not None and self._sending.stream:
            span.set(semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, attempt.ttft_ms / 1000.0)
        if attempt.outcome != "ok":
            span.set(semconv.OUTCOME, attempt.outcome)
        if failure is not None:
            if failure.status is not None:
                span.set(semconv.HTTP_STATUS_CODE, failure.status)
            span.fail(error_type(failure), failure.detail)


def error_type(failure: UpstreamFailure) -> str:
    """`error.type` of a failure: the status where there was one, else its kind."""
    return failure.kind if failure.status is None else str(failure.status)
