"""Targets are left out for reasons people can read, and find their way back."""

from __future__ import annotations

from llmrouter.upstream.health import TargetHealth


class Clock:
    """Time that moves when told."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_a_target_nobody_tried_is_well() -> None:
    """Unknown is not ill."""
    health = TargetHealth()
    assert health.unavailable("a") is None
    assert health.admit("a")


def test_failures_in_a_row_open_it_and_a_probe_brings_it_back() -> None:
    """Looking never takes the probe; starting does."""
    clock = Clock()
    health = TargetHealth(3, 10.0, clock)
    for _ in range(3):
        assert health.unavailable("a") is None
        health.record("a", ok=False)
    assert health.unavailable("a") == ("circuit open after 3 failures in a row: next try in 10 s")
    assert not health.admit("a")
    clock.now = 10.0
    for _ in range(5):
        assert health.unavailable("a") is None
    assert health.admit("a")
    assert health.unavailable("a") == "circuit half-open: a probe is out"
    assert not health.admit("a")
    health.record("a", ok=True)
    assert health.unavailable("a") is None
    assert health.states() == {"a": "closed"}


def test_retry_after_opens_it_at_once_for_that_long() -> None:
    """One 429 is enough when it says how long."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    health.record("a", ok=False, retry_after_s=42.0)
    assert "left alone for 42 s" in (health.unavailable("a") or "")
    clock.now = 41.9
    assert not health.admit("a")
    clock.now = 42.0
    assert health.admit("a")


def test_an_absurd_retry_after_is_bounded() -> None:
    """No server may take itself out for a day."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    health.record("a", ok=False, retry_after_s=1e8)
    clock.now = 600.0
    assert health.admit("a")


def test_targets_do_not_share_their_health() -> None:
    """One that is ill says nothing of another."""
    health = TargetHealth(1, 10.0, Clock())
    health.record("a", ok=False)
    assert health.unavailable("a") is not None
    assert health.unavailable("b") is None
