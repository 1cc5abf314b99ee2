"""What a target's own confidence is worth, learned from what came of its answers."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.execution.cascade.confidence_calibration import CURVES, KEPT, Calibration, PlattCurve

DICE = random.Random(7)


def taught(truth: dict[float, float], times: int) -> PlattCurve:
    """A curve after `times` outcomes at each reading, good with the probability given."""
    curve = PlattCurve()
    for reading, chance in truth.items():
        for _ in range(times):
            curve.add(reading, float(DICE.random() < chance))
    return curve


@pytest.mark.parametrize("reading", [0.01, 0.3, 0.5, 0.9, 0.99])
def test_without_outcomes_a_reading_is_the_probability(reading: float) -> None:
    """The stated prior, for a target nobody has heard of and for an empty curve alike."""
    assert Calibration().probability("t", "logprob", reading) == reading
    assert PlattCurve().probability(reading) == pytest.approx(reading)


def test_an_overconfident_target_is_read_down() -> None:
    """It says 0.95 and is right half the time: after a few hundred answers that is known."""
    curve = taught({0.95: 0.5, 0.7: 0.2}, 150)
    assert curve.probability(0.95) == pytest.approx(0.5, abs=0.1)
    assert curve.probability(0.7) == pytest.approx(0.2, abs=0.1)


def test_a_modest_target_is_read_up() -> None:
    """It says 0.5 and is right nine times in ten."""
    assert taught({0.5: 0.9, 0.3: 0.7}, 150).probability(0.5) == pytest.approx(0.9, abs=0.07)


def test_little_evidence_leans_and_does_not_jump() -> None:
    """Two bad answers are no record: the reading moves, by less than with twenty."""
    few, many = taught({0.9: 0.0}, 2), taught({0.9: 0.0}, 20)
    assert 0.5 < few.probability(0.9) < 0.9
    assert many.probability(0.9) < 0.25


def test_targets_and_measures_are_kept_apart() -> None:
    """The same reading is worth something else at another target, and by another measure."""
    calibration = Calibration()
    for _ in range(100):
        calibration.add("bad", {"logprob": 0.9}, 0.0, 1.0)
        calibration.add("good", {"logprob": 0.9}, 1.0, 1.0)
    assert calibration.probability("bad", "logprob", 0.9) < 0.15
    assert calibration.probability("good", "logprob", 0.9) > 0.9
    assert calibration.probability("bad", "margin", 0.9) == 0.9


def test_readings_that_tell_nothing_leave_the_record() -> None:
    """Where higher readings did worse, the curve is flat at the target's own rate."""
    curve = taught({0.9: 0.2, 0.2: 0.8}, 100)
    assert curve.probability(0.9) == pytest.approx(curve.probability(0.2))
    assert curve.probability(0.5) == pytest.approx(0.5, abs=0.1)


def test_a_target_that_changed_is_followed() -> None:
    """Older outcomes fade once there is enough, so a thousand good answers are not for ever."""
    curve = taught({0.9: 1.0}, 1000)
    assert curve.evidence == pytest.approx(KEPT)
    for _ in range(1000):
        curve.add(0.9, 0.0)
    assert curve.probability(0.9) < 0.3


def test_memory_is_bounded() -> None:
    """However many targets come and go, those with least evidence leave."""
    calibration = Calibration()
    for _ in range(9):
        calibration.add("kept", {"logprob": 0.5}, 1.0, 1.0)
    for number in range(2 * CURVES):
        calibration.add(f"t{number}", {"logprob": 0.5}, 1.0, 1.0)
    assert len(calibration.curves) == CURVES
    assert ("kept", "logprob") in calibration.curves


def test_what_is_stored_comes_back_and_is_small() -> None:
    """JSON, a few hundred bytes a curve."""
    calibration = Calibration()
    for number in range(50):
        calibration.add("t", {"logprob": number / 50, "margin": 0.5}, number % 2, 1.0)
    packed = orjson.dumps(calibration.dump())
    restored = Calibration.load(orjson.loads(packed))
    assert len(packed) < 1000
    for reading in (0.1, 0.5, 0.9):
        told = [c.probability("t", "logprob", reading) for c in (calibration, restored)]
        assert told[0] == pytest.approx(told[1], abs=1e-3)


def test_two_records_add_up() -> None:
    """What two workers saw is what one would have seen."""
    one, other, both = Calibration(), Calibration(), Calibration()
    for number in range(100):
        for calibration in ((one, other)[number % 2], both):
            calibration.add("t", {"logprob": number / 100}, float(number > 60), 1.0)
    one.merge(other)
    assert one.probability("t", "logprob", 0.7) == pytest.approx(
        both.probability("t", "logprob", 0.7)
    )


@pytest.mark.parametrize(
    "dumped",
    [7, [["t"]], [["t", "m", [1], [1]]], [["t", "m", ["x"] * 25, [0] * 25]],
     [["t", "m", [1] * 25, [9] * 25]], [["t", "m", [-1] * 25, [-1] * 25]]],
)  # fmt: skip
def test_what_cannot_be_a_record_is_refused(dumped: object) -> None:
    """A damaged or foreign value in the store never becomes a probability."""
    with pytest.raises((ValueError, TypeError)):
        Calibration.load(dumped)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 5)), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_any_record_gives_probabilities_that_never_fall(
    outcomes: list[tuple[float, float, float]], one: float, other: float
) -> None:
    """Whatever happened, a higher reading is worth no less, and all of it lies in 0..1."""
    curve = PlattCurve()
    for reading, good, weight in outcomes:
        curve.add(reading, good, weight)
    low, high = sorted((one, other))
    assert 0.0 <= curve.probability(low) <= curve.probability(high) + 1e-9 <= 1.0 + 2e-9
