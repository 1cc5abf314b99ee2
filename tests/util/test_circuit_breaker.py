"""Closed, open, half-open: one probe at a time, and none that is lost for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.util.circuit_breaker import Breaker


class Clock:
    """Time that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def opened() -> tuple[Breaker, Clock]:
    """A breaker that has just opened."""
    clock = Clock()
    breaker = Breaker(2, 10.0, clock)
    breaker.failure()
    assert breaker.state == "closed"
    breaker.failure()
    return breaker, clock


def test_opens_at_the_threshold_and_lets_one_probe_through() -> None:
    """After the cooldown the first who asks probes; the others wait for its outcome."""
    breaker, clock = opened()
    assert breaker.state == "open"
    assert not breaker.allow()
    assert breaker.remaining_s() == 10.0
    clock.now += 10.0
    assert breaker.state == "half_open"
    assert breaker.allow()
    assert not breaker.allow()
    breaker.success()
    assert breaker.state == "closed"
    assert breaker.allow()


def test_a_failed_probe_opens_again_for_longer() -> None:
    """Each opening doubles the wait, eight times at most."""
    breaker, clock = opened()
    waits = []
    for _ in range(6):
        waits.append(breaker.remaining_s())
        clock.now += breaker.remaining_s()
        assert breaker.allow()
        breaker.failure()
    assert waits == [10.0, 20.0, 40.0, 80.0, 80.0, 80.0]


def test_a_probe_that_never_reports_gives_its_place_up() -> None:
    """A caller who left with the probe does not keep the target out for ever."""
    breaker, clock = opened()
    clock.now += 10.0
    assert breaker.allow()
    clock.now += 10.0
    assert breaker.allow()


def test_success_forgets_failures() -> None:
    """Only failures in a row count."""
    breaker = Breaker(2, 10.0, Clock())
    for _ in range(10):
        breaker.failure()
        breaker.success()
    assert breaker.state == "closed"


def test_an_early_probe_passes_an_open_circuit_alone_and_changes_no_wait() -> None:
    """One caller with nowhere else to go tries; its failure neither shortens nor lengthens."""
    breaker, clock = opened()
    clock.now += 4.0
    assert not breaker.allow()
    assert breaker.allow(early=True)
    assert not breaker.allow(early=True)
    breaker.failure()
    assert breaker.remaining_s() == 6.0
    assert breaker.allow(early=True)
    breaker.success()
    assert breaker.state == "closed"


def test_a_released_probe_frees_its_place() -> None:
    """A caller who left with the probe lets the next one try at once."""
    breaker, clock = opened()
    clock.now += 10.0
    assert breaker.allow()
    breaker.release()
    assert breaker.allow()


@given(st.lists(st.sampled_from(["ok", "fail", "allow", "wait", "back"]), max_size=60))
def test_never_more_than_one_probe_and_always_a_way_back(steps: list[str]) -> None:
    """Whatever happens, clock jumps included: success closes, time lets a probe through."""
    clock = Clock()
    breaker = Breaker(2, 10.0, clock)
    for step in steps:
        if step == "ok":
            breaker.success()
        elif step == "fail":
            breaker.failure()
        elif step == "allow":
            if breaker.state != "closed" and breaker.allow():
                assert not breaker.allow()
        else:
            clock.now += 7.0 if step == "wait" else -7.0
    clock.now += 10_000.0
    assert breaker.allow()
    breaker.success()
    assert breaker.state == "closed"
