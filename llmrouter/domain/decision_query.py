"""What a caller looks for among past decisions."""

from __future__ import annotations

from dataclasses import dataclass

OUTCOMES = ("ok", "failed", "decided")


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """Filters, all optional, and a page of at most `limit` behind the decision `before`.

    `outcome` is one of OUTCOMES; `text` is looked for in prompts, where they are recorded. `brief`
    asks for rows alone: what a list shows of each, not its whole story.
    """

    limit: int = 50
    before: str | None = None
    target: str | None = None
    source: str | None = None
    task: str | None = None
    key: str | None = None
    outcome: str | None = None
    text: str | None = None
    brief: bool = False
