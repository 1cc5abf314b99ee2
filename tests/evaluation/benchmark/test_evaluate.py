"""Whole evaluations on small invented sets, and on the real ones where they are at hand."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from llmrouter.evaluation.benchmark.dataset import Dataset, Row, read
from llmrouter.evaluation.benchmark.estimates import Fitting
from llmrouter.evaluation.benchmark.estimators import Learner, learner
from llmrouter.evaluation.benchmark.evaluate import Evaluated, Options, evaluate
from llmrouter.evaluation.benchmark.results import Report, document
from llmrouter.evaluation.benchmark.training_sets import families
from llmrouter.evaluation.text_encoders import UnknownEncoder
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.training import FitSettings

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("LLMROUTER_DATA", ROOT.parent / "shared" / "data"))
QUICK = FitSettings(trees=20, folds=2, network=NetworkSettings(members=1, epochs=8))
LEARNERS = (Learner("learned (hashing)", settings=QUICK), learner("neighbours"), learner("linear"))


def invented(name: str, rows: int, seed: int, **more: bool) -> Dataset:
    """`strong` is always right at 10, `weak` only on prompts about cats, at 1."""
    dice = random.Random(seed)
    out = []
    for number in range(rows):
        easy = dice.random() < 0.5
        words = " ".join(dice.choices(["one", "two", "three", "four", "five"], k=6))
        prompt = f"{'cat' if easy else 'entropy'} {words} {seed} {number}"
        outcomes = {"strong": 1.0, "weak": float(easy)}
        if more.get("journal"):
            served = dice.choice(["strong", "weak"])
            outcomes = {served: outcomes[served]}
        costs = {} if more.get("free") else {"strong": 10.0, "weak": 1.0}
        bare = more.get("bare")
        task = "easy" if easy else "hard"
        out.append(Row(f"{seed}-{number}", prompt, task, {} if bare else outcomes, costs))
    return Dataset(name, tuple(out))


def run(test: Dataset, *trains: Dataset) -> Evaluated:
    """One quiet evaluation with few draws."""
    options = Options(Fitting(LEARNERS, {}), draws=60)
    return evaluate(test, families(trains), options, lambda _name, _share: None)


def test_a_learnable_set_is_learned_and_saves() -> None:
    """Half the prompts go to the weak target at no loss: a saving of 45%."""
    found = run(invented("test", 120, 1), invented("train", 300, 2)).result
    assert found is not None
    curve = next(one for one in found.curves if one.policy == "learned (hashing)")
    assert curve.saving_equal.value == pytest.approx(0.45, abs=0.1)
    assert curve.saving_equal.low <= curve.saving_equal.value <= curve.saving_equal.high
    plain = next(one for one in found.curves if one.policy == "neighbours")
    assert curve.lead.value == pytest.approx(curve.top.value - plain.top.value)
    assert curve.lead.low <= curve.lead.value <= curve.lead.high
    calibration = found.calibration[0]
    assert calibration.policy == "learned (hashing)"
    assert calibration.outcomes == 240
    assert calibration.error == pytest.approx(
        sum(abs(p - score) * n for p, score, n in calibration.curve) / 240
    )
    assert calibration.error < 0.15
    assert (plain.lead.low, plain.lead.high) == (0.0, 0.0)
    names = [policy.name for policy in found.policies]
    assert names[:4] == ["always-cheapest", "always-best", "random", "rules"]
    assert {"neighbours", "linear", "cascade 90%", "oracle"} <= set(names)
    pair = found.pairs[0]
    assert (pair.strong, pair.weak) == ("strong", "weak")
    assert pair.apgr.value > 0.7
    assert found.unit == "USD"


def test_without_neighbours_there_is_no_lead_over_them() -> None:
    """A figure that does not exist is null."""
    options = Options(Fitting(LEARNERS[:1], {}), draws=60)
    trained = families([invented("train", 120, 2)])
    found = evaluate(invented("test", 60, 1), trained, options, lambda _name, _share: None).result
    assert found is not None
    curve = document(Report((found,), 0, 60))["sets"][0]["curves"][0]
    assert curve["lead_over_neighbours"] == {"value": None, "low": None, "high": None}


def test_equal_seeds_give_equal_figures() -> None:
    """Nothing is left to chance."""
    test, train = invented("test", 60, 1), invented("train", 120, 2)
    first, again = run(test, train).result, run(test, train).result
    assert first is not None
    assert again is not None
    assert document(Report((first,), 0, 60)) == document(Report((again,), 0, 60))


def test_without_training_files_rows_are_estimated_out_of_fold() -> None:
    """Labels that mean nothing cannot be learned: out of fold, APGR stays near chance."""
    dice = random.Random(5)
    rows = [
        Row(str(n), f"{dice.random()} word{n} thing{n}", "", {"a": dice.randint(0, 1), "b": 1.0})
        for n in range(300)
    ]
    found = run(Dataset("noise", tuple(rows))).result
    assert found is not None
    assert "cross-validation" in found.protocol
    assert any("has not seen it" in note for note in found.notes)
    assert all(0.3 < pair.apgr.value < 0.7 for pair in found.pairs)


def test_prompts_in_training_and_test_are_not_learned_from() -> None:
    """Testing on the training file itself falls back to folds, and says why."""
    both = invented("same", 100, 1)
    found = run(both, both).result
    assert found is not None
    assert "cross-validation" in found.protocol
    assert any("100 training rows share a prompt" in note for note in found.notes)


def test_rows_without_outcomes_are_predicted_for_every_training_target() -> None:
    """Scores in 0..1 that order the two kinds of prompts, and no table."""
    test = invented("bare", 80, 1, bare=True)
    found = run(test, invented("train", 300, 2))
    assert found.result is None
    assert found.targets == ("strong", "weak")
    assert found.scores.shape == (80, 2)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    easy = np.array([row.task == "easy" for row in test.rows])
    assert found.scores[easy, 1].mean() > found.scores[~easy, 1].mean() + 0.3


def test_a_target_of_two_families_is_answered_by_the_one_that_knows_the_task() -> None:
    """`weak` is graded 1 in one family and 0 in the other; the row's task decides."""
    one = Dataset("one", tuple(Row(f"a{n}", f"x {n}", "t1", {"weak": 1.0}) for n in range(30)))
    more = {"weak": 0.0, "p": 0.5, "q": 0.5}
    two = Dataset("two", tuple(Row(f"b{n}", f"y {n}", "t2", more) for n in range(30)))
    asked = Dataset("asked", (Row("1", "z", "t1"), Row("2", "z", "t2")))
    found = run(asked, one, two)
    weak = found.scores[:, found.targets.index("weak")]
    assert weak[0] > 0.8
    assert weak[1] < 0.2


def test_a_journal_is_evaluated_by_what_it_holds() -> None:
    """One outcome a row: means are recovered, and what cannot be known is left out and said."""
    found = run(invented("journal", 400, 1, journal=True), invented("train", 300, 2)).result
    assert found is not None
    best = next(policy for policy in found.policies if policy.name == "always-best")
    assert best.score.value == pytest.approx(1.0)
    assert best.known == pytest.approx(0.5, abs=0.1)
    names = {policy.name for policy in found.policies}
    assert "oracle" not in names
    assert not any("cascade" in name for name in names)
    assert any("lack the outcome" in note for note in found.notes)


def test_pairs_without_costs_count_strong_calls() -> None:
    """As RouteLLM does."""
    found = run(invented("t", 60, 1, free=True), invented("train", 100, 2, free=True)).result
    assert found is not None
    assert found.unit == "share of strong calls"
    assert found.reference_cost == 1.0


def test_costs_of_test_rows_decide_nothing() -> None:
    """Training without costs knows none, whatever the test rows say."""
    found = run(invented("t", 60, 1), invented("train", 100, 2, free=True)).result
    assert found is not None
    assert found.unit == "USD"
    assert any("decisions ignore them" in note for note in found.notes)


def test_an_unknown_encoder_says_what_there_is() -> None:
    """A wrong name is not guessed at."""
    with pytest.raises(UnknownEncoder, match="write hashing, openai:MODEL@BASE_URL or local:MODEL"):
        learner("word2vec")


def _real(name: str, side: str) -> Dataset:
    path = DATA / f"{name}.{side}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no outcome data at {path}")
    return read(path)


def test_real_pair_is_better_than_chance() -> None:
    """On gsm8k the learned ranking recovers more than chance, the strong target more than both."""
    found = run(_real("gsm8k-pair", "dev"), _real("gsm8k-pair", "train")).result
    assert found is not None
    assert found.pairs[0].apgr.value > 0.55
    scores = {policy.name: policy.score.value for policy in found.policies}
    assert scores["always-cheapest"] < scores["random"] < scores["always-best"] < scores["oracle"]


def test_real_set_with_costs_saves_within_one_point() -> None:
    """On routerbench the learned curve saves at least a fifth within one point of gpt-4."""
    found = run(_real("routerbench", "dev"), _real("routerbench", "train")).result
    assert found is not None
    assert found.reference == "gpt-4-1106-preview"
    assert found.cost_source == "recorded"
    assert found.curves[0].saving_point.value >= 0.2
