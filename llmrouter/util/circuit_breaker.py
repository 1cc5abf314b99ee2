"""A circuit breaker: stop calling what keeps failing, then let one call find out.

Closed, every call passes. After `threshold` failures in a row it opens, and nothing passes for
`cooldown_s`. Then it is half-open: one probe passes, and its outcome closes the circuit or opens
it again. A probe without an outcome gives its place up (`release`), or loses it after another
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

    def allow(self, *, early: bool = False) -> bool:
        """Whether a call may start. Half-open, the first to ask becomes the probe.

        `early` lets the probe pass while the circuit is still open, for a caller that has nowhere
        else to go; there is never more than one probe.
        """
        if self._until is None:
            return True
        now = self._clock()
        if self.probing or (now < self._until and not early):
            return False
        self._probe_at = now
        return True

    def success(self) -> None:
        """A call succeeded: the circuit closes."""
        self._failures = self._opened = 0
        self._until = self._probe_at = None

    def failure(self) -> None:
        """A call failed. Opens at the threshold, or again when it was a half-open circuit's probe.

        While the circuit is open a failure changes nothing: it belongs to a call that started
        before, or to an early probe, whose place is free again.
        """
        self._failures += 1
        self._probe_at = None
        now = self._clock()
        opens = self._failures >= self._threshold if self._until is None else now >= self._until
        if opens:
            self._until = now + self._cooldown_s * 2 ** min(self._opened, _MAX_DOUBLINGS)
            self._opened += 1

    def release(self) -> None:
        """The probe ended without saying anything about the circuit: the next call may probe."""
        self._probe_at = None
