"""How long to wait before a target is tried again: exponential, with full jitter.

Full jitter because clients that failed together must not come back together; for the same reason
it is added to a target's own `Retry-After`. A wait that the deadline does not leave is not begun.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from llmrouter.domain.catalog import Fallback


def delay_s(
    repeat: int,
    fallback: Fallback,
    *,
    retry_after_s: float | None = None,
    remaining_s: float,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Seconds to wait before repeat number `repeat` (0 first), or None when it is not worth it.

    None when the target asked for more than `max_backoff_ms`, or the wait would eat what the
    deadline leaves (`remaining_s`, `math.inf` without one).
    """
    ceiling = fallback.max_backoff_ms / 1000.0
    if retry_after_s is not None and retry_after_s > ceiling:
        return None
    wait = min(ceiling, fallback.backoff_ms / 1000.0 * 2.0 ** min(repeat, 30)) * jitter()
    wait += retry_after_s or 0.0
    return wait if wait < remaining_s else None
