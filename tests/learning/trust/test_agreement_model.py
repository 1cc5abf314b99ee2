"""The confidence of a choice is learned from comparisons, and they stay held out."""

import random

import numpy as np
import pytest

from llmrouter.domain.utility import UtilityChoice
from llmrouter.learning.model.quality_model import Estimates
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import (
    ENOUGH,
    NAMES,
    AgreementModel,
    Comparison,
    facts,
)


def _comparison(dice: random.Random, told: bool = True, task: str = "code") -> Comparison:
    """Agreement depends on nearness, and not at all on quality."""
    near = dice.random()
    agreed = dice.random() < (0.6 + 0.4 * (near > 0.5) if told else 0.8)
    return Comparison(task, (dice.random(), 0.1, 0.1, near, 1.0, 0.5), agreed, audited=False)


def _filled(count: int, told: bool = True) -> AgreementModel:
    dice, trust = random.Random(0), AgreementModel(Windows(0.95))
    for _ in range(count):
        trust.observe(_comparison(dice, told))
    return trust


def test_the_facts_have_their_names_and_bounds() -> None:
    """Support and margin are bounded, a repeat has nearness 1."""
    numbers = np.array([0.2, 0.9], np.float32)
    found = Estimates(("a", "b"), numbers, numbers, numbers * 10, numbers > 0, 1.0)
    told = facts(found, UtilityChoice(1, (1, 0), float("inf")))
    assert len(told) == len(NAMES)
    assert dict(zip(NAMES, told, strict=True)) == pytest.approx(
        {"quality": 0.9, "lead": 1, "doubt": 0.9, "nearness": 1, "support": 3, "level": 0.55}
    )


def test_before_enough_comparisons_the_confidence_is_the_quality() -> None:
    """A regression on a handful would be noise."""
    trust = _filled(ENOUGH - 1).refresh()
    assert trust.confidence((0.7, 0.0, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(0.7)


def test_the_confidence_learns_what_predicts_agreement() -> None:
    """Nearness decides here, so it and not the quality moves the confidence and earns trust."""
    trust = _filled(1200).refresh()
    near = trust.confidence((0.2, 0.1, 0.1, 1.0, 1.0, 0.5))
    far = trust.confidence((0.9, 0.1, 0.1, 0.0, 1.0, 0.5))
    assert near > far + 0.2
    assert trust.trusts("code", near)
    assert not trust.trusts("code", far)
    assert not trust.trusts("poetry", near)


def test_a_task_leans_as_far_as_its_own_comparisons_bear_out() -> None:
    """The same facts, but verse disagrees: less is expected of it; an unseen task is between."""
    dice, trust = random.Random(0), AgreementModel(Windows(0.95))
    known = (0.8, 0.1, 0.1, 0.5, 1.0, 0.5)
    for number in range(600):
        task = ("code", "verse")[number % 2]
        agreed = dice.random() < {"code": 0.97, "verse": 0.7}[task]
        trust.observe(Comparison(task, known, agreed, audited=False))
    trust = trust.refresh()
    assert trust.confidence(known, "code") == pytest.approx(0.97, abs=0.03)
    assert trust.confidence(known, "verse") == pytest.approx(0.7, abs=0.05)
    assert trust.confidence(known, "verse") < trust.confidence(known, "odes")
    assert trust.confidence(known, "odes") < trust.confidence(known, "code")
    assert trust.windows.cut("verse") is None


def test_noise_earns_no_trust() -> None:
    """Cross-fitting: a regression cannot vouch for comparisons it was fitted on."""
    trust = _filled(300, told=False).refresh()
    assert trust.windows.cut("code") is None


def test_a_refresh_loses_nothing_that_came_meanwhile() -> None:
    """Comparisons between a refresh and its swap are carried over."""
    trust, dice = _filled(100), random.Random(5)
    fresh = trust.refresh()
    for _ in range(7):
        trust.observe(_comparison(dice))
    fresh.follow(trust)
    assert fresh.dump() == trust.dump()


def test_it_is_stored_and_restored() -> None:
    """As plain values; another build's facts are refused."""
    trust, other = _filled(120), AgreementModel(Windows(0.95))
    other.load(trust.dump())
    assert other.dump() == trust.dump()
    assert other.refresh().confidence((0.5,) * 6) == trust.refresh().confidence((0.5,) * 6)
    with pytest.raises(ValueError, match="other facts"):
        other.load([["code", [0.5], True, False]])


def test_withdrawal_outlives_a_refresh() -> None:
    """After bad audits the task's older comparisons are gone, so nothing brings the trust back."""
    trust = AgreementModel(Windows(0.95))
    for _ in range(400):
        trust.observe(Comparison("code", (0.9,) * 6, agreed=True, audited=False))
    assert trust.trusts("code", 0.9)
    for number in range(40):
        trust.observe(Comparison("code", (0.9,) * 6, agreed=number % 4 > 0, audited=True))
    assert not trust.refresh().trusts("code", 0.99)


def test_the_number_kept_is_bounded() -> None:
    """The oldest comparisons leave."""
    trust, dice = AgreementModel(Windows(0.95), kept=50), random.Random(1)
    for _ in range(80):
        trust.observe(_comparison(dice))
    assert len(trust) == 50
