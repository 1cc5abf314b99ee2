"""The canary's test on simulated traffic with fixed seeds: what it finds and what it lets be."""

from __future__ import annotations

import random

import numpy as np
import pytest

from llmrouter.catalog.canary.evidence import (
    CANARY,
    CURRENT,
    GRADE_ALPHA,
    Arm,
    Verdict,
    judge,
)
from llmrouter.catalog.canary.sequential_test import (
    HORIZON,
    Rate,
    Sample,
    crosses,
    difference,
    evidence,
)

SHARE = 0.1


def traffic(seed: int, canary: float, *, graded: int, cost: float = 1.0) -> Verdict:
    """Ask after every request until it is not "not yet known" or `graded` canary grades are in.

    The current catalog is right in 80% of requests.
    """
    chance = random.Random(seed)
    arms = {CURRENT: Arm(), CANARY: Arm()}
    seen = 0
    while seen < graded:
        name = CANARY if chance.random() < SHARE else CURRENT
        arm = arms[name]
        usd = 0.001 * chance.lognormvariate(0.0, 0.8) * (cost if name == CANARY else 1.0)
        arm.execute(True, usd, 900 * chance.lognormvariate(0.0, 0.5))
        arm.grade(float(chance.random() < (canary if name == CANARY else 0.8)))
        if name == CANARY:
            seen += 1
            if (said := judge(arms, SHARE)).verdict != "not yet known":
                return said
    return judge(arms, SHARE)


def test_a_loss_of_ten_points_is_found_within_500_graded_requests() -> None:
    """In 19 of 20 runs at least, each looked at after every request."""
    found = [traffic(seed, 0.7, graded=500).verdict for seed in range(20)]
    assert found.count("worse") >= 19
    assert "better" not in found


def ever_worse(rates: tuple[float, float], runs: int) -> int:
    """In how many runs the grades ever say "worse", looked at after every fifth of 500 grades.

    The current catalog has nine graded requests for each of the canary's.
    """
    chance = np.random.default_rng(7)
    worse = 0
    for _ in range(runs):
        current = chance.binomial(9, rates[0], HORIZON).cumsum()
        canary = chance.binomial(1, rates[1], HORIZON).cumsum()
        worse += any(
            crosses(_graded(9 * n, one), _graded(n, other), SHARE, GRADE_ALPHA, lower=True)
            for n, (one, other) in enumerate(zip(current, canary, strict=True), 1)
            if n % 5 == 0
        )
    return worse


def _graded(count: int, right: int) -> Sample:
    return Sample(count, float(right), float(right))


@pytest.mark.parametrize("rate", [0.8])
def test_an_unchanged_catalog_is_called_worse_in_one_of_twenty_runs_at_most(rate: float) -> None:
    """However often one looks. Cost, latency, failures and late grades add 1.3% at most."""
    assert ever_worse((rate, rate), 1000) <= 0.05 * 1000


@pytest.mark.parametrize("rate", [0.98, 0.8, 0.6, 0.4])
def test_a_loss_of_ten_points_is_found_whatever_the_rate(rate: float) -> None:
    """In 19 of 20 runs, also where grades differ most."""
    assert ever_worse((rate, rate - 0.1), 40) >= 0.95 * 40


def test_grades_after_the_horizon_are_left_to_the_test_for_ever() -> None:
    """The boundary's error was spent by then."""
    far = _graded(9 * HORIZON + 9, 4000), _graded(HORIZON + 1, 0)
    assert not crosses(*far, SHARE, GRADE_ALPHA, lower=True)
    arms = {CURRENT: Arm(), CANARY: Arm()}
    for n in range(10 * HORIZON + 100):
        arms[CANARY if n % 10 == 0 else CURRENT].grade(float(n % 10 > 0 or n % 20 == 0))
    assert judge(arms, SHARE).verdict == "worse"


def test_a_gain_of_ten_points_is_better() -> None:
    """The same test, turned round."""
    found = [traffic(seed, 0.9, graded=800).verdict for seed in range(10)]
    assert found.count("better") >= 9


def test_a_catalog_that_costs_twice_as_much_is_worse() -> None:
    """Though its answers are as good."""
    said = traffic(1, 0.8, graded=500, cost=2.0)
    assert said.verdict == "worse"
    assert said.reasons[0].startswith("cost: ")


def test_a_catalog_that_costs_half_is_better_once_its_grades_are_known() -> None:
    """Not before: with few grades a loss could still hide."""
    assert traffic(1, 0.8, graded=60, cost=0.5).verdict == "not yet known"
    said = traffic(1, 0.82, graded=4000, cost=0.5)
    assert said.verdict == "better"


def test_nothing_is_known_of_nothing() -> None:
    """Before the first request, and with one arm alone."""
    arms = {CURRENT: Arm(), CANARY: Arm()}
    assert judge(arms, SHARE) == Verdict("not yet known", ())
    for _ in range(1000):
        arms[CANARY].execute(True, 0.1, 1.0)
        arms[CANARY].grade(0.0)
    assert evidence(Rate(0, 0), Rate(0, 0), SHARE, lower=True) <= 1.0
    assert difference(Sample(0, 0, 0), Sample(100, 1, 1), 0.05) is None


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.98])
def test_the_expectation_under_no_difference_is_at_most_one(rate: float) -> None:
    """One request, over both arms and outcomes: what Ville's inequality stands on."""
    expected = 0.0
    for arm, chance in ((CURRENT, 1 - SHARE), (CANARY, SHARE)):
        for value, likely in ((1.0, rate), (0.0, 1 - rate), (0.5, 0.0)):
            seen = {CURRENT: Rate(0, 0), CANARY: Rate(0, 0), arm: Rate(1, value)}
            weight = evidence(seen[CURRENT], seen[CANARY], SHARE, lower=True)
            expected += chance * likely * weight
    assert expected <= 1.0 + 1e-12
