"""Who is let in: a bound on what runs at once, and the steps of leaving.

A queue in front of a full service only makes every answer late, so there is none: what is over
the bound is refused at once and told when to come back. Leaving has two steps, because a load
balancer needs time to notice: `leaving` turns readiness off and still serves; `draining` refuses
what is new and lets what runs finish. What still runs when time is up is given up, and gets an
answer that says so: a request without an answer cannot be told from a lost one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from llmrouter.errors import Overloaded

Task = asyncio.Task[Any]


class Phase(StrEnum):
    """Where the service is in its life."""

    SERVING = "serving"
    NOT_READY = "leaving"
    DRAINING = "draining"


class LoadShedder:
    """Knows the routed requests in flight. Event-loop confined, so a plain set is exact."""

    def __init__(self, limit: int = 1024, retry_after_s: float = 1.0) -> None:
        self.phase = Phase.SERVING
        self.refused = 0
        self.limit = limit
        self.retry_after_s = retry_after_s
        self._tasks: set[Task] = set()
        self._arriving: set[Task] = set()
        self._given_up: set[Task] = set()

    @property
    def running(self) -> int:
        """Requests in flight."""
        return len(self._tasks)

    @property
    def unfinished(self) -> int:
        """Requests in flight, and those whose bodies are still on their way."""
        return len(self._tasks) + len(self._arriving)

    def check(self) -> None:
        """Raise Overloaded where `enter` would."""
        if self.phase is Phase.DRAINING:
            self.refused += 1
            raise self.draining()
        if len(self._tasks) >= self.limit:
            self.refused += 1
            raise Overloaded(
                f"{len(self._tasks)} requests are already running, which is the limit",
                retry_after_s=self.retry_after_s,
            )

    def enter(self) -> Task:
        """Let the current task's request in; pair with `leave`. Raises Overloaded."""
        self.check()
        task = _current_task()
        self._tasks.add(task)
        return task

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """The current task's body is on its way: no load yet, but drained and given up as such.

        Bodies have places of their own, as many as requests: who drips takes none from others.
        """
        self.check()
        if len(self._arriving) >= self.limit:
            self.refused += 1
            raise Overloaded(
                f"{len(self._arriving)} bodies are already on their way, which is the limit",
                retry_after_s=self.retry_after_s,
            )
        task = _current_task()
        self._arriving.add(task)
        try:
            yield
        finally:
            self._arriving.discard(task)

    def leave(self, task: Task) -> None:
        """The request of this task is done."""
        self._tasks.discard(task)

    def draining(self) -> Overloaded:
        """The error of a request that came too late, or ran too long."""
        return Overloaded(
            "the service is shutting down", code="draining", retry_after_s=self.retry_after_s
        )

    def begin_leaving(self) -> None:
        """Readiness goes off; requests are still served."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.NOT_READY

    def begin_draining(self) -> None:
        """New requests are refused; running ones finish."""
        self.phase = Phase.DRAINING

    def give_up(self) -> set[Task]:
        """Cancel what still runs; each of these requests answers with `draining()`."""
        self.begin_draining()
        given_up = self._tasks | self._arriving
        self._given_up |= given_up
        for task in given_up:
            task.cancel()
        return given_up

    def gave_up(self) -> bool:
        """Whether the current task was cancelled by `give_up`; it may then go on to answer.

        A task that something else cancelled (its caller left) must end.
        """
        task = asyncio.current_task()
        if task is None or task not in self._given_up:
            return False
        self._given_up.discard(task)
        return task.uncancel() == 0


def _current_task() -> Task:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a request runs in a task")
    return task
