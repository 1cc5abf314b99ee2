"""Abstention keeps its promise on finite samples and stays silent without evidence."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.learning.trust.abstention_threshold import (
    Observation,
    Windows,
    binomial_tail,
    threshold,
)


def _drawn(count: int, seed: int) -> list[Observation]:
    """Choices whose agreement probability rises with their confidence."""
    source = random.Random(seed)
    drawn = []
    for _ in range(count):
        confidence = source.random()
        drawn.append(Observation(confidence, source.random() < 0.6 + 0.4 * confidence**0.5))
    return drawn


def test_too_little_evidence_abstains() -> None:
    """Ten perfect answers do not prove 95% agreement."""
    assert threshold([Observation(0.9, True)] * 10, 0.95) is None
    assert threshold([], 0.95) is None


def test_enough_agreement_is_trusted() -> None:
    """Sixty agreeing answers prove 95% at a risk of 10%."""
    assert threshold([Observation(0.9, True)] * 60, 0.95) == 0.9


def test_disagreement_is_not_trusted() -> None:
    """A teacher that disagrees every third time is never matched."""
    observations = [Observation(0.5, number % 3 > 0) for number in range(300)]
    assert threshold(observations, 0.95) is None


def test_the_promise_holds_on_new_requests() -> None:
    """Over many windows, agreement above the cut misses its target about as rarely as promised."""
    fresh = _drawn(40_000, 99)
    missed = answered = 0
    for seed in range(120):
        cut = threshold(_drawn(600, seed), 0.9, risk=0.1)
        if cut is None:
            continue
        answered += 1
        above = [one.agreed for one in fresh if one.confidence >= cut]
        missed += sum(above) / len(above) < 0.9
    assert answered > 60
    assert missed / answered < 0.17


def test_one_early_error_does_not_stop_the_walk() -> None:
    """The surest choice was wrong, the next 399 right: a later start still earns trust."""
    observations = [Observation(1 - n / 1000, n > 0) for n in range(400)]
    cut = threshold(observations, 0.95)
    assert cut is not None
    assert cut <= 0.7


def test_audits_keep_the_trust_that_other_traffic_would_push_out() -> None:
    """Once answered, sure requests are seen by audits alone; the unsure ones keep coming."""
    windows = Windows(0.95, size=200)
    for _ in range(200):
        windows.observe("code", 0.9, True)
        assert windows.cut("code") in (None, 0.9)
    for number in range(1500):
        windows.observe("code", 0.4, number % 2 == 0)
        if number % 50 == 0:
            windows.observe("code", 0.95, True, audited=True)
    assert windows.trusts("code", 0.9)
    assert not windows.trusts("code", 0.4)
    assert len(windows.observations("code")) == 400


def test_young_trust_is_audited_more() -> None:
    """Nearly every answer at first, a tenth after nine hundred."""
    windows = Windows(0.95)
    for _ in range(100):
        windows.observe("code", 0.9, True)
    assert windows.audit_share("code") == 1
    for _ in range(900):
        assert windows.trusts("code", 0.9)
    assert windows.audit_share("code") == pytest.approx(0.1)
    assert windows.successor().audit_share("code") == pytest.approx(0.1)


def test_a_looser_cut_is_proved_in_the_proportions_of_traffic() -> None:
    """Nine in ten requests are sure and always right, the others right four times in five."""
    windows = Windows(0.95)
    dice = random.Random(0)
    for _ in range(400):
        windows.observe("code", 0.9, True)
    for _ in range(1000):
        windows.trusts("code", 0.9 if dice.random() < 0.9 else 0.5)
    for _ in range(600):
        windows.observe("code", 0.5, dice.random() < 0.8)
    assert windows.trusts("code", 0.5)


def test_what_requests_are_now_decides_and_not_which_were_compared() -> None:
    """The same comparisons, but half of the requests that come are unsure: 90% would agree."""
    windows = Windows(0.95)
    for number in range(400):
        windows.observe("code", 0.99, True)
        windows.observe("code", 0.8, number % 5 > 0)
    for number in range(300):
        windows.trusts("code", (0.99, 0.8)[number % 2])
    windows.observe("code", 0.99, True)
    for _ in range(10):
        windows.observe("code", 0.99, True)
    assert windows.trusts("code", 0.99)
    assert not windows.trusts("code", 0.8)


def test_confidences_that_are_off_are_set_right() -> None:
    """All that come are said to agree at 97%, and of those compared 85% did."""
    held = [Observation(0.97, number % 20 > 2) for number in range(400)]
    assert threshold(held, 0.95, [0.97] * 200) is None
    modest = [Observation(0.8, number % 50 > 0) for number in range(400)]
    assert threshold(modest, 0.95, [0.8] * 200) == 0.8


def test_traffic_that_is_surer_than_all_that_was_compared_is_trusted() -> None:
    """Held-out confidences are a little lower than served ones; enough of them still vouch."""
    held = [Observation(0.994, True)] * 100
    assert threshold(held, 0.95, [0.996] * 200) == 0.994
    assert threshold(held[:29], 0.95, [0.996] * 200) is None


def test_traffic_is_measured_on_the_scale_of_the_newest_confidences() -> None:
    """Successors compute the traffic's confidences anew, from its facts."""
    windows = Windows(0.95)
    windows.observe("code", 0.5, True)
    for _ in range(100):
        windows.trusts("code", 0.999, (0.5,))
    right = windows.successor(lambda facts, _task: facts[0])
    wrong = windows.successor(lambda facts, _task: facts[0])
    for number in range(100):
        right.observe("code", 0.5, True)
        wrong.observe("code", 0.5, number % 5 > 0)
    assert right.cut("code") == 0.5
    assert wrong.cut("code") is None, "four in five agree, whatever the traffic was once said to be"


def test_bad_audits_withdraw_at_once() -> None:
    """Forty audits with eight errors end the trust that a thousand agreements had earned."""
    windows = Windows(0.95)
    for _ in range(1000):
        windows.observe("code", 0.9, True)
    assert windows.trusts("code", 0.9)
    for number in range(40):
        windows.observe("code", 0.9, number % 5 > 0, audited=True)
    assert not windows.trusts("code", 0.9)


def test_one_caller_s_bad_audits_alone_are_no_alarm() -> None:
    """A flood of one caller's errors withdraws nothing; errors of two callers do."""
    windows = Windows(0.95)
    for _ in range(3000):
        windows.observe("code", 0.9, True)
    for _ in range(20):
        windows.observe("code", 0.9, True, True, "quiet")
    assert not any(windows.observe("code", 0.9, False, True, "loud") for _ in range(60))
    assert any(windows.observe("code", 0.9, False, True, "quiet") for _ in range(20))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=150))
def test_a_cut_keeps_the_observed_agreement_above_target(pairs: list[tuple[float, bool]]) -> None:
    """Whatever the window, what stands at or above the cut agreed often enough in it."""
    observations = [Observation(*pair) for pair in pairs]
    cut = threshold(observations, 0.8)
    if cut is not None:
        above = [one.agreed for one in observations if one.confidence >= cut]
        assert sum(above) / len(above) >= 0.8


@given(st.integers(1, 200), st.floats(0.01, 0.5), st.integers(0, 200))
def test_the_tail_is_a_probability(seen: int, rate: float, wrong: int) -> None:
    """The binomial tail lies in 0..1 and grows with the number of errors."""
    wrong = min(wrong, seen)
    tail = binomial_tail(wrong, seen, rate)
    assert 0 <= tail <= 1
    assert tail >= binomial_tail(max(wrong - 1, 0), seen, rate) - 1e-9
    assert binomial_tail(seen, seen, rate) == pytest.approx(1)


def test_windows_roll_and_are_kept_per_task() -> None:
    """New failures push old successes out, and one task's window does not speak for another."""
    windows = Windows(0.9, size=100)
    for _ in range(100):
        windows.observe("code", 0.8, True)
    assert windows.trusts("code", 0.8)
    assert not windows.trusts("code", 0.7)
    assert not windows.trusts("poetry", 1.0)
    for _ in range(60):
        windows.observe("code", 0.8, False)
    assert windows.cut("code") is None
    assert len(windows.observations("code")) == 100


def test_the_number_of_windows_is_bounded() -> None:
    """Invented task names cannot grow memory without bound."""
    windows = Windows(0.9, tasks=4)
    for number in range(50):
        windows.observe(f"task-{number}", 0.5, True)
    assert sum(bool(windows.observations(f"task-{number}")) for number in range(50)) <= 4
    assert len(windows.observations(None)) == 50


def test_impossible_targets_are_refused() -> None:
    """Agreement of 1 can never be proved."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold([], 1.0)
