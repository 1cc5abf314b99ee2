"""What coding agents ask for on the side, told by their own words."""

from __future__ import annotations

import pytest

from llmrouter.features.side_tasks import side_task


@pytest.mark.parametrize(
    ("system", "text", "name"),
    [
        ("You are a title generator. You output ONLY a thread title.", "Fix it", "title"),
        ("Generate a concise, sentence-case title (3-7 words) that …", "Fix it", "title"),
        ("You are coming up with a succinct title and git branch name for …", "Fix it", "title"),
        ("", "Please write a 5-10 word title for the following conversation:", "title"),
        ("Analyze if this message indicates a new conversation topic.", "Fix it", "topic"),
        ("Summarize this coding conversation in under 50 characters.", "…", "summary"),
        ("", "[SUGGESTION MODE: suggest what the user might type next]", "suggestion"),
        ("", "quota", "probe"),
        ("", "Warmup", "probe"),
        ("", "Your task is to create a detailed summary of the conversation so far", "compaction"),
        ("You are performing a CONTEXT CHECKPOINT COMPACTION.", "…", "compaction"),
        ("You are Claude Code.", "Why does the title of the page not change?", None),
        ("You are a helpful assistant.", "What is my quota?", None),
        ("Suggestion mode is off.", "Write a short story with the title Summer.", None),
    ],
)
def test_side_tasks_are_told_from_turns(system: str, text: str, name: str | None) -> None:
    """The instructions decide; a turn that merely speaks of titles is a turn."""
    assert side_task(system, text) == name
