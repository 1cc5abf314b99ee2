"""A circuit breaker: stop calling what keeps failing, then let one call find out.

Closed, every call passes. After `threshold` failures in a row it opens, and nothing passes for
`cooldown_s`. Then it is half-open: one probe passes, and its outcome closes the circuit or opens
it again. A probe whose outcome never arrives (its caller left) gives its place up after another
cooldown. Each further opening doubles the cooldown, up to eight times. No I/O, no threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]
_MAX_DOUBLINGS = 3


class Breaker:
    """One circuit. `clock` gives monotonic seconds."""

    __slots__ = (
        "_clock",
        "_cooldown_s",
        "_failures",
        "_opened",
        "_probe_at",
        "_threshold",
        "_until",
    )

    def __init__(
        self,
        threshold: int = 5,
        cooldown_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._failures = 0
        self._opened = 0
        self._until: float | None = None
        self._probe_at: float | None = None

    @property
    def state(self) -> State:
        """Where the circuit stands; reading it changes nothing."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    @property
    def probing(self) -> bool:
        """Whether a probe is out whose outcome is not known yet."""
        at = self._probe_at
        return at is not None and self._clock() - at < self._cooldown_s

    def remaining_s(self) -> float:
        """Seconds until a probe may pass; 0 when one may now."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def allow(self) -> bool:
        """Whether a call may start. Half-open, the first to ask becomes the probe."""
        if self._until is None:
            return True
        now = self._clock()
        if now < self._until or self.probing:
            return False
        self._probe_at = now
        return True

    def success(self) -> None:
        """A call succeeded: the circuit closes."""
        self._failures = self._opened = 0
        self._until = self._probe_at = None

    def failure(self) -> None:
        """A call failed. Opens at the threshold, or at once when it was the probe."""
        self._failures += 1
        if self._until is not None or self._failures >= self._threshold:
            if self._until is None or self._clock() >= self._until:
                self._opened += 1
            self.open_for(self._cooldown_s * 2 ** min(self._opened - 1, _MAX_DOUBLINGS))

    def open_for(self, seconds: float) -> None:
        """Open the circuit for so long, whatever it counted; never shortens an open one."""
        until = self._clock() + seconds
        self._until = until if self._until is None else max(self._until, until)
        self._probe_at = None
