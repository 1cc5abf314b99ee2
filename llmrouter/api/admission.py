"""Who is let in: a bound on what runs at once, and the two steps of leaving.

A queue in front of a full service only makes every answer late, so there is none: what is over
the bound is refused at once and told when to come back. Leaving has two steps, because a load
balancer needs time to notice: `leaving` turns readiness off and still serves; `draining` refuses
what is new and lets what runs finish.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from llmrouter.errors import Overloaded


class Phase(StrEnum):
    """Where the service is in its life."""

    SERVING = "serving"
    LEAVING = "leaving"
    DRAINING = "draining"


class Admission:
    """Counts routed requests in flight. Event-loop confined, so plain integers are exact."""

    def __init__(self, limit: int = 1024, retry_after_s: float = 1.0) -> None:
        self.phase = Phase.SERVING
        self.running = 0
        self.refused = 0
        self.limit = limit
        self.retry_after_s = retry_after_s
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """Let one request in; pair with `leave`. Raises Overloaded."""
        if self.phase is Phase.DRAINING:
            self.refused += 1
            raise Overloaded(
                "the service is shutting down", code="draining", retry_after_s=self.retry_after_s
            )
        if self.running >= self.limit:
            self.refused += 1
            raise Overloaded(
                f"{self.running} requests are already running, which is the limit",
                retry_after_s=self.retry_after_s,
            )
        if self.running == 0:
            self._idle.clear()
        self.running += 1

    def leave(self) -> None:
        """One request is done."""
        self.running -= 1
        if self.running == 0:
            self._idle.set()

    def begin_leaving(self) -> None:
        """Readiness goes off; requests are still served."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.LEAVING

    def begin_draining(self) -> None:
        """New requests are refused; running ones finish."""
        self.phase = Phase.DRAINING

    async def idle(self) -> None:
        """Return once nothing runs."""
        await self._idle.wait()
