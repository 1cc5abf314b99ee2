"""Off-policy estimates, held against simulated logs whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.evaluation.offpolicy.estimators import ENOUGH, Floats, Logged, judge, means
from tests.samples import examples

TARGETS = 3
RATE = 0.3


class World:
    """Requests of two kinds; how good a target is depends on the kind, and so does who is chosen.

    Target 2 is chosen on easy requests, where all do well: its plain average flatters it.
    """

    truth = np.array([[0.5, 0.8, 0.9], [0.1, 0.6, 0.3]])
    choice = np.array([2, 0])

    def __init__(self, rows: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.kind = random.integers(0, 2, rows)
        chosen = self.choice[self.kind]
        served = np.full((rows, TARGETS), RATE / (TARGETS - 1))
        served[np.arange(rows), chosen] = 1 - RATE
        taken = (served.cumsum(axis=1) > random.random(rows)[:, None]).argmax(axis=1)
        right = random.random(rows) < self.truth[self.kind, taken]
        self.logged = Logged(
            taken, served[np.arange(rows), taken], right.astype(float), np.arange(rows)
        )
        self.fold = np.arange(rows) % 5

    def model(self) -> Floats:
        """Cross-fitted means."""
        return means(self.logged, self.kind, self.fold, TARGETS)

    def always(self, target: int) -> Floats:
        """The policy that takes one target."""
        return np.tile(np.eye(TARGETS)[target], (len(self.kind), 1))


TRUE_ALWAYS = World.truth.mean(axis=0)


@pytest.mark.parametrize("target", range(TARGETS))
def test_estimates_are_unbiased_and_their_intervals_cover(target: int) -> None:
    """Over 300 logs: means within three errors of the truth, 95% intervals right in 91 to 99%."""
    values: dict[str, list[float]] = {"ips": [], "snips": [], "dr": []}
    covered = dict.fromkeys(values, 0)
    for seed in range(300):
        world = World(400, seed)
        judged = judge(world.logged, world.always(target), world.model())
        for name, own in values.items():
            found = getattr(judged, name)
            own.append(found.value)
            covered[name] += found.low <= TRUE_ALWAYS[target] <= found.high
    for name, own in values.items():
        error = float(np.std(own)) / math.sqrt(len(own))
        assert abs(float(np.mean(own)) - TRUE_ALWAYS[target]) < 3 * error + 0.002, name
        assert 0.91 <= covered[name] / 300 <= 0.99, name


@pytest.mark.parametrize("truth", [0.04, 0.96])
def test_unanimous_rows_do_not_look_certain(truth: float) -> None:
    """Thirty rows that say the same leave room for the one in twenty-five that does not."""
    covered = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(300):
        random = np.random.default_rng(seed)
        taken = (random.random(600) < 0.05).astype(int)
        right = (random.random(600) < np.array([0.5, truth])[taken]).astype(float)
        log = Logged(taken, np.array([0.95, 0.05])[taken], right, np.arange(600))
        model = means(log, np.zeros(600, int), np.arange(600) % 5, 2)
        judged = judge(log, np.tile([0.0, 1.0], (600, 1)), model, bounds=(0.0, 1.0))
        for name in covered:
            found = getattr(judged, name)
            covered[name] += math.isnan(found.low) or found.low <= truth <= found.high
    assert min(covered.values()) >= 0.93 * 300, covered


def test_a_plain_average_would_be_wrong() -> None:
    """What is corrected for: target 2 served the easy requests."""
    world = World(4000, 1)
    plain = world.logged.reward[world.logged.taken == 2].mean()
    judged = judge(world.logged, world.always(2), world.model())
    assert plain > TRUE_ALWAYS[2] + 0.1
    assert judged.dr is not None
    assert judged.dr.high < plain


def test_a_good_model_makes_dr_narrower_than_ips() -> None:
    """Its estimates scatter less, and its intervals say so."""
    ips, dr, narrower = [], [], 0
    for seed in range(100):
        world = World(400, seed)
        judged = judge(world.logged, world.always(1), World.truth[world.kind])
        assert judged.dr is not None
        ips.append(judged.ips.value)
        dr.append(judged.dr.value)
        narrower += judged.dr.high - judged.dr.low < judged.ips.high - judged.ips.low
    assert np.var(dr) < np.var(ips)
    assert narrower == 100


def test_a_bad_model_biases_nothing() -> None:
    """A model that thinks the opposite of the truth is corrected by its own errors."""
    values = []
    for seed in range(200):
        world = World(400, seed)
        judged = judge(world.logged, world.always(1), 1.0 - World.truth[world.kind])
        assert judged.dr is not None
        values.append(judged.dr.value)
    assert np.mean(values) == pytest.approx(TRUE_ALWAYS[1], abs=0.02)


def test_the_logging_policy_itself_is_its_average() -> None:
    """Weights are all 1: IPS and SNIPS are the plain mean of what was logged."""
    world = World(500, 3)
    served = np.full((500, TARGETS), RATE / (TARGETS - 1))
    served[np.arange(500), World.choice[world.kind]] = 1 - RATE
    judged = judge(world.logged, served)
    plain = pytest.approx(world.logged.reward.mean())
    assert (judged.ips.value, judged.snips.value) == (plain, plain)
    assert (judged.matched, judged.effective) == (500, pytest.approx(500))
    assert judged.dr is None


def test_repeats_of_a_request_widen_the_interval() -> None:
    """A hundred requests asked ten times each are a hundred, not a thousand."""
    world = World(100, 5)
    log = world.logged
    ten = Logged(*(np.repeat(c, 10) for c in (log.taken, log.propensity, log.reward, log.group)))
    alone = Logged(ten.taken, ten.propensity, ten.reward, np.arange(1000))
    wanted = np.repeat(world.always(2), 10, axis=0)
    once, grouped, apart = (
        judge(log, world.always(2)).ips,
        judge(ten, wanted).ips,
        judge(alone, wanted).ips,
    )
    assert grouped.value == pytest.approx(once.value)
    assert grouped.low == pytest.approx(once.low, abs=0.01)
    assert apart.low > grouped.low + 0.03


def test_too_little_gives_no_interval() -> None:
    """A value perhaps, but no claim of how near it is."""
    world = World(12, 1)
    judged = judge(world.logged, world.always(1), world.model())
    assert judged.effective < ENOUGH
    assert math.isnan(judged.ips.low)
    assert math.isnan(judged.snips.high)
    assert judged.dr is not None
    assert math.isnan(judged.dr.low)


def test_nothing_in_common_is_said_not_scored() -> None:
    """A policy that wants what was never served has no self-normalised value."""
    logged = Logged(np.zeros(20, int), np.full(20, 0.5), np.ones(20), np.arange(20))
    judged = judge(logged, np.tile([0.0, 1.0], (20, 1)))
    assert (judged.matched, judged.effective) == (0, 0.0)
    assert math.isnan(judged.snips.value)
    assert math.isnan(judged.ips.low)


def test_an_empty_log_has_no_value() -> None:
    """Nothing is divided by nothing."""
    none = np.zeros(0)
    judged = judge(Logged(none.astype(int), none, none, none.astype(int)), np.zeros((0, 2)))
    assert math.isnan(judged.ips.value)


def test_clipping_is_counted_and_shrinks() -> None:
    """Weights above the limit are cut to it; without a limit none is."""
    world = World(1000, 2)
    wanted = world.always(1)
    free, cut = judge(world.logged, wanted), judge(world.logged, wanted, clip=4.0)
    assert (free.clipped, free.heaviest) == (0, pytest.approx(2 / RATE))
    assert (cut.clipped, cut.heaviest) == (free.matched, 4.0)
    assert cut.ips.value < free.ips.value


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.1, math.nan])
def test_a_propensity_that_cannot_be_is_refused(propensity: float) -> None:
    """Also one that is absent, which is NaN here."""
    with pytest.raises(ValueError, match="propensity is missing"):
        Logged(np.zeros(2, int), np.array([0.5, propensity]), np.ones(2), np.arange(2))


LOGGED = Logged(np.array([0, 1]), np.array([0.5, 0.5]), np.ones(2), np.arange(2))
HALVES = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("wanted", "over", "said"),
    [
        (np.full((3, 2), 0.5), {}, "probabilities"),
        (np.full((2, 2), 0.4), {}, "sum to 1"),
        (np.array([[1.5, -0.5]] * 2), {}, "sum to 1"),
        (np.ones((2, 1)), {}, "does not know"),
        (HALVES, {"modelled": np.ones((2, 3))}, "finite reward"),
        (HALVES, {"modelled": np.full((2, 2), math.nan)}, "finite reward"),
        (HALVES, {"clip": 0.0}, "largest weight"),
    ],
)
def test_what_makes_no_policy_is_refused(wanted: Floats, over: dict[str, Any], said: str) -> None:
    """It says what is wrong."""
    with pytest.raises(ValueError, match=said):
        judge(LOGGED, wanted, **over)


def test_columns_of_two_lengths_and_missing_rewards_are_refused() -> None:
    """A log is a table."""
    with pytest.raises(ValueError, match="one length"):
        Logged(np.zeros(3, int), np.ones(2), np.ones(2), np.arange(2))
    with pytest.raises(ValueError, match="reward"):
        Logged(np.zeros(1, int), np.ones(1), np.array([math.nan]), np.arange(1))


def test_means_do_not_see_the_row_they_are_for() -> None:
    """Changing one reward changes no prediction within its own fold."""
    world = World(60, 4)
    before, reward = world.model(), world.logged.reward.copy()
    reward[7] = 50.0
    log = world.logged
    after = means(
        Logged(log.taken, log.propensity, reward, log.group), world.kind, world.fold, TARGETS
    )
    own = world.fold == world.fold[7]
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(0, 1)), max_size=40))
def test_means_stay_within_what_was_seen(rows: list[tuple[int, int, float]]) -> None:
    """However few: finite, and nowhere outside 0..1."""
    taken = np.array([row[0] for row in rows], int)
    kind = np.array([row[1] for row in rows], int)
    reward = np.array([row[2] for row in rows], float)
    count = np.arange(len(rows))
    found = means(Logged(taken, np.ones(len(rows)), reward, count), kind, count % 3, 3)
    assert found.shape == (len(rows), 3)
    assert ((found >= 0) & (found <= 1)).all()
