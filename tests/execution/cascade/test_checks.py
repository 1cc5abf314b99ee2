"""Checks of a text: each says what is wrong, or nothing."""

from __future__ import annotations

import pytest

from llmrouter.execution.cascade.checks import CHECKS, agreement, language_of

FENCED = "Here:\n```python\nprint(1)\n```\n"


@pytest.mark.parametrize(
    ("name", "value", "good", "bad"),
    [
        ("regex", r"^\d+$", "12", "twelve"),
        ("exact", ["yes", "no"], " yes\n", "perhaps"),
        ("exact", 4, "4", "5"),
        ("min_chars", 3, "abc", "ab"),
        ("max_chars", 3, "abc", "abcd"),
        ("required_sections", ["Summary", "Risks"], "## Summary\nx\n**Risks**", "## Summary\nx"),
        ("json", True, '{"a": 1}', "{'a': 1}"),
        ("json", True, '```json\n{"a": 1}\n```', '```json\n{"a" 1}\n```'),
        ("code_fence", True, FENCED, "print(1)"),
        ("code_fence", "python", FENCED, "```sql\nselect 1\n```"),
        ("code_fence", True, FENCED, "```python\nprint(1)\n"),
    ],
)
def test_each_check_accepts_and_rejects(name: str, value: object, good: str, bad: str) -> None:
    """One text that passes and one that does not."""
    assert CHECKS[name](good, value) is None
    assert CHECKS[name](bad, value)


def test_a_check_switched_off_accepts() -> None:
    """`json: false` and `code_fence: false` ask for nothing."""
    assert CHECKS["json"]("x", False) is None
    assert CHECKS["code_fence"]("x", False) is None


def test_a_broken_pattern_is_seen() -> None:
    """An operator's mistake is a finding, not an exception."""
    assert "no regular expression" in (CHECKS["regex"]("x", "(") or "")


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (["Four.", "four", "FOUR!"], 1.0),
        (["The answer is 42.", "So: answer: 42", "The answer is 43"], 0.5),
        (["#### 12", "#### 12", "#### 13", "#### 14"], 1 / 3),
        (["yes", "no"], 0.0),
        (["alone"], 1.0),
    ],
)
def test_samples_agree_on_what_they_say(texts: list[str], share: float) -> None:
    """Final answers count where they are marked, else the words."""
    assert agreement(texts) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("This is the answer to the question, and it is not a long one for you.", "en"),
        ("Das ist nicht der Weg, den wir mit dem Auto auf die Straße nehmen und das.", "de"),
        ("Les chats et les chiens sont dans la maison pour une nuit, et pas vous.", "fr"),
        ("Это ответ на ваш вопрос", "ru"),
        ("这是对您的问题的一个回答，谢谢您", "zh"),
        ("これはあなたの質問への回答です", "ja"),
        ("42", None),
        ("print(x) foo bar baz qux quux", None),
    ],
)  # fmt: skip
def test_languages_are_told_or_left_open(text: str, language: str | None) -> None:
    """Unsure is None, never a guess."""
    assert language_of(text) == language
