"""The simulated judging model: able descriptions and easy requests go together."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.simulator.judging import chance, decision, letter, prefix_of, rungs, systemone

EASY = "Translate 'good morning' to French."
HARD = "Prove the theorem, derive the integral, and analyse the asymptotic complexity."
STRONG = "It answers well.\nMODEL: alpha (can: text only)\nThe strongest model here."
SMALL = "It answers well.\nMODEL: beta (can: text only)\nA small, fast model."


def test_strong_models_and_easy_requests_are_likelier_to_go_well() -> None:
    """The one thing a demonstration needs to show."""
    assert chance(STRONG, HARD) > chance(SMALL, HARD)
    assert chance(SMALL, EASY) > chance(SMALL, HARD)


@pytest.mark.parametrize("count", [2, 5, 10])
def test_rungs_are_a_distribution_that_follows_the_level(count: int) -> None:
    """It sums to one, and its mean grows."""
    means = []
    for level in (0.0, 0.5, 0.95):
        shares = rungs(level, count)
        assert sum(shares) == pytest.approx(1.0)
        means.append(sum(n * share for n, share in enumerate(shares)))
    assert means == sorted(means)


def test_both_formats_of_typed_questions_agree() -> None:
    """The same statement about the same request has the same probability."""
    one = decision(
        {
            "input": [{"role": "user", "content": HARD}],
            "questions": [{"type": "predicate", "instructions": STRONG}],
        }
    )
    other = systemone({"state": HARD, "questions": {"q": {"type": "noul", "instructions": STRONG}}})
    assert one[0]["probability"] == other["q"]["noul"]


def test_a_letter_is_answered_with_its_alternatives() -> None:
    """As log-probabilities, with a little mass on something else; other requests are not meant."""
    document: dict[str, Any] = {
        "messages": [{"role": "user", "content": f"{HARD} Answer with one letter: A, B, C, D, E."}],
        "logprobs": True,
        "top_logprobs": 20,
    }
    answered = letter(document)
    assert answered is not None
    text, top = answered
    assert text in "DE"
    assert {one["token"] for one in top} == {*"ABCDE", "The"}
    assert letter({**document, "top_logprobs": None}) is None
    assert letter({**document, "messages": [{"role": "user", "content": HARD}]}) is None


def test_requests_that_differ_in_the_request_alone_share_a_prefix() -> None:
    """What a prefix cache would keep."""
    system = {"role": "system", "content": "Judge."}
    one, other = (
        prefix_of({"messages": [system, {"role": "user", "content": text}]})
        for text in (EASY, HARD)
    )
    assert one == other
