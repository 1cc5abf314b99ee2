"""A point in monotonic time that a whole request draws on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at` is in seconds of `time.monotonic()`; `math.inf` means none."""

    at: float = math.inf

    @classmethod
    def after_ms(cls, budget_ms: float | None) -> Deadline:
        """The deadline `budget_ms` from now; None means none."""
        return NEVER if budget_ms is None else cls(time.monotonic() + budget_ms / 1000.0)

    def remaining_s(self) -> float:
        """Seconds left, never negative; `math.inf` when there is no deadline."""
        return max(0.0, self.at - time.monotonic())

    def within_s(self, limit_s: float) -> float:
        """The shorter of `limit_s` and what is left, in seconds."""
        return min(limit_s, self.remaining_s())


NEVER = Deadline()
