"""Executes a decision: one path, whether or not the caller streams.

The first event of a reply is the commit point. Before it a failed attempt leads to the next one;
after it the reply can only end or fail, and a failure is a well-formed error event, never a
silent cut. Leaving an execution (`aclose`, or cancelling who waits for it) closes the upstream
connection at once and puts what it may have cost on the account.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.completion import Completion, ResponseEvent, Usage
from llmrouter.domain.decision import Decision
from llmrouter.domain.interfaces import Health, Observer, Rewriter, Upstream
from llmrouter.domain.target import Target
from llmrouter.errors import DeadlineExceeded, LLMRouterError, RateLimited, UpstreamFailure
from llmrouter.execution.attempt import AttemptRunner, ExecutionContext
from llmrouter.execution.attempt_session import Afford, AttemptSession
from llmrouter.execution.cascade.runner import cascade
from llmrouter.execution.cascade.verification import Verifier
from llmrouter.execution.concurrency import ConcurrencyLimiter
from llmrouter.execution.error_mapping import error_event, event_of
from llmrouter.execution.hedging import hedged
from llmrouter.execution.plan import ExecutionRequest, plan
from llmrouter.execution.pricing import cost_usd
from llmrouter.execution.retry_policy import consequence
from llmrouter.execution.retry_state import RetryState

PAY_AHEAD = 1.25
"""How much of a stream's cost is taken from its key's budget, so that few events have to ask."""


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Everything an executor can do without. `finished` is told of every execution that ended,
    failed ones included; it must not wait. `jitter` gives 0..1 for back-off,
    `rewrite` turns requests into other wire formats."""

    limits: ConcurrencyLimiter = field(default_factory=ConcurrencyLimiter)
    verifier: Verifier = field(default_factory=Verifier)
    finished: Callable[[Execution], None] | None = None
    jitter: Callable[[], float] = random.random
    rewrite: Rewriter | None = None


class Executor:
    """Runs orders. One for the service; holds no request's state."""

    def __init__(
        self,
        upstream: Upstream,
        observer: Observer,
        health: Health,
        options: ExecutorOptions | None = None,
    ) -> None:
        self.options = options or ExecutorOptions()
        self._context = ExecutionContext(
            upstream, observer, health, self.options.rewrite, limits=self.options.limits
        )
        self._refused: set[tuple[str, str]] = set()
        self._best: tuple[Catalog, Target] | None = None

    def run(self, order: ExecutionRequest) -> Execution:
        """An execution that has not started: await `open`, or iterate it."""
        return Execution(self, AttemptSession(self._context, order, self._refused))

    def best_cost_usd(self, catalog: Catalog, usage: Usage) -> float:
        """What the same tokens would have cost at the catalog's most expensive target."""
        if self._best is None or self._best[0] is not catalog:
            targets = catalog.enabled or tuple(catalog.targets.values())
            dearest = max(targets, key=lambda t: 3 * t.price.input + t.price.output)
            self._best = (catalog, dearest)
        return cost_usd(self._best[1], usage)


class Execution:
    """An async iterator of ReplyEvents.

    `target` and `content_type` are known after the first event (`open`), `completion` once the
    last one is out, the rest was given up with `aclose`, or no attempt succeeded. `error` tells
    of a reply that broke off after its commit point. Raises LLMRouterError before the first
    event, nothing after it. Whoever stops early calls `aclose`.
    """

    def __init__(self, executor: Executor, flow: AttemptSession) -> None:
        self._executor = executor
        self._flow = flow
        self.order = flow.order
        self.decision: Decision = flow.order.decision
        self.status = 200
        self.content_type = "application/json"
        self.completion: Completion | None = None
        self.error: LLMRouterError | None = None
        self._pending: deque[ResponseEvent] = deque()
        self._run: AttemptRunner | None = None
        self._opened = False
        self._held_usd = 0.0

    @property
    def target(self) -> str | None:
        """Who answers, once that is known."""
        return self._flow.account.target

    @property
    def tried(self) -> int:
        """Attempts so far, the one that is running included."""
        return len(self._flow.account.attempts) + (self._run is not None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the wire format of who answers could not carry."""
        return self._flow.account.warnings.get(self.target or "", ())

    async def open(self) -> Execution:
        """Execute up to the commit point. Raises LLMRouterError when no attempt gets there.

        A reply that is not a stream is then complete, and so is its account.
        """
        if self._opened:
            return self
        self._opened = True
        try:
            if self.decision.cascade:
                await self._climb()
            else:
                await self._commit()
        finally:
            if self._run is None:
                self._finish()
        return self

    def __aiter__(self) -> Execution:
        return self

    async def __anext__(self) -> ResponseEvent:
        if not self._opened:
            await self.open()
        if self._pending:
            return self._pending.popleft()
        run = self._run
        if run is None:
            raise StopAsyncIteration
        try:
            while (event := await run.next_event()) is not None:
                if self._flow.afford is not None and not await self._affords(run):
                    return await self._out_of_money()
                if not event.usage_only:
                    return event
        except UpstreamFailure as failure:
            last, self.error = error_event(failure, self.order.deadline)
            if failure.kind != "timeout":  # it flowed as long as it may: that is no fault
                run.report_failure(failure, consequence(failure))
            await self._end("failed", str(failure), failure)
            return last
        except BaseException as error:
            await self._flow.abandon(run, error)
            await self._end("cancelled")
            raise
        run.report_success()
        await self._end("ok")
        raise StopAsyncIteration

    async def _affords(self, run: AttemptRunner) -> bool:
        """Whether the caller's key can pay for what has come so far."""
        afford, cost = self._flow.afford, self._flow.spent_usd + run.spent_usd
        if afford is None or cost <= self._held_usd:
            return True
        self._held_usd = PAY_AHEAD * cost
        return await afford(self._held_usd)

    async def _out_of_money(self) -> ResponseEvent:
        """The last event of a stream whose caller's key has nothing left."""
        last, self.error = event_of(
            RateLimited("the reply ended with this key's budget", code="insufficient_quota")
        )
        await self._end("cancelled", "the key's budget is used up")
        return last

    def pays(self, afford: Afford, held_usd: float) -> None:
        """Have the execution ask before it comes to more than is held (see `AttemptSession`)."""
        self._flow.afford, self._held_usd = afford, held_usd

    async def aclose(self) -> None:
        """Let go of the upstream at once; idempotent."""
        self._opened = True
        self._pending.clear()
        await self._end("cancelled", "the caller left")

    async def _end(
        self, outcome: str, reason: str = "", failure: UpstreamFailure | None = None
    ) -> None:
        """Close a stream's attempt and the account with it; only the first call counts."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            self._flow.account.finish_reason = run.finish_reason
            await self._flow.close(run, outcome, reason, failure)
        finally:
            self._finish()

    async def _commit(self) -> None:
        """Try until an attempt gets to its commit point. Raises LLMRouterError."""
        flow, order = self._flow, self.order
        remaining_s = order.deadline.remaining_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(
                "the request's time budget ran out before an attempt could start"
            )
        fallback = order.catalog.fallback
        course = RetryState(
            lambda: plan(order, order.deadline.remaining_s()),
            fallback,
            self._executor.options.jitter,
            flow.last_resort() or self._first(remaining_s),
        )
        while (step := course.next(order.deadline.remaining_s())) is not None:
            if not await flow.affords(step.target):
                break
            if step.wait_s:
                await flow.wait(step.wait_s)
            if fallback.hedge and step.following is not None:
                won = await hedged(flow, step.target, step.following, course)
            else:
                won = await flow.open(step.target, course, step.following)
            if won is None:
                if order.deadline.remaining_s() <= 0:
                    break
                continue
            run, event = won
            if event.refusal and fallback.on_refusal and course.following is not None:
                await flow.close(run, "rejected", "the target refused")
                continue
            flow.account.target = run.target.id
            self.content_type = event.content_type
            self._pending.append(event)
            if event.content_type.startswith("text/event-stream"):
                self._run = run
            else:
                flow.account.finish_reason = run.finish_reason
                await flow.close(run, "ok")
            return
        raise flow.final_error(course)

    def _first(self, remaining_s: float) -> Target | None:
        """The target to try before there is a plan: what would come next changes nothing, where
        there is no deadline and no hedge."""
        order = self.order
        if order.catalog.fallback.hedge or remaining_s != math.inf:
            return None
        return order.catalog.targets.get(order.decision.target)

    async def _climb(self) -> None:
        """Hold replies back until one is accepted; its events are then there at once."""
        flow = self._flow
        answer = await cascade(flow, self._executor.options.verifier)
        flow.account.target = answer.target.id
        flow.account.finish_reason = answer.finish_reason
        self.content_type = answer.events[0].content_type
        self._pending.extend(event for event in answer.events if not event.usage_only)

    def _finish(self) -> None:
        flow = self._flow
        completion = self.completion = flow.completion()
        if flow.account.target is not None:
            usage = next(
                (a.usage for a in reversed(completion.attempts) if a.target == completion.target),
                Usage(),
            )
            best = self._executor.best_cost_usd(self.order.catalog, usage)
            flow.observer.completed(self.decision, completion, best)
        if self._executor.options.finished is not None:
            self._executor.options.finished(self)
