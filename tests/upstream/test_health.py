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
    assert health.unavailable("a") == ("circuit open after 3 failures in a row, next try in 10 s")
    assert not health.admit("a")
    clock.now = 10.0
    for _ in range(5):
        assert health.unavailable("a") is None
    assert health.admit("a")
    assert health.unavailable("a") == "circuit half-open, a probe is out"
    assert not health.admit("a")
    health.record("a", ok=True)
    assert health.unavailable("a") is None
    assert health.states() == {"a": "closed"}


def test_a_rate_limit_rests_it_for_exactly_as_long_as_it_asked() -> None:
    """However many were refused at once, and however often."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    for _ in range(20):
        assert health.cooldown("a", 1.0) == 1.0
    assert health.unavailable("a") == "rate limited by its provider, next try in 1 s"
    clock.now = 0.9
    assert not health.admit("a")
    clock.now = 1.0
    assert health.unavailable("a") is None
    assert health.admit("a")
    assert health.all_healthy


def test_a_rate_limit_is_no_failure() -> None:
    """The next failures are counted as if there had been none."""
    clock = Clock()
    health = TargetHealth(2, 10.0, clock)
    for _ in range(10):
        health.cooldown("a", 1.0)
    clock.now = 1.0
    health.record("a", ok=False)
    assert health.unavailable("a") is None
    health.record("a", ok=False)
    assert "circuit open after 2 failures" in (health.unavailable("a") or "")


def test_a_rate_limit_without_a_time_is_tried_again_soon_and_then_later() -> None:
    """A second, doubled while nothing else comes of it; refused at once together counts once."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    waits = []
    for _ in range(7):
        waits.append(health.cooldown("a"))
        assert health.cooldown("a") == waits[-1]
        clock.now += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    health.record("a", ok=True)
    assert health.cooldown("a") == 1.0


def test_a_success_of_an_earlier_call_does_not_end_a_wait() -> None:
    """It was asked for after that call had begun."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    health.cooldown("a", 5.0)
    health.record("a", ok=True)
    assert health.unavailable("a") == "rate limited by its provider, next try in 5 s"


def test_the_longer_of_a_wait_and_an_open_circuit_is_said() -> None:
    """Each holds by itself, and the next try is after both."""
    clock = Clock()
    health = TargetHealth(1, 10.0, clock)
    health.record("a", ok=False)
    health.record("b", ok=False)
    health.cooldown("b", 30.0, "overloaded")
    assert "circuit open" in (health.unavailable("a") or "")
    assert health.unavailable("b") == "overloaded, next try in 30 s"
    resting = health.resting("b")
    assert resting is not None
    assert not resting.rate_limited


def test_an_absurd_retry_after_is_bounded() -> None:
    """No server may take itself out for a day."""
    clock = Clock()
    health = TargetHealth(5, 10.0, clock)
    assert health.cooldown("a", 1e8) == 600.0
    clock.now = 600.0
    assert health.admit("a")


def test_a_refusal_closes_a_half_open_circuit_and_forgets_no_failures() -> None:
    """It shows that the target answers; between failures it is no success."""
    clock = Clock()
    health = TargetHealth(2, 10.0, clock)
    health.record("a", ok=False)
    health.answered("a")
    health.record("a", ok=False)
    clock.now = 10.0
    assert health.admit("a")
    health.answered("a")
    assert health.states() == {"a": "closed"}


def test_the_circuit_that_opens_next_is_the_least_bad() -> None:
    """Where nothing but a circuit is in the way, and one probe at a time."""
    clock = Clock()
    health = TargetHealth(1, 10.0, clock)
    health.record("a", ok=False)
    clock.now = 3.0
    health.record("b", ok=False)
    health.cooldown("c", 1.0)
    assert health.least_bad(["c"]) is None
    assert health.least_bad(["c", "b", "a"]) == "a"
    assert not health.admit("a")
    assert health.admit("a", early=True)
    assert health.least_bad(["c", "b", "a"]) == "b"
    health.release("a")
    assert health.least_bad(["c", "b", "a"]) == "a"
    assert not health.admit("c", early=True)


def test_targets_do_not_share_their_health() -> None:
    """One that is ill says nothing of another."""
    health = TargetHealth(1, 10.0, Clock())
    health.record("a", ok=False)
    assert health.unavailable("a") is not None
    assert health.unavailable("b") is None
