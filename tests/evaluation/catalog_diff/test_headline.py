"""The first line of a report on an edit."""

from __future__ import annotations

from llmrouter.evaluation.catalog_diff.headline import Figures, Unknown, headline


def test_it_says_targets_cost_and_what_is_not_known() -> None:
    """In one line, the commonest moves by name."""
    moves = [("small", "large", 8), ("large", "small", 3), ("a", "b", 2), ("b", "a", 1)]
    figures = Figures(1000, moves, 5, 2.0, 2.5)
    assert headline(figures, Unknown(10, 20, 400, 0)) == (
        "14 of 1000 recorded requests change target (8 small → large, 3 large → small, 2 a → b, "
        "…), 5 would be refused, estimated cost $2.0000 → $2.5000 (+25.0%). Not known: what the "
        "router LLM would say of 30; what words would decide in 400 recorded without text; "
        "whether the answers get better or worse."
    )


def test_an_edit_that_moves_nothing_says_so() -> None:
    """And what could not be replayed in time is counted."""
    assert headline(Figures(10, [], 0, 1.0, 1.0), Unknown(left_out=990)) == (
        "0 of 10 recorded requests change target, estimated cost unchanged at $1.0000. Not known: "
        "990 that were not replayed in time; whether the answers get better or worse."
    )


def test_nothing_is_claimed_of_nothing() -> None:
    """Without recorded requests there is nothing to try an edit on."""
    assert headline(Figures(0, [], 0, 0.0, 0.0), Unknown()).startswith("No request is recorded")
