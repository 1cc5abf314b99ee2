"""Profiles and difficulty."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.simulator.models import difficulty, known, mastery, profile

CATALOG = sorted((Path(__file__).parents[2] / "prompts" / "catalog").glob("*.md"))


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.stem)
def test_every_model_of_the_shipped_catalog_has_a_profile(path: Path) -> None:
    """Both the name sent upstream and the target's id lead to the same profile."""
    model = yaml.safe_load(path.read_text().split("---")[1])["model"]
    assert known(model)
    assert profile(model) == profile(path.stem)


@given(st.text(max_size=40))
def test_any_name_has_a_profile(name: str) -> None:
    """An unknown name always gets the same sensible profile."""
    found = profile(name)
    assert 0 <= found.ability <= 1
    assert found == profile(name)
    assert found.error_rate == 0


@given(st.text(max_size=200))
def test_difficulty_and_mastery_are_shares(text: str) -> None:
    """Both stay within 0..1 whatever the text."""
    assert 0 <= difficulty(text) <= 1
    assert 0 < mastery("gpt-5", text) < 1


def test_hard_words_are_harder() -> None:
    """A proof is harder than a question, a question harder than a translation."""
    easy = difficulty("Translate this sentence to German: the cat sleeps.")
    plain = difficulty("Which river flows through Vienna?")
    hard = difficulty("Prove the theorem and derive the integral; discuss complexity.")
    assert easy < plain < hard
