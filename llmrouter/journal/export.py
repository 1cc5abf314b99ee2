"""Turns journal entries into rows that `llmrouter eval` and `llmrouter train` read.

A row joins the entries of one request: `{"id", "task", "prompt", "outcomes": {target: 0..1},
"costs": {target: USD}}`.

Feedback grades the target that answered and the one that was preferred; a cascade's rejection
grades the rejected attempt 0; the router LLM's choice is a label only where `labels` asks for it. A
decision recorded without prompt text (`LLMROUTER_RECORD_PROMPTS`) gives no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]


@dataclass(slots=True)
class _Story:
    """What the journal knows of one decision."""

    decision: Entry
    said: dict[object, dict[str, float]] = field(default_factory=dict)  # each key's last grades
    rejected: set[str] = field(default_factory=set)
    costs: dict[str, float] = field(default_factory=dict)

    def outcomes(self, labels: bool) -> dict[str, float]:
        found: dict[str, float] = {}
        if labels and self.decision.get("source") == "llm":
            chosen = str(self.decision["target"])
            found = {str(name): float(name == chosen) for name in self.decision["eligible"]}
        found |= dict.fromkeys(self.rejected, 0.0)
        grades: dict[str, list[float]] = {}
        for of_key in self.said.values():
            for target, grade in of_key.items():
                grades.setdefault(target, []).append(grade)
        return found | {target: sum(own) / len(own) for target, own in grades.items()}


def rows(entries: Iterable[Entry], *, labels: bool = False) -> list[dict[str, Any]]:
    """One row a decision with recorded text, in the order of decisions.

    Entries of other kinds, of unknown decisions and with missing keys are passed over: a journal
    is bounded, so its beginning may be cut off. Of one key's feedback the last counts; grades of
    several keys are averaged.
    """
    stories: dict[str, _Story] = {}
    for entry in entries:
        name = str(entry.get("decision_id", ""))
        if entry.get("kind") == "decision" and isinstance(entry.get("prompt"), str):
            stories[name] = _Story(entry)
        elif name in stories:
            _add(stories[name], entry)
    return [
        {
            "id": name,
            "task": story.decision.get("task") or "",
            "prompt": story.decision["prompt"],
            "outcomes": story.outcomes(labels),
            "costs": story.costs,
        }
        for name, story in stories.items()
    ]


def _add(story: _Story, entry: Entry) -> None:
    if entry.get("kind") == "feedback":
        grade = (min(max(float(entry["score"]), -1.0), 1.0) + 1.0) / 2.0
        grades = {str(entry["target"]): grade}
        if entry.get("preferred"):
            grades[str(entry["preferred"])] = 1.0
        story.said[entry.get("key", len(story.said))] = grades
    elif entry.get("kind") == "outcome":
        for attempt in entry.get("attempts", ()):
            target = str(attempt["target"])
            if attempt["outcome"] == "rejected":
                story.rejected.add(target)
            if attempt["outcome"] in ("ok", "rejected"):
                story.costs[target] = float(attempt["cost_usd"])
