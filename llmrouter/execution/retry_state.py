"""Which attempt comes next, given what has failed so far. A small state machine, no I/O.

Every target of the plan is tried once, in order, before any is tried again; repeats are bounded
per target, wait their back-off, and happen only where the failure may pass by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from llmrouter.domain.catalog import Fallback
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.execution.backoff import delay_s
from llmrouter.execution.plan import Plan
from llmrouter.execution.retry_policy import Next, RetryDecision, consequence

_NEVER_SENT = frozenset({"saturated", "circuit_open", "cooldown", "misconfigured"})


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """One attempt to make: after `wait_s`; `following` is who would be tried if it fails."""

    target: Target
    wait_s: float = 0.0
    following: Target | None = None


class RetryState:
    """Walks a plan. `final` is the failure the caller must mend, once there is one.

    `first` is tried before the plan is even made: most requests never need more than that.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        fallback: Fallback,
        jitter: Callable[[], float] = random.random,
        first: Target | None = None,
    ) -> None:
        self._plan = plan
        self._first = first
        self._begun: Target | None = None
        self._planned: list[Target] | None = None
        self._left = max(1, fallback.max_attempts)
        self._fallback = fallback
        self._jitter = jitter
        self._repeatable: dict[str, tuple[Target, int, float | None]] = {}
        self._repeats: dict[str, int] = {}
        self.final: UpstreamFailure | None = None
        self.failures: list[UpstreamFailure] = []

    @property
    def _fresh(self) -> list[Target]:
        """The targets that have not been tried, in order."""
        if self._planned is None:
            self._planned = [t for t in self._plan().targets if t is not self._begun]
        return self._planned

    @property
    def following(self) -> Target | None:
        """The next target that has not been tried."""
        return self._fresh[0] if self._left > 0 and self._fresh else None

    def next(self, remaining_s: float) -> NextAttempt | None:
        """The next attempt, or None when nothing is left that may help."""
        if self.final is not None or self._left <= 0:
            return None
        if self._first is not None:
            self._begun, self._first = self._first, None
            self._left -= 1
            return NextAttempt(self._begun)
        if self._fresh:
            target = self._fresh.pop(0)
            self._left -= 1
            return NextAttempt(target, 0.0, self.following)
        for name, (target, repeat, retry_after_s) in list(self._repeatable.items()):
            del self._repeatable[name]
            wait = delay_s(
                repeat,
                self._fallback,
                retry_after_s=retry_after_s,
                remaining_s=remaining_s,
                jitter=self._jitter,
            )
            if wait is not None:
                self._left -= 1
                return NextAttempt(target, wait)
        return None

    def take(self, target: Target) -> None:
        """A target is being tried beside the planned step (a hedge)."""
        if target in self._fresh:
            self._fresh.remove(target)
            self._left -= 1

    def failed(self, target: Target, failure: UpstreamFailure) -> RetryDecision:
        """Note a failed attempt; says what follows from it."""
        result = consequence(failure, on_refusal=self._fallback.on_refusal)
        self.failures.append(failure)
        if failure.kind in _NEVER_SENT:
            self._left += 1
        if result.then is Next.LARGER:
            window = target.context_window
            self._planned = [other for other in self._fresh if other.context_window > window]
            if not self._planned:
                self.final = failure
        elif result.then is Next.NOTHING:
            self.final = failure
        if result.repeat:
            made = self._repeats.get(target.id, 0)
            if made < self._fallback.retries:
                self._repeats[target.id] = made + 1
                self._repeatable[target.id] = (target, made, failure.retry_after_s)
        return result
