"""One estimate a target: judgement, learned model, record and prices, in that order."""

from __future__ import annotations

import pytest

from llmrouter.domain.interfaces import QualityEstimate
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.judging.estimates import Estimates, priors
from llmrouter.judging.outcomes import StoredOutcomes
from llmrouter.store.memory import MemoryStore
from tests.judging.asking import to_judge

CONTEXT = to_judge()
SMALL, LARGE = CONTEXT.targets()
SAID = Judgement({text_key(SMALL): 0.4}, protocol="chat", model="m")
EXPECTED = [QualityEstimate("small", 0.8, 0.15), QualityEstimate("large", 0.9, 0.1)]


def estimates(judgement: Judgement | None, learned: list[QualityEstimate]) -> list[float]:
    """Probabilities of small and large."""
    made = Estimates(StoredOutcomes(MemoryStore()))
    return [one.probability for one in made.estimates(CONTEXT, judgement, learned)]


def test_where_nothing_is_known_dearer_targets_are_expected_to_do_more() -> None:
    """By prices alone; equal prices promise the same."""
    assert estimates(None, []) == priors([SMALL, LARGE])
    assert priors([SMALL, LARGE]) == sorted(priors([SMALL, LARGE]))
    assert len(set(priors([SMALL, SMALL]))) == 1


def test_a_judgement_counts_before_prices_and_the_learned_model_where_none_was_given() -> None:
    """Each target by the best that is known of it."""
    small, large = estimates(SAID, [])
    assert (small, large) == (0.4, priors([SMALL, LARGE])[1])
    assert estimates(None, EXPECTED) == [0.8, 0.9]


def test_both_are_combined_by_how_sure_each_is_until_outcomes_tell() -> None:
    """Equally sure, they meet in the middle."""
    small, large = estimates(SAID, EXPECTED)
    assert small == pytest.approx(0.6)
    assert large == 0.9


def test_what_each_said_is_kept_beside_the_estimate() -> None:
    """Outcomes are held against what was said, not against what was made of it."""
    made = Estimates(StoredOutcomes(MemoryStore()))
    one = made.estimates(CONTEXT, SAID, EXPECTED)[0]
    assert (one.judged, one.learned) == (0.4, 0.8)
