"""What is judged: texts, not prices; what one judgement adds to another."""

from __future__ import annotations

from dataclasses import replace

from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Price
from tests.fakes import a_target

SMALL = a_target("small")


def test_a_text_key_follows_id_description_and_capabilities_alone() -> None:
    """Prices, limits and white space are no part of what was judged."""
    same = replace(SMALL, price=Price(9, 9), context_window=1, description="  The small   one. ")
    assert text_key(same) == text_key(SMALL)
    others = {
        text_key(replace(SMALL, id="other")),
        text_key(replace(SMALL, description="Another.")),
        text_key(replace(SMALL, capabilities=frozenset({"tools"}))),
    }
    assert len(others) == 3
    assert text_key(SMALL) not in others


def test_missing_are_those_whose_text_was_not_judged() -> None:
    """New targets, and edited ones."""
    known = Judgement({text_key(SMALL): 0.5})
    edited = replace(SMALL, description="Rewritten.")
    assert known.missing([SMALL]) == ()
    assert known.missing([SMALL, edited]) == (edited,)


def test_only_the_same_judge_s_probabilities_join() -> None:
    """Another server's are another scale."""
    one = Judgement({"a": 0.5}, task="code", protocol="chat", model="m")
    assert one.with_more(Judgement({"b": 0.1}, protocol="chat", model="m")).probabilities == {
        "a": 0.5,
        "b": 0.1,
    }
    other = Judgement({"b": 0.1}, protocol="decisions", model="m")
    assert one.with_more(other) == other
