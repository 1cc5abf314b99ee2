"""The bounded view of a request: what the router LLM gets to read, and how much of it.

A router prompt must cost the same for a one-line question and for a book. The view holds the ends
of a conversation, where difficulty shows, and counts of what lies between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ViewLimits:
    """How much of a request is shown, in characters and turns.

    `last_chars` bounds the newest turn, `turn_chars` each other one of the latest `turns`.
    """

    system_chars: int = 800
    first_chars: int = 1200
    last_chars: int = 4000
    turn_chars: int = 1000
    turns: int = 4


@dataclass(frozen=True, slots=True)
class ViewTurn:
    """One turn as shown. `text` is trimmed in the middle where `left_out` (characters) is not 0.

    `parts` counts what is not text by kind (image_url, …); `calls_tools` marks an assistant turn
    that calls tools.
    """

    role: str
    text: str
    parts: Mapping[str, int] = field(default_factory=dict)
    calls_tools: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """A request, bounded.

    `system` is the gist of the system prompt ("" without one). `first` is the first user turn, or
    None when it is among `latest`, which holds the newest turns in order. `skipped` counts the
    turns between them by role, `tools` the tools offered; `user_turns` and `chars` describe the
    whole conversation.
    """

    system: str
    first: ViewTurn | None
    latest: tuple[ViewTurn, ...]
    skipped: Mapping[str, int]
    user_turns: int
    chars: int
    tools: int = 0

    @property
    def skipped_turns(self) -> int:
        """How many turns are not shown at all."""
        return sum(self.skipped.values())
