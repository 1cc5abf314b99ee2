"""Which targets are in no state to serve, learned from real outcomes alone.

Each target has its own circuit breaker. Asking `unavailable` changes nothing, because routing
asks for every request; the one probe a half-open circuit lets through is taken by `admit`, right
before an attempt starts. A target that asks to be left alone (`Retry-After`) is left alone for
that long, however well it did before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from llmrouter.util.circuit_breaker import Breaker

_MAX_RETRY_AFTER_S = 600.0


class TargetHealth:
    """Implements `Health`. `threshold` failures in a row open a target for `cooldown_s` seconds.

    `retry_after_s` beyond ten minutes counts as ten minutes. A target nobody has tried is well.
    """

    def __init__(
        self,
        threshold: int = 5,
        cooldown_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._ill: set[str] = set()
        self._asked_to_wait: set[str] = set()

    @property
    def all_healthy(self) -> bool:
        """Whether no circuit is open or half-open."""
        return not self._ill

    def unavailable(self, target: str) -> str | None:
        """Why the target should be left out now, or None."""
        if target not in self._ill:
            return None
        breaker = self._breakers[target]
        state = breaker.state
        if state == "half_open":
            return "circuit half-open: a probe is out" if breaker.probing else None
        if state == "closed":
            return None
        wait = math.ceil(breaker.remaining_s())
        if target in self._asked_to_wait:
            return f"rate limited by the provider: it asked to be left alone for {wait} s more"
        return f"circuit open after {breaker.failures} failures in a row: next try in {wait} s"

    def admit(self, target: str) -> bool:
        """Whether an attempt may start now; where a probe is due, this caller takes it."""
        return target not in self._ill or self._breakers[target].allow()

    def record(self, target: str, ok: bool, retry_after_s: float | None = None) -> None:
        """One attempt's outcome; `retry_after_s` is how long the target asked to be left alone."""
        if ok:
            if target in self._breakers:
                self._breakers[target].success()
                self._ill.discard(target)
                self._asked_to_wait.discard(target)
            return
        breaker = self._breakers.get(target)
        if breaker is None:
            breaker = Breaker(self._threshold, self._cooldown_s, self._clock)
            self._breakers[target] = breaker
        breaker.failure()
        if retry_after_s:
            breaker.open_for(min(retry_after_s, _MAX_RETRY_AFTER_S))
            self._asked_to_wait.add(target)
        if breaker.state != "closed":
            self._ill.add(target)

    def states(self) -> dict[str, str]:
        """Every target that was ever ill and its circuit's state, for the console and metrics."""
        return {target: breaker.state for target, breaker in self._breakers.items()}
