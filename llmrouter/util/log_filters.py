"""One line in the log for a store that is down, instead of one a second from every part.

Each part that uses the store says what it lost. While the store stays down these lines differ only
in numbers, so the first one is shown, and after `every_s` seconds the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from llmrouter.errors import StoreFailed


class StoreDownFilter(logging.Filter):
    """Passes one record about a failed store in `every_s` seconds, and everything else."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._next = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        failure = next((a for a in arguments if isinstance(a, StoreFailed)), None)
        if failure is None:
            return True
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._every_s
        record.msg = (
            "the store does not work, requests are served without it: %s (%s); said again after "
            "%g s if it lasts"
        )
        record.args = (failure, record.name, self._every_s)
        return True
