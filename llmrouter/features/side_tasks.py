"""Recognises what coding agents ask for on the side: titles, topics, summaries, suggestions.

Agents send such requests beside the conversation, often more of them than turns. They are told by
the words of their instructions, at the start of the system prompt or of the last user turn. What a
rule does with them is its own business (`when: {side_task: …}` in routing.yaml).
"""

from __future__ import annotations

from typing import Final

from llmrouter.domain.patterns import Pattern, compile_pattern

READ_CHARACTERS: Final = 1500

_SIGNS: Final[tuple[tuple[str, Pattern], ...]] = (
    (
        "compaction",
        compile_pattern(
            r"context checkpoint compaction|detailed summary of (?:the|our) conversation so far|"
            r"tasked with summari[sz]ing conversations|anchored context summari[sz]ation"
        ),
    ),
    ("topic", compile_pattern(r"analy[sz]e if this message indicates a new conversation topic")),
    (
        "title",
        compile_pattern(
            r"you are a title generator|"
            r"\bword title (?:for|that captures)|"
            r"\bgenerate (?:a |an )?(?:short|brief|concise|succinct)[^.\n]{0,40} title\b|"
            r"\b(?:succinct|short|concise) title and (?:git )?branch name|"
            r"\bgenerate a title for this conversation"
        ),
    ),
    (
        "summary",
        compile_pattern(r"summari[sz]e (?:this|the) coding (?:conversation|session)"),
    ),
    ("suggestion", compile_pattern(r"\A\[suggestion mode")),
    ("probe", compile_pattern(r"\A(?:warmup|quota|count)\s*\Z")),
)


def side_task(system: str, text: str) -> str | None:
    """Which of `domain.features.SIDE_TASKS` a request is; None for a turn of a conversation.

    `text` is the last user turn.
    """
    asked = text.lstrip()[:READ_CHARACTERS].lower()
    told = system[:READ_CHARACTERS].lower()
    for name, sign in _SIGNS:
        told_apart = told and name not in ("suggestion", "probe")
        if sign.search(asked) or (told_apart and sign.search(told)):
            return name
    return None
