"""What probabilities are worth after outcomes: curves, shrinkage, the blend, and its reports."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.judging.calibration import Calibration, Outcome, reliability

JUDGE = "chat/m"


def an_outcome(
    judged: float | None,
    grade: float,
    *,
    target: str = "a",
    learned: float | None = None,
    shown: float | None = None,
    caller: str = "",
) -> Outcome:
    """One outcome of weight 1."""
    return Outcome(JUDGE, target, "code", grade, 1.0, judged, learned, shown, caller)


def fitted(*outcomes: Outcome) -> Calibration:
    """A calibration that knows these."""
    made = Calibration()
    for one in outcomes:
        made.add(one)
    made.fit()
    return made


def test_without_outcomes_a_probability_is_taken_as_it_is() -> None:
    """Nothing is made up."""
    assert fitted().probability(JUDGE, "a", 0.73) == 0.73


@pytest.mark.parametrize("seed", range(3))
def test_an_over_confident_judge_is_within_five_points_after_500_outcomes(seed: int) -> None:
    """A judge that says 0.95 where it is right seven times in ten; checked on later requests."""
    dice = random.Random(seed)
    made = Calibration()
    late: list[tuple[float | None, float, float]] = []
    for number in range(2500):
        truth = dice.uniform(0.2, 0.9)
        said = min(0.999, max(0.001, 1.0 / (1.0 + ((1.0 - truth) / truth) ** 3) * 0.6 + 0.4))
        grade = float(dice.random() < truth)
        if number < 500:
            made.add(an_outcome(said, grade))
        else:
            late.append((said, grade, 1.0))
    made.fit()
    raw = reliability(late)
    known = reliability((made.probability(JUDGE, "a", p or 0.0), g, w) for p, g, w in late)
    assert raw.error > 0.1
    assert known.error <= 0.05


def test_few_outcomes_move_a_target_s_level_and_hardly_its_slope() -> None:
    """Ten failures of one target pull all its probabilities down, in their order."""
    outcomes = [an_outcome(0.8, 0.0, target="bad") for _ in range(10)]
    others = [an_outcome(0.8, float(n % 5 != 0), target="good") for n in range(50)]
    made = fitted(*outcomes, *others)
    low, high = (made.probability(JUDGE, "bad", p) for p in (0.3, 0.9))
    assert low < high < 0.8
    assert made.probability(JUDGE, "good", 0.8) > made.probability(JUDGE, "bad", 0.8) + 0.1


def test_a_target_without_outcomes_of_its_own_is_held_to_its_judge_s_curve() -> None:
    """A server that is over-confident about all is expected to be so about a new one."""
    made = fitted(*[an_outcome(0.9, float(n % 2), target="a") for n in range(100)])
    assert made.probability(JUDGE, "new", 0.9) == pytest.approx(0.5, abs=0.1)
    assert made.probability("chat/other", "new", 0.9) == 0.9


PROBABILITY = st.floats(0, 1)


@given(st.lists(st.tuples(PROBABILITY, PROBABILITY), max_size=40), PROBABILITY, PROBABILITY)
def test_a_curve_never_turns_the_order_around(
    rows: list[tuple[float, float]], one: float, other: float
) -> None:
    """Whatever outcomes were, a higher probability stays no lower, and both are probabilities."""
    made = fitted(*[an_outcome(p, grade) for p, grade in rows])
    low, high = sorted((one, other))
    assert 0.0 <= made.probability(JUDGE, "a", low) <= 1.0
    assert made.probability(JUDGE, "a", low) <= made.probability(JUDGE, "a", high) + 1e-9


def test_the_blend_goes_to_whoever_was_right() -> None:
    """By task, from where it starts."""
    right_model = [an_outcome(0.5, g, learned=g * 0.8 + 0.1) for g in (0.0, 1.0) * 50]
    right_judge = [an_outcome(g * 0.8 + 0.1, g, learned=0.5) for g in (0.0, 1.0) * 50]
    assert fitted(*right_model).learned_share("code", 0.5) > 0.8
    assert fitted(*right_judge).learned_share("code", 0.5) < 0.2
    assert fitted(*right_judge).learned_share("math", 0.3) == 0.3


def test_one_caller_s_word_is_never_more_than_half() -> None:
    """A flood of bad ratings moves a target no further than as many from others would let it."""
    honest = [an_outcome(0.8, 1.0, caller=f"c{n}") for n in range(20)]
    flood = [an_outcome(0.8, 0.0, caller="loud") for _ in range(500)]
    assert fitted(*honest, *flood).probability(JUDGE, "a", 0.8) > 0.4


def test_the_error_is_the_mean_distance_of_probability_and_outcome() -> None:
    """Over bins, by their weight."""
    found = reliability([(0.95, 1.0, 1.0), (0.95, 0.0, 1.0), (0.15, 0.0, 2.0)])
    assert found.outcomes == 3
    assert found.error == pytest.approx((2 * 0.45 + 2 * 0.15) / 4)
    assert reliability([(None, 1.0, 1.0)]).outcomes == 0


def test_figures_are_given_by_judge_and_target() -> None:
    """With what was shown to callers, and with what the judge itself said."""
    made = fitted(*[an_outcome(0.9, float(n % 2), shown=0.5) for n in range(40)])
    shown = made.public()
    one = shown["judges"][JUDGE]["a"]
    assert (one["outcomes"], one["calibration_error"]) == (40, 0.0)
    assert one["uncalibrated_error"] == pytest.approx(0.4)
    assert shown["outcomes"] == 40
