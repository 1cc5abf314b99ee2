"""Executes a decision: one path, whether or not the caller streams.

The first event of a reply is the commit point. Before it a failed attempt leads to the next one;
after it the reply can only end or fail, and a failure is a well-formed error event, never a
silent cut. Leaving an execution (`aclose`, or cancelling who waits for it) closes the upstream
connection at once and puts what it may have cost on the account.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Decision
from llmrouter.domain.ports import Health, Observer, Upstream
from llmrouter.domain.reply import Completion, ReplyEvent, Usage
from llmrouter.domain.target import Target
from llmrouter.errors import DeadlineExceeded, LLMRouterError, UpstreamFailure
from llmrouter.execution.attempt import Desk, Run
from llmrouter.execution.cascade import cascade
from llmrouter.execution.cost import cost_usd
from llmrouter.execution.course import Course
from llmrouter.execution.ends import error_event
from llmrouter.execution.flow import Flow
from llmrouter.execution.hedge import hedged
from llmrouter.execution.limits import TargetLimits
from llmrouter.execution.plan import Order, plan
from llmrouter.execution.verify import Verifier


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Everything an executor can do without. `finished` is told of every execution that ended,
    failed ones included; it must not wait. `jitter` gives 0..1 for back-off."""

    limits: TargetLimits = field(default_factory=TargetLimits)
    verifier: Verifier = field(default_factory=Verifier)
    finished: Callable[[Execution], None] | None = None
    jitter: Callable[[], float] = random.random


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
        self._desk = Desk(upstream, observer, health, self.options.limits)
        self._no_usage: set[str] = set()
        self._best: tuple[Catalog, Target] | None = None

    def run(self, order: Order) -> Execution:
        """An execution that has not started: await `open`, or iterate it."""
        return Execution(self, Flow(self._desk, order, self._no_usage))

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
    event, nothing after it.
    """

    def __init__(self, executor: Executor, flow: Flow) -> None:
        self._executor = executor
        self._flow = flow
        self.order = flow.order
        self.decision: Decision = flow.order.decision
        self.status = 200
        self.content_type = "application/json"
        self.completion: Completion | None = None
        self.error: LLMRouterError | None = None
        self._pending: ReplyEvent | None = None
        walk = self._cascade if self.decision.cascade else self._direct
        self._events: AsyncGenerator[ReplyEvent, None] = walk()

    @property
    def target(self) -> str | None:
        """Who answers, once that is known."""
        return self._flow.account.target

    async def open(self) -> Execution:
        """Execute up to the commit point. Raises LLMRouterError when no attempt gets there."""
        if self._pending is None and self.target is None:
            self._pending = await anext(self._events)
        return self

    def __aiter__(self) -> Execution:
        return self

    async def __anext__(self) -> ReplyEvent:
        pending = self._pending
        if pending is not None:
            self._pending = None
            return pending
        return await self._events.__anext__()

    async def aclose(self) -> None:
        """Let go of the upstream at once; idempotent."""
        self._pending = None
        await self._events.aclose()

    async def _direct(self) -> AsyncGenerator[ReplyEvent, None]:
        flow = self._flow
        run: Run | None = None
        try:
            run, event = await self._commit()
            if not event.content_type.startswith("text/event-stream"):
                await self._answered(run)
                yield event
                return
            following: ReplyEvent | None = event
            try:
                while following is not None:
                    if not following.usage_only:
                        yield following
                    following = await run.more()
            except UpstreamFailure as failure:
                last, self.error = error_event(failure, self.order.deadline)
                await flow.close(run, "failed", str(failure), failure)
                flow.desk.health.record(run.target.id, ok=False)
                yield last
                return
            await self._answered(run)
        finally:
            if run is not None and run.attempt is None:
                await flow.close(run, "cancelled", "the caller left")
            self._finish()

    async def _commit(self) -> tuple[Run, ReplyEvent]:
        """The first attempt that gets to its commit point. Raises LLMRouterError."""
        flow, order = self._flow, self.order
        remaining_s = order.deadline.remaining_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(
                "the request's time budget ran out before an attempt could start"
            )
        fallback = order.catalog.fallback
        course = Course(plan(order, remaining_s), fallback, self._executor.options.jitter)
        while (step := course.next(order.deadline.remaining_s())) is not None:
            if step.wait_s:
                flow.account.waited_ms += step.wait_s * 1000.0
                await asyncio.sleep(step.wait_s)
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
            return run, event
        raise flow.gave_up(course)

    async def _answered(self, run: Run) -> None:
        self._flow.account.finish_reason = run.finish_reason
        await self._flow.close(run, "ok")

    async def _cascade(self) -> AsyncGenerator[ReplyEvent, None]:
        try:
            flow = self._flow
            answer = await cascade(flow, self._executor.options.verifier)
            flow.account.target = answer.target.id
            flow.account.finish_reason = answer.finish_reason
            self.content_type = answer.events[0].content_type
            for event in answer.events:
                if not event.usage_only:
                    yield event
        finally:
            self._finish()

    def _finish(self) -> None:
        flow = self._flow
        completion = self.completion = flow.completion()
        if flow.account.target is not None:
            usage = next(
                (a.usage for a in reversed(completion.attempts) if a.target == completion.target),
                Usage(),
            )
            best = self._executor.best_cost_usd(self.order.catalog, usage)
            flow.desk.observer.completed(self.decision, completion, best)
        if self._executor.options.finished is not None:
            self._executor.options.finished(self)
