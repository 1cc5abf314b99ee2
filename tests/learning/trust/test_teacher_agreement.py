"""A choice is as good as the router LLM's by outcome where it is known, else by name."""

import pytest

from llmrouter.learning.trust.teacher_agreement import TeacherConsistency, agrees


@pytest.mark.parametrize(
    ("choice", "grades", "agreed"),
    [
        ("a", {}, True),
        ("b", {}, False),
        ("b", {"a": 0.0}, True),
        ("b", {"a": 1.0}, False),
        ("b", {"a": 1.0, "b": 1.0}, True),
        ("b", {"a": 0.6, "b": 0.5}, False),
        ("b", {"b": 1.0}, False),
        ("a", {"a": 0.0}, True),
    ],
)
def test_outcomes_outrank_names(choice: str, grades: dict[str, float], agreed: bool) -> None:
    """What nobody graded counts as worth nothing, and against the choice."""
    assert agrees(choice, "a", grades) is agreed


def test_a_teacher_is_steady_until_shown_otherwise() -> None:
    """Few second calls say little, so of their share the upper end counts."""
    few, many = (
        TeacherConsistency([True] * 4 + [False]),
        TeacherConsistency([True] * 190 + [False] * 10),
    )
    assert TeacherConsistency().share() == 1.0
    assert few.share() > 0.9
    assert 0.95 < many.share() < 0.98


def test_second_calls_roll() -> None:
    """A router LLM that was replaced is judged by what it does now."""
    steady = TeacherConsistency([False] * 500)
    assert steady.share() < 0.01
    for _ in range(500):
        steady.observe(agreed=True)
    assert steady.share() == pytest.approx(1.0)
    assert (len(steady), steady.dump()) == (500, [True] * 500)
