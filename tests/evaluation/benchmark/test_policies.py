"""Each policy against choices worked out by hand, and the fast choice against the shipped one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.domain.utility import at_price, penalty
from llmrouter.evaluation.benchmark import policies
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.benchmark.estimates import PriorEstimates
from llmrouter.evaluation.benchmark.estimators import HeldOut
from llmrouter.evaluation.benchmark.policies import Truth
from tests.samples import examples

SCORE = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
COST = np.tile([1.0, 2.0, 4.0], (4, 1))


def _truth(score: np.ndarray = SCORE) -> Truth:
    return Truth(score, COST, np.ones(score.shape, bool))


def _held(quality: np.ndarray = SCORE) -> PriorEstimates:
    """Means say: c is best, a is cheapest; the estimator `e` says `quality`."""
    means = np.tile([0.3, 0.6, 0.8], (4, 1))
    return PriorEstimates(
        ("a", "b", "c"), means, COST, {"e": quality}, {"e": COST}, {}, True, {"e": COST}
    )


@settings(max_examples=examples(200))
@given(st.data())
def test_the_fast_choice_is_the_shipped_choice(data: st.DataObject) -> None:
    """Over random qualities, costs and prices both rules pick the same target."""
    size = data.draw(st.integers(1, 6))
    grid = st.integers(0, 20).map(lambda n: n / 20)
    quality = np.array([data.draw(grid) for _ in range(size)])
    cost = np.array([data.draw(st.integers(1, 16)) for _ in range(size)], float)
    price = data.draw(st.sampled_from([0.0, 0.37, 1.0, 2.9, float("inf")]))
    load = policies.on_one_scale(cost[None])
    assert load[0].tolist() == pytest.approx(penalty(cost, scale_usd=float(cost.max())).tolist())
    fast = int(policies.choose_many(quality[None], load, price)[0])
    shipped = at_price(quality, load[0], price).index
    if fast != shipped:  # a tie within rounding may fall either way
        lead = (quality - price * load[0])[fast] - (quality - price * load[0])[shipped]
        assert abs(lead) < 1e-9


def test_single_policies_pick_by_training_means() -> None:
    """Cheapest is a at 0.25, best is c at 0.75, random is the mean of all."""
    held, truth = _held(), _truth()
    cheapest = policies.always_cheapest(held, truth)
    assert (cheapest.detail, cheapest.score.mean(), cheapest.cost.mean()) == ("a", 0.25, 1.0)
    best = policies.always_best(held, truth)
    assert (best.detail, best.score.mean(), best.cost.mean()) == ("c", 0.75, 4.0)
    assert policies.random(held, truth).score.mean() == pytest.approx(SCORE.mean())
    assert policies.random(held, truth).cost.mean() == pytest.approx(7 / 3)


def test_the_reference_on_test_sees_the_test_and_says_so() -> None:
    """b scores as c does here and comes first; only this reference and the oracle may look."""
    best = policies.best_on_test(_held(), _truth())
    assert (best.detail, best.sees_test) == ("b", True)
    assert not policies.always_best(_held(), _truth()).sees_test


def test_the_oracle_takes_the_cheapest_right_answer() -> None:
    """a, b, c, b: every prompt right at a cost of 1 + 2 + 4 + 2."""
    found = policies.oracle(_held(), _truth())
    assert found.score.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert found.cost.tolist() == [1.0, 2.0, 4.0, 2.0]


def test_a_perfect_estimate_is_the_oracle_at_a_small_price_and_the_cheapest_at_any() -> None:
    """The curve runs from the best score to the least cost."""
    found = policies.learned(_held(), _truth(), "e")
    assert found.curve is not None
    score, cost = found.curve.score.mean(axis=0), found.curve.cost.mean(axis=0)
    assert (score[1], cost[1]) == (1.0, 2.25)
    assert (score[-1], cost[-1]) == (0.25, 1.0)
    assert (np.diff(cost) <= 1e-12).all()


def test_the_dial_is_set_on_evidence_from_training() -> None:
    """The cheapest setting that held the best single's score there is used on every test row."""
    held = _held(np.tile([0.2, 0.5, 0.6], (4, 1)))
    evidence = HeldOut(SCORE, SCORE, COST, COST)
    held.held_out["e"] = [(np.arange(4), evidence)]
    found = policies.tuned(held, _truth(), "e", 0.0)
    assert found is not None
    # On the evidence 0.75 is held up to the price at which c's row gives up; here b is then taken.
    assert set(found.cost.tolist()) <= {1.0, 2.0}
    assert policies.tuned(_held(), _truth(), "e", 0.0) is None


def test_a_perfect_verifier_climbs_until_it_is_right() -> None:
    """a, then b, then c; rejected attempts are paid, and the last one is served anyway."""
    found = policies.plain_cascade(_held(), _truth(), 1.0)
    assert found.score.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert found.cost.tolist() == [1.0, 3.0, 7.0, 3.0]


def test_a_blind_verifier_is_a_coin() -> None:
    """At 50% half the answers pass whatever they are worth: the second prompt by hand."""
    found = policies.plain_cascade(_held(), _truth(), 0.5)
    assert found.score[1] == pytest.approx(0.5 * 0 + 0.25 * 1 + 0.25 * 1)
    assert found.cost[1] == pytest.approx(1 + 0.5 * 2 + 0.25 * 4)


def test_a_learned_cascade_goes_on_to_the_best_estimated_other() -> None:
    """First the learned choice, then c; with a perfect verifier by hand."""
    quality = np.tile([0.9, 0.1, 0.8], (4, 1))
    found = policies.learned_cascade(_held(quality), _truth(), "e", 1.0)
    assert found.score.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert found.cost.tolist() == [1.0, 5.0, 5.0, 5.0]


def test_the_ladder_leaves_out_what_a_cheaper_target_beats() -> None:
    """Cheapest first, each step better than the last."""
    quality, cost = np.array([0.5, 0.4, 0.7, 0.6]), np.array([1.0, 2.0, 3.0, 3.0])
    assert policies.ladder(quality, cost) == [0, 2]


@pytest.mark.parametrize(
    ("prompt", "level"),
    [
        ("Who wrote Hamlet?", 0),
        ("word " * 60, 1),
        ("What is 7 + 5?", 1),
        ("word " * 121, 2),
        ("Fix this: ```x```", 2),
        ("How many apples are left if 3 of 12 go, 4 come and 2 rot?", 2),
    ],
)
def test_the_rules_are_what_they_say(prompt: str, level: int) -> None:
    """Easy, middling and hard by words, code and signs of reckoning."""
    assert policies.hardness(prompt) == level


def test_rules_send_easy_to_the_bottom_and_hard_to_the_top() -> None:
    """Levels 0, 1, 2 to a, b, c of the ladder."""
    prompts = ["Who wrote Hamlet?", "word " * 60, "word " * 121, "Who?"]
    found = policies.rules(_held(), _truth(), prompts)
    assert found.cost.tolist() == [1.0, 2.0, 4.0, 1.0]
    assert found.detail == "2 easy, 1 middling, 1 hard"


def test_full_outcomes_are_taken_as_they_are() -> None:
    """Nothing is reweighed where everything is recorded."""
    rows = [Row("1", "p", outcomes={"a": 0.2, "b": 1.0}), Row("2", "q", outcomes={"a": 0, "b": 0})]
    score, known = policies.weighed(rows, ("a", "b"))
    assert score.tolist() == [[0.2, 1.0], [0.0, 0.0]]
    assert known.all()


def test_a_journals_outcomes_stand_for_the_rows_that_lack_one() -> None:
    """Always using a target scores its mean recorded outcome, however few rows hold one."""
    rows = [
        Row("1", "p", outcomes={"a": 1.0}),
        Row("2", "q", outcomes={"b": 0.0}),
        Row("3", "r", outcomes={"a": 0.5}),
        Row("4", "s", outcomes={"b": 1.0}),
        Row("5", "t", outcomes={"a": 0.0}),
    ]
    score, known = policies.weighed(rows, ("a", "b"))
    assert score.mean(axis=0).tolist() == pytest.approx([0.5, 0.5])
    assert known.sum() == 5
