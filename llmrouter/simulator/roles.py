"""The two small roles a simulated model can play: the router LLM and the judge.

Both read only what a real one would read: the prompt. The router finds each target's entry, its
price and description, and picks the cheapest that its own guess of the difficulty allows. Neither
obeys what the request says about routing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmrouter.simulator.models import difficulty, known, profile, share

ENTRY = 1200  # characters of a target's entry that are read
MARKED = re.compile(r"<(request[\w-]*)>(.*)</\1>", re.DOTALL)
TURN = re.compile(r"<(turn[\w-]*) role=user>\s*(.*?)\s*</\1>", re.DOTALL)
TAGS = re.compile(r"</?[A-Za-z_][^<>]{0,80}>")
PRICE = re.compile(r"(?:price\D{0,12}|\$\s*)(\d+(?:\.\d+)?)", re.IGNORECASE)
GO_ON = 40  # characters: a shorter last turn inherits the difficulty of what it answers
STRENGTHS = (
    (re.compile(r"\b(strongest|flagship|frontier|best model|most capable)\b", re.I), 0.95),
    (re.compile(r"\ba? ?(strong|large|powerful|expert)\b", re.I), 0.88),
    (re.compile(r"\b(middle|medium|capable|balanced|all-rounder)\b", re.I), 0.75),
    (re.compile(r"\b(small|fast|cheap|light|tiny|everyday|simple)\w*", re.I), 0.5),
)
TASKS = (
    ("summarization", ("summar", "tl;dr")),
    ("translation", ("translat",)),
    ("code", ("```", "function", "python", "bug", "def ", "sql")),
    ("math", ("prove", "solve", "equation", "how many", "calculate", "integral")),
    ("classification", ("classify", "choose", "a. ", "a) ")),
    ("extraction", ("extract", "list all", "find all")),
    ("writing", ("write", "rephrase", "poem", "essay")),
    ("chat", ("hello", "hi ", "thanks")),
    ("question_answering", ("?",)),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the prompt says of a target: dollars a million input tokens, and how able it sounds."""

    price: float
    ability: float


def wants_choice(schema: Mapping[str, Any]) -> list[str] | None:
    """The targets a router's schema allows, or None where it is no router's."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get("target"), dict):
        return None
    targets = properties["target"].get("enum")
    return [str(t) for t in targets] if isinstance(targets, list) and targets else None


def wants_score(schema: Mapping[str, Any]) -> bool:
    """Whether the schema is a judge's: a score, perhaps a reason, nothing else."""
    properties = schema.get("properties")
    return (
        isinstance(properties, dict)
        and "score" in properties
        and set(properties)
        <= {
            "score",
            "reason",
        }
    )


def route(schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A router's answer: the cheapest target that the request's difficulty leaves."""
    targets = wants_choice(schema) or []
    prompt = MARKED.sub(" ", "\n".join(_text(m) for m in messages))
    turns = asked(messages)
    latest = turns[-1]
    level = difficulty(latest)
    if len(latest) < GO_ON and len(turns) > 1:
        level = max(level, *(difficulty(turn) for turn in turns[-3:-1]))
    entries = {target: entry_of(target, prompt) for target in targets}
    able = [t for t in targets if entries[t].ability >= level + 0.08]
    if able:
        chosen = min(able, key=lambda t: (entries[t].price, t))
    else:
        chosen = max(targets, key=lambda t: (entries[t].ability, t))
    allowed = schema["properties"].get("task", {}).get("enum")
    task = task_of(latest)
    return {
        "target": chosen,
        "task": task if not allowed or task in allowed else allowed[-1],
        "confidence": round(0.6 + 0.35 * abs(level - 0.5) * 2, 2),
        "reason": f"simulated: difficulty {level:.2f}, cheapest that can do it",
    }


def asked(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The user turns of the request that is to be routed, never empty.

    Between `<request…>` marks where the prompt has them, else all that users said.
    """
    everything = "\n".join(_text(m) for m in messages)
    marked = MARKED.search(everything)
    if marked is not None:
        inside = marked.group(2)
        turns = [TAGS.sub(" ", found.group(2)).strip() for found in TURN.finditer(inside)]
        return turns or [TAGS.sub(" ", inside).strip()]
    said = [TAGS.sub(" ", _text(m)).strip() for m in messages if m.get("role") == "user"]
    return said or [""]


@lru_cache(maxsize=1024)
def entry_of(target: str, prompt: str) -> Entry:
    """What a prompt says of a target.

    Ability comes from a name that has a profile, else from the words of its entry, else from the
    profile that any name has; a target without a price is taken to cost what its ability suggests.
    """
    place = re.search(rf"(?<![\w.-]){re.escape(target)}(?![\w.:-]*[\w-])", prompt)
    text = "" if place is None else prompt[place.end() : place.end() + ENTRY]
    text = re.split(r"\n\s*[-*#] (?:id:|\S+:)", text, maxsplit=1)[0]
    ability = profile(target).ability
    if not known(target):
        ability = next((value for words, value in STRENGTHS if words.search(text)), ability)
    found = PRICE.search(text)
    return Entry(ability if found is None else float(found.group(1)), ability)


def task_of(text: str) -> str:
    """A rough task name."""
    lowered = text.lower()
    for task, words in TASKS:
        if any(word in lowered for word in words):
            return task
    return "general"


def judge(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A judge's answer: an answer that says it is likely wrong is judged so."""
    read = "\n".join(_text(m) for m in messages)
    if "likely wrong" in read:
        return {"score": round(0.1 + 0.2 * share("judge", read), 2), "reason": "simulated: wrong"}
    return {"score": round(0.8 + 0.2 * share("judge", read), 2), "reason": "simulated: sound"}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""
