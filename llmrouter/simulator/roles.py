"""The two small roles a simulated model can play: the router LLM and the judge.

Both read only what a real one would read: the prompt. The router finds each target's entry, its
price and description, and picks the cheapest that its own guess of the difficulty allows. Neither
obeys what the request says about routing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from llmrouter.domain.patterns import compile_pattern, quoted
from llmrouter.simulator.models import difficulty, known, profile, share

ENTRY = 1200  # characters of a target's entry that are read
OPENINGS = 16  # opening marks that are looked at before a prompt counts as unmarked
REQUEST = compile_pattern(r"<(request[\w-]*)>")
TURN = compile_pattern(r"<(turn[\w-]*) role=user>")
TAGS = compile_pattern(r"</?[A-Za-z_][^<>]{0,80}>")
PRICE = compile_pattern(r"(?:price\D{0,12}|\$\s*)(\d+(?:\.\d+)?)", ignore_case=True)
NEXT_ENTRY = compile_pattern(r"\n\s*[-*#] (?:id:|\S+:)")
MORE_OF_A_NAME = compile_pattern(r"[\w.:-]+")
GO_ON = 40  # characters: a shorter last turn inherits the difficulty of what it answers
STRENGTHS = tuple(
    (compile_pattern(words, ignore_case=True), ability)
    for words, ability in (
        (r"\b(strongest|flagship|frontier|best model|most capable)\b", 0.95),
        (r"\ba? ?(strong|large|powerful|expert)\b", 0.88),
        (r"\b(middle|medium|capable|balanced|all-rounder)\b", 0.75),
        (r"\b(small|fast|cheap|light|tiny|everyday|simple)\w*", 0.5),
    )
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
    prompt = "\n".join(_text(m) for m in messages)
    if (request := _request(prompt)) is not None:
        prompt = f"{prompt[: request[0]]} {prompt[request[1] :]}"
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
    marked = _request(everything)
    if marked is not None:
        inside = everything[marked[0] : marked[1]]
        turns = [TAGS.sub(" ", turn).strip() for turn in _user_turns(inside)]
        return turns or [TAGS.sub(" ", inside).strip()]
    said = [TAGS.sub(" ", _text(m)).strip() for m in messages if m.get("role") == "user"]
    return said or [""]


def _request(text: str) -> tuple[int, int] | None:
    """Where the marked request begins and ends, its marks included."""
    for opened in islice(REQUEST.finditer(text), OPENINGS):
        closing = f"</{opened[1]}>"
        end = text.rfind(closing, opened.end())
        if end >= 0:
            return opened.start(), end + len(closing)
    return None


def _user_turns(text: str) -> Iterator[str]:
    at = 0
    for opened in TURN.finditer(text):
        if opened.start() < at:
            continue
        end = text.find(f"</{opened[1]}>", opened.end())
        if end < 0:
            return
        yield text[opened.end() : end]
        at = end


@lru_cache(maxsize=1024)
def entry_of(target: str, prompt: str) -> Entry:
    """What a prompt says of a target.

    Ability comes from a name that has a profile, else from the words of its entry, else from the
    profile that any name has; a target without a price is taken to cost what its ability suggests.
    """
    place = _place_of(target, prompt)
    text = "" if place is None else prompt[place : place + ENTRY]
    text = NEXT_ENTRY.split(text, maxsplit=1)[0]
    ability = profile(target).ability
    if not known(target):
        ability = next((value for words, value in STRENGTHS if words.search(text)), ability)
    found = PRICE.search(text)
    return Entry(ability if found is None else float(found.group(1)), ability)


def _place_of(target: str, prompt: str) -> int | None:
    """Where the first mention of `target` that is no part of a longer name ends."""
    for found in compile_pattern(rf"(?:^|[^\w.-])({quoted(target)})").finditer(prompt):
        rest = MORE_OF_A_NAME.match(prompt[found.end() : found.end() + ENTRY])
        if rest is None or not rest[0].strip(".:"):
            return found.end()
    return None


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
