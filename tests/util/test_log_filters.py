"""A store that is down is one line in the log."""

from __future__ import annotations

import logging

from llmrouter.errors import StoreFailed
from llmrouter.util.log_filters import StoreDownFilter


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    """A warning as a part of the service gives it."""
    return logging.LogRecord(name, logging.WARNING, "", 0, message, arguments, None)


def test_a_store_that_is_down_is_said_once_whoever_says_it() -> None:
    """And again after a while; other lines pass all the time."""
    now = [0.0]
    shown = StoreDownFilter(60.0, lambda: now[0]).filter
    down = StoreFailed("Redis: ConnectionError")
    first = record("llmrouter.journal", "%d entries not kept: %s", 3, down)
    assert shown(first)
    assert first.getMessage().startswith(
        "the store does not work, requests are served without it: Redis: ConnectionError"
    )
    assert not shown(record("llmrouter.usage", "totals not kept: %s", down))
    assert shown(record("llmrouter.server", "worker %d ended", 7))
    now[0] = 61.0
    assert shown(record("llmrouter.journal", "%d entries not kept: %s", 9, down))
