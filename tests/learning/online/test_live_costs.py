"""What answers took in tokens is what the next request is expected to take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.learning.model.cost_model import FEWEST
from llmrouter.learning.model.fit_settings import MEMORY_ALONE
from llmrouter.learning.model.quality_model import Example, QualityModel
from llmrouter.learning.model.training import fit
from llmrouter.learning.online.live_costs import KEY, SAVE_AFTER, LiveCosts
from llmrouter.learning.online.sync import StoreSync
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_decision
from tests.learning.teaching import Bench, context


def _answered(target: str, tokens: int, **over: bool) -> Completion:
    attempt = Attempt(target, "ok", "", 5.0, 0.001, Usage(10, tokens, **over))
    return Completion(target, (attempt,), 0.001, 5.0)


def _text(words: int) -> str:
    return " ".join(["word"] * words)


def _indifferent() -> QualityModel:
    """A model without an estimator, to which both targets are as good."""
    examples = [Example(f"Add {n} to 4.", {"small": 1.0, "large": 1.0}) for n in range(30)]
    return fit(examples, MEMORY_ALONE).model


def _learned(count: int = 200) -> LiveCosts:
    """Small writes ten tokens a word of the question, large always 300."""
    costs = LiveCosts()
    for number in range(count):
        words = 2 + number % 30
        costs.observe(_text(words), _answered("small", 10 * words))
        costs.observe(_text(words), _answered("large", 300))
    return costs


def test_before_any_answer_the_price_of_the_assumed_length_is_expected() -> None:
    """Input and output as the features say, at the catalog's prices."""
    about = context("Add 3 to 4.", "math")
    costs = LiveCosts()
    assert costs.output_tokens(about) == (50.0, 50.0)
    prices = [target.price.cost(20, 50) for target in about.targets()]
    assert costs.expected_usd(about) == pytest.approx(prices)


def test_a_request_is_expected_to_take_what_such_requests_took() -> None:
    """A longer question costs more at the target that writes more for it, and only there."""
    costs = _learned()
    short, long = context(_text(3), "math"), context(_text(29), "math")
    small, large = costs.output_tokens(short)
    assert costs.output_tokens(long)[0] > 2 * small
    assert costs.output_tokens(long)[1] == pytest.approx(large, rel=0.02)
    assert large == pytest.approx(300, rel=0.02)


def test_few_answers_say_nothing() -> None:
    """Under the least number of answers the assumed length stays."""
    assert _learned(FEWEST - 2).output_tokens(context(_text(9), "math")) == (50.0, 50.0)


def test_what_the_caller_allows_bounds_the_answer() -> None:
    """A limit in the request is not exceeded, however long answers usually are."""
    about = context(_text(9), "math")
    bounded = replace(about, features=replace(about.features, asked_output=True))
    assert max(_learned().output_tokens(bounded)) <= 50


def test_estimated_failed_and_empty_answers_teach_nothing() -> None:
    """Only what a target reported for an answer counts."""
    costs = LiveCosts()
    failed = replace(_answered("small", 90).attempts[0], outcome="failed")
    for _ in range(60):
        costs.observe("hello", _answered("small", 90, estimated=True))
        costs.observe("hello", _answered("small", 0))
        costs.observe("hello", Completion("small", (failed,), 0.0, 1.0))
    assert costs.output_tokens(context("hello", "chat")) == (50.0, 50.0)


async def test_a_restart_keeps_what_was_learned() -> None:
    """Sums that were stored are taken over; damaged ones are passed over."""
    store, learned = MemoryStore(), _learned(SAVE_AFTER)
    await learned.save(store)
    again = LiveCosts()
    await again.load(store)
    about = context(_text(20), "math")
    assert again.output_tokens(about) == pytest.approx(learned.output_tokens(about), rel=0.05)
    await store.put(KEY, b"nonsense", None)
    empty = LiveCosts()
    await empty.load(store)
    assert empty.output_tokens(about) == (50.0, 50.0)


async def test_costs_are_stored_with_what_else_is_learned() -> None:
    """The learner's own reading and writing takes them along."""
    store, learned = MemoryStore(), _learned(SAVE_AFTER)
    await StoreSync(store, b"secret", 10, learned).write()
    again = LiveCosts()
    await StoreSync(store, b"secret", 10, again).newer()
    about = context(_text(20), "math")
    assert again.output_tokens(about) == pytest.approx(learned.output_tokens(about), rel=0.05)


def test_executions_teach_the_learner_what_they_took() -> None:
    """Every execution of a request that was decided here counts, cascade or not."""
    bench = Bench()
    for number in range(FEWEST + 5):
        about = context(_text(2 + number), "math")
        name = about.features.fingerprint
        decision = a_decision("small", "large", task="math", fingerprint=name)
        bench.learner.decided(decision, about)
        bench.learner.completed(decision, _answered("small", 400))
    small, large = bench.learner.costs.output_tokens(context(_text(9), "math"))
    assert small == pytest.approx(400, rel=0.02)
    assert large == 50


def test_the_learned_choice_charges_what_answers_really_take() -> None:
    """Two targets equally good at sums: once small is seen to write a hundred times as much, large
    is proposed."""
    bench = Bench()
    bench.learner.adopt(_indifferent())
    about = context("Add 3 to 4.", "math")
    before = bench.learner.propose(about)
    assert before is not None
    assert before.target == "small"
    for _ in range(FEWEST + 5):
        bench.learner.costs.observe("Add 3 to 4.", _answered("small", 5_000))
        bench.learner.costs.observe("Add 3 to 4.", _answered("large", 50))
    after = bench.learner.propose(about)
    assert after is not None
    assert after.target == "large"
