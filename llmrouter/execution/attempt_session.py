"""What the direct way and the cascade share: starting attempts, and keeping account of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from llmrouter.domain.chat import CHAT_WIRE, LONG_BODY
from llmrouter.domain.completion import Attempt, Completion, ResponseEvent, WorstCase
from llmrouter.domain.interfaces import Rewritten
from llmrouter.domain.patterns import compile_bytes
from llmrouter.domain.target import Target
from llmrouter.errors import LLMRouterError, UpstreamFailure
from llmrouter.execution.attempt import AttemptRequest, AttemptRunner, ExecutionContext
from llmrouter.execution.error_mapping import final_error
from llmrouter.execution.plan import ExecutionRequest, attempt_timeout_s, own_patience_s
from llmrouter.execution.request_body import choices_of, prepare
from llmrouter.execution.retry_policy import Next, consequence, rejected_option
from llmrouter.execution.retry_state import RetryState

Afford = Callable[[float], Awaitable[bool]]
_REASONING = compile_bytes(rb"signature|thinking|encrypted_content|reasoning", ignore_case=True)
_STREAM_FACTOR = 10.0  # a stream may flow this many times longer than its target's timeout_s


@dataclass(slots=True)
class ExecutionRecord:
    """What an execution has come to so far. `target` and `finish_reason` are of the answer.

    `final_usd` is the part of the cost that belongs to no attempt (a judge's). `warnings` say, by
    target, what its wire format could not carry."""

    attempts: list[Attempt]
    started: float
    target: str | None = None
    finish_reason: str | None = None
    final_usd: float = 0.0
    waited_ms: float = 0.0
    verified_ms: float = 0.0
    bounds: WorstCase | None = None
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Written:
    """A request's body for one target, or why its wire format cannot carry the request."""

    body: bytes
    asks_usage: bool
    rewritten: Rewritten | None
    refused: UpstreamFailure | None


class AttemptSession:
    """One order being executed. `refused` remembers options that targets refused: (id, option).

    `afford` says whether the caller's key can pay so many USD for the whole execution; None where
    its budget has no end.
    """

    def __init__(
        self, context: ExecutionContext, order: ExecutionRequest, refused: set[tuple[str, str]]
    ) -> None:
        self._context = context
        self.observer = context.observer
        self.clock = context.clock
        self.order = order
        self.account = ExecutionRecord([], context.clock())
        self._refused = refused
        self._unsigned: set[str] = set()  # who turned down the history's signed reasoning
        self.afford: Afford | None = None
        self._started = 0
        self._probed: Target | None = None

    async def start(
        self, target: Target, following: Target | None = None, *, candidates: int = 0
    ) -> AttemptRunner:
        """An attempt, ready to open. A cascade's attempts ask for every detail.

        A long body is written in a thread.
        """
        order = self.order
        request = order.request
        detail = order.decision.cascade
        if len(request.body) < LONG_BODY:
            written = self._written(target, candidates)
        else:
            written = await asyncio.to_thread(self._written, target, candidates)
        rewritten = written.rewritten
        spoken = request.wire.protocol if rewritten is None else rewritten.protocol
        remaining = order.deadline.remaining_s()
        patience = attempt_timeout_s(order, target, following, remaining)
        own = own_patience_s(order, target)
        flows = request.stream and not detail
        total = min(remaining, own * _STREAM_FACTOR) if flows else patience
        number, self._started = self._started, self._started + 1
        sending = AttemptRequest(
            body=written.body,
            stream=request.stream,
            include_usage_added=written.asks_usage,
            input_tokens=order.decision.estimate.input_tokens,
            timeout_s=total,
            attempt_timeout_s=patience,
            output_tokens=order.decision.estimate.output_tokens,
            number=number,
            detail=detail,
            protocol=spoken,
            rewritten=rewritten,
            headers=request.wire.headers if spoken == request.wire.protocol else None,
            refused=written.refused,
            choices=choices_of(request),
            hurried=patience < own,
            early=target is self._probed,
        )
        return AttemptRunner(self._context, target, sending)

    def _written(self, target: Target, candidates: int) -> _Written:
        """The body for a target."""
        request = self.order.request
        rewritten: Rewritten | None = None
        refused: UpstreamFailure | None = None
        if self._context.rewrite is not None and (
            request.wire is not CHAT_WIRE or target.protocol != request.wire.protocol
        ):
            try:
                rewritten = self._context.rewrite(request, target, strip=self._strips(target))
            except UpstreamFailure as failure:
                refused = failure
        body, added = prepare(
            request,
            target,
            ask_usage=(target.id, "stream_options") not in self._refused,
            candidates=0 if (target.id, "logprobs") in self._refused else candidates,
            rewritten=rewritten,
        )
        return _Written(body, added, rewritten, refused)

    def usual_s(self, target: Target) -> float:
        """Seconds within which 95 of 100 such attempts at the target commit."""
        tokens = self.order.decision.estimate.output_tokens
        return self._context.pace.p95_s(target, self.order.request.stream, tokens)

    def _strips(self, target: Target) -> bool:
        """Whether the history must lose its reasoning: others than who signed it refuse it."""
        wire, signer = self.order.request.wire, self.order.signed_by
        elsewhere = signer is not None and signer != target.id
        return wire.foreign or (wire.signed and (elsewhere or target.id in self._unsigned))

    def last_resort(self) -> Target | None:
        """The target to probe, where every one that may be tried rests and one may be probed."""
        health, targets = self._context.health, self.order.catalog.targets
        if health.all_healthy:
            return None
        decision = self.order.decision
        names = [n for n in (decision.target, *decision.fallbacks) if n in targets]
        if any(health.resting(name) is None for name in names):
            return None
        found = health.least_bad(names)
        self._probed = None if found is None else targets[found]
        return self._probed

    async def open(
        self, target: Target, course: RetryState, following: Target | None, *, candidates: int = 0
    ) -> tuple[AttemptRunner, ResponseEvent] | None:
        """Open an attempt; None when it failed, which is then noted on the course."""
        run = await self.start(target, following, candidates=candidates)
        try:
            event = await run.open()
        except UpstreamFailure as failure:
            if self._refuses_reasoning(failure, target):
                self._unsigned.add(target.id)
                await self.close(run, "failed", str(failure), failure)
                return await self.open(target, course, following, candidates=candidates)
            option = self._doubtful(failure, target, candidates)
            if option is None:
                await self.failed(run, failure, course)
                return None
            self._refused.add((target.id, option))
            await self.close(run, "failed", str(failure), failure)
        except BaseException as error:
            await self.abandon(run, error)
            raise
        else:
            run.report_success(whole=event.done)
            self.account.warnings[target.id] = run.warnings
            return run, event
        opened = await self.open(target, course, following, candidates=candidates)
        if opened is None and course.final is not None:
            self._refused.discard((target.id, option))  # it was the caller's own mistake
        return opened

    def _refuses_reasoning(self, failure: UpstreamFailure, target: Target) -> bool:
        """Whether a target turned down reasoning that another model signed."""
        about = failure.status == 400 and _REASONING.search(failure.body) is not None
        return about and self.order.request.wire.signed and target.id not in self._unsigned

    def _doubtful(self, failure: UpstreamFailure, target: Target, candidates: int) -> str | None:
        """The option a refusal may be about, of those that were added and not given up yet.

        Log-probabilities are asked of targets that do not list them too, on the chance. There any
        refusal that would be final may be about them.
        """
        option = rejected_option(failure)
        if option is None and candidates and "logprobs" not in target.capabilities:
            final = failure.status in (400, 422) and consequence(failure).then is Next.NOTHING
            option = "logprobs" if final else None
        added = candidates if option == "logprobs" else self.order.request.stream
        return option if added and (target.id, option) not in self._refused else None

    async def wait(self, seconds: float) -> None:
        """Wait before an attempt, and put it on the account."""
        started = self.clock()
        await asyncio.sleep(seconds)
        self.account.waited_ms += (self.clock() - started) * 1000.0

    async def failed(
        self, run: AttemptRunner, failure: UpstreamFailure, course: RetryState
    ) -> None:
        """Close a failed attempt and let everyone who should know of it know."""
        result = consequence(failure)
        run.report_failure(failure, result)
        course.failed(run.target, failure)
        await self.close(run, "failed", str(failure), failure)
        if result.ours:
            labels = {"target": run.target.id, "kind": failure.kind}
            self.observer.count("upstream_misconfigured", 1, labels)

    async def close(
        self,
        run: AttemptRunner,
        outcome: str,
        reason: str = "",
        failure: UpstreamFailure | None = None,
        *,
        confidence: float | None = None,
        signals: tuple[str, ...] = (),
    ) -> Attempt:
        """End an attempt and put it on the account."""
        known = run.attempt is not None
        attempt = await run.close(
            outcome, reason, failure=failure, confidence=confidence, signals=signals
        )
        if not known:
            self.account.attempts.append(attempt)
        return attempt

    async def abandon(self, run: AttemptRunner, error: BaseException) -> None:
        """Close an attempt that something else than the upstream ended: the caller, or a defect."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            await self.close(run, "cancelled", "the caller left")
        else:
            await self.close(run, "failed", f"defect: {type(error).__name__}")

    def final_error(self, course: RetryState) -> LLMRouterError:
        """The error once the course is at its end."""
        return final_error(
            course.failures, course.final, self.account.attempts, self.order.deadline
        )

    async def affords(self, target: Target) -> bool:
        """Whether the caller's key can pay for one more attempt, after those that were billed."""
        spent = self.spent_usd
        if self.afford is None or not spent:
            return True
        return await self.afford(spent + self.order.bound_usd(target))

    @property
    def spent_usd(self) -> float:
        """What has been billed so far, running attempts aside."""
        account = self.account
        return math.fsum(a.cost_usd for a in account.attempts) + account.final_usd

    def completion(self) -> Completion:
        """The account as the domain knows it. The phases after the first add up to `latency_ms`."""
        account, decision = self.account, self.order.decision
        attempts = tuple(account.attempts)
        latency_ms = (self.clock() - account.started) * 1000.0
        earlier = self.order.request.options.decision_id is not None
        phases = {
            "route": 0.0 if earlier else decision.timing_ms,
            "attempts": max(0.0, latency_ms - account.waited_ms - account.verified_ms),
        }
        if account.waited_ms:
            phases["waits"] = account.waited_ms
        if account.verified_ms:
            phases["verify"] = account.verified_ms
        return Completion(
            target=account.target or decision.target,
            attempts=attempts,
            cost_usd=self.spent_usd,
            latency_ms=latency_ms,
            finish_reason=account.finish_reason,
            phases_ms=phases,
            bounds=account.bounds,
        )
