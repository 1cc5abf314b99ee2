"""The two small roles a simulated model can play: the router LLM and the judge.

Both read only what a real one would read: the prompt. The router finds targets and prices in the
system message and picks the cheapest that its own guess of the difficulty allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmrouter.simulator.models import difficulty, profile, share

TAGS = re.compile(r"</?[A-Za-z_][^<>]{0,80}>")
TURNS = re.compile(r"<turn-(\w+) role=user[^>]*>\n(.*?)\n</turn-\1>", re.DOTALL)


def wants_choice(schema: Mapping[str, Any]) -> list[str] | None:
    """The targets a router's schema allows, or None where it is no router's."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get("target"), dict):
        return None
    targets = properties["target"].get("enum")
    return [str(t) for t in targets] if isinstance(targets, list) and targets else None


def wants_score(schema: Mapping[str, Any]) -> bool:
    """Whether the schema is a judge's."""
    properties = schema.get("properties")
    return isinstance(properties, dict) and "score" in properties


def route(targets: list[str], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A router's answer."""
    system = "\n".join(_text(m) for m in messages if m.get("role") in {"system", "developer"})
    asked = newest_turn("\n".join(_text(m) for m in messages if m.get("role") == "user"))
    level = difficulty(asked)
    able = [t for t in targets if profile(t).ability >= level + 0.08]
    ranked = sorted(able or targets, key=lambda t: (price(t, system), t))
    chosen = ranked[0] if able else max(targets, key=lambda t: profile(t).ability)
    return {
        "target": chosen,
        "task": task_of(asked),
        "confidence": round(0.6 + 0.35 * abs(level - 0.5) * 2, 2),
        "reason": f"simulated: difficulty {level:.2f}, cheapest that can do it",
    }


def newest_turn(shown: str) -> str:
    """The request's last user turn as the router's prompt marks it; else all that is shown."""
    turns = TURNS.findall(shown)
    return str(turns[-1][1]) if turns else TAGS.sub(" ", shown)


def price(target: str, system: str) -> float:
    """The first price after a target's name in the prompt; else its ability."""
    named = re.compile(rf"(?<![\w.-]){re.escape(target)}(?![\w.-])")
    for place in named.finditer(system):
        found = re.search(
            r"(?:\$|price:?)\s*(\d+(?:\.\d+)?)", system[place.end() : place.end() + 400]
        )
        if found:
            return float(found.group(1))
    return profile(target).ability


def task_of(text: str) -> str:
    """A rough task name."""
    lowered = text.lower()
    for task, words in (
        ("summarization", ("summar", "tl;dr")),
        ("translation", ("translat",)),
        ("code", ("```", "function", "python", "bug", "def ")),
        ("math", ("prove", "solve", "equation", "how many", "calculate")),
        ("classification", ("classify", "choose", "a. ", "a) ")),
    ):
        if any(word in lowered for word in words):
            return task
    return "general"


def judge(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A judge's answer: an answer that says it is likely wrong is judged so."""
    read = "\n".join(_text(m) for m in messages)
    if re.search(r"\[simulated [^\]]*, likely wrong\]", read):
        return {"score": round(0.1 + 0.2 * share("judge", read), 2), "reason": "simulated: wrong"}
    return {"score": round(0.8 + 0.2 * share("judge", read), 2), "reason": "simulated: sound"}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""
