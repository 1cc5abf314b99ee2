"""A second attempt beside a slow first one: the first to commit wins, the other is cancelled.

The second starts only after the first target's usual 95th percentile has passed, so one request
in twenty costs twice at most. The loser is cancelled on the upstream's side too, and what it may
have cost is on the account.
"""

from __future__ import annotations

import asyncio

from llmrouter.domain.completion import ResponseEvent
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.attempt import AttemptRunner
from llmrouter.execution.attempt_session import AttemptSession
from llmrouter.execution.retry_state import RetryState


async def hedged(
    flow: AttemptSession, target: Target, following: Target, course: RetryState
) -> tuple[AttemptRunner, ResponseEvent] | None:
    """The first of two attempts to commit; None when those that were started failed."""
    loop = asyncio.get_running_loop()
    first = await flow.start(target, following)
    racing: dict[asyncio.Task[ResponseEvent], AttemptRunner] = {
        loop.create_task(first.open()): first
    }
    try:
        await asyncio.wait(racing, timeout=flow.usual_s(target))
        if not any(task.done() for task in racing):
            course.take(following)
            second = await flow.start(following, course.following)
            racing[loop.create_task(second.open())] = second
            flow.observer.count("hedges", 1, {"target": target.id})
        while racing:
            done, _ = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                run = racing.pop(task)
                error = task.exception()
                if isinstance(error, UpstreamFailure):
                    await flow.failed(run, error, course)
                elif error is not None:
                    await flow.close(run, "failed", type(error).__name__)
                    raise error
                else:
                    run.report_success(whole=task.result().done)
                    flow.account.warnings[run.target.id] = run.warnings
                    await _let_go(flow, racing, "hedged: another target answered first")
                    return run, task.result()
        return None
    finally:
        await _let_go(flow, racing, "the caller left")


async def _let_go(
    flow: AttemptSession, racing: dict[asyncio.Task[ResponseEvent], AttemptRunner], reason: str
) -> None:
    for task in racing:
        task.cancel()
    if racing:
        await asyncio.gather(*racing, return_exceptions=True)
    for run in racing.values():
        await flow.close(run, "cancelled", reason)
    racing.clear()
