"""Exponential, with full jitter, bounded by the deadline and by what the target asks."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Fallback
from llmrouter.execution.backoff import delay_s

FALLBACK = Fallback(backoff_ms=100, max_backoff_ms=2000)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_stays_within_its_ceiling(repeat: int, jitter: float) -> None:
    """However often it is repeated."""
    wait = delay_s(repeat, FALLBACK, remaining_s=math.inf, jitter=lambda: jitter)
    assert wait is not None
    assert 0 <= wait <= 2.0


def test_doubles_and_jitters_fully() -> None:
    """From nothing to the whole interval."""
    waits = [delay_s(n, FALLBACK, remaining_s=9, jitter=lambda: 1.0) for n in range(6)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert delay_s(3, FALLBACK, remaining_s=9, jitter=lambda: 0.0) == 0.0


def test_retry_after_is_the_least_and_may_be_too_much() -> None:
    """A target is never asked earlier than it said; a long wait is not worth it."""
    assert delay_s(0, FALLBACK, retry_after_s=1.2, remaining_s=9, jitter=lambda: 0.0) == 1.2
    assert delay_s(0, FALLBACK, retry_after_s=1.2, remaining_s=9, jitter=lambda: 1.0) == 1.3
    assert delay_s(0, FALLBACK, retry_after_s=2.5, remaining_s=9) is None


def test_a_wait_past_the_deadline_is_none() -> None:
    """The deadline wins."""
    assert delay_s(5, FALLBACK, remaining_s=0.5, jitter=lambda: 1.0) is None
