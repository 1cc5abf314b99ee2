"""How a simulated model judges: typed questions and single letters, answered with probabilities.

It reads what a real one would read: how hard the request looks, and how able the description of a
model sounds. Each answer is a guess with some mass on its neighbours, never a certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from llmrouter.domain.patterns import Match, compile_pattern
from llmrouter.simulator.models import difficulty, known, profile, share
from llmrouter.simulator.roles import STRENGTHS, TASKS, asked, task_of

MODEL = compile_pattern(r"MODEL:\s*([^\s(]+)(.*)", dot_all=True)
LETTERS = compile_pattern(r"Answer with one letter: ([A-Z](?:, [A-Z])+)")
TOP = 0.95
"""The difficulty, or the ability, of the highest rung of a scale."""
VALID = 0.97
SURE = 0.6
"""What falls on the guess itself; the rest goes to what is beside it."""


def decision(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answers of a Decisions request, in the order of its questions."""
    given = document.get("input")
    messages = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    text = str(given) if isinstance(given, str) else asked(messages)[-1]
    answers = []
    for question in document.get("questions") or ():
        named = {"name": question["name"]} if question.get("name") else {}
        about = _text(question.get("instructions"))
        if question["type"] == "predicate":
            answers.append({"type": "predicate", "probability": chance(about, text), **named})
        elif question["type"] == "choice":
            values = [str(choice["value"]) for choice in question["choices"]]
            each = dict(zip(values, _chosen(values, text), strict=True))
            best = max(each, key=each.__getitem__)
            rows = [{"value": value, "probability": p} for value, p in each.items()]
            first = {"choice": best, "confidence": each[best], "probabilities": rows}
            answers.append({"type": "choice", **first, **named})
        else:
            levels = [str(level["label"]) for level in question["levels"]]
            shares = rungs(difficulty(text), len(levels))
            scored = [
                {"value": n, "label": label, "probability": p}
                for n, (label, p) in enumerate(zip(levels, shares, strict=True))
            ]
            mean = sum(n * p for n, p in enumerate(shares))
            first = {"score": mean, "confidence": max(shares), "probabilities": scored}
            answers.append({"type": "score", **first, **named})
    return answers


def systemone(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The answers of a System One request, under the ids of its questions."""
    state = document.get("state")
    shown = state.get("request") if isinstance(state, dict) else None
    text = asked([{"role": "user", "content": shown or _text(state)}])[-1]
    answers: dict[str, dict[str, Any]] = {}
    for name, question in (document.get("questions") or {}).items():
        about, criteria = _text(question.get("instructions")), question.get("criteria")
        if question.get("type") == "noul":
            answers[name] = {"type": "noul", "noul": chance(about, text)}
        elif question.get("type") == "choice" and isinstance(criteria, dict):
            each = dict(zip(criteria, _chosen(list(criteria), text), strict=True))
            best = max(each, key=each.__getitem__)
            beside = {"confidence": each[best], "probabilities": each}
            answers[name] = {"type": "choice", "choice": best, **beside}
        elif question.get("type") == "score" and isinstance(criteria, list):
            shares = rungs(difficulty(text), len(criteria))
            answers[name] = {
                "type": "score",
                "score": sum(n * p for n, p in enumerate(shares)),
                "confidence": max(shares),
                "legend": {str(n): label for n, label in enumerate(criteria)},
                "probabilities": {str(n): p for n, p in enumerate(shares)},
            }
    return answers


def letter(document: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]] | None:
    """The letter and its alternatives where one token over letters is asked for, else None."""
    if not document.get("top_logprobs") or not document.get("logprobs"):
        return None
    messages = [one for one in document["messages"] if isinstance(one, dict)]
    wanted = LETTERS.search(_text(messages[-1].get("content")))
    if wanted is None:
        return None
    letters = wanted[1].split(", ")
    about = _text(messages[-1].get("content"))
    model = MODEL.search(about)
    level = difficulty(asked(messages)[-1]) if model is None else ability(model)
    shares = rungs(level, len(letters))
    tokens = [(one, VALID * p) for one, p in zip(letters, shares, strict=True)]
    tokens.append(("The", 1.0 - VALID))
    top = [
        {"token": token, "logprob": math.log(max(p, 1e-9)), "bytes": list(token.encode())}
        for token, p in sorted(tokens, key=lambda one: -one[1])
    ]
    return str(top[0]["token"]), top[: int(document["top_logprobs"])]


def chance(about: str, text: str) -> float:
    """How likely a statement about a model is true of a request; any other has its own number."""
    model = MODEL.search(about)
    if model is None:
        return share("decision", about, text)
    ahead = ability(model) - difficulty(text)
    return round(1.0 / (1.0 + math.exp(-9.0 * (ahead - 0.05))), 4)


def ability(model: Match) -> float:
    """How able a described model sounds: by its name, else by the words of its description."""
    name, words = model[1], model[2]
    if known(name):
        return profile(name).ability
    return next((value for one, value in STRENGTHS if one.search(words)), profile(name).ability)


def rungs(level: float, count: int) -> list[float]:
    """A distribution over `count` rungs around a level in 0..1."""
    at = min(max(level / TOP, 0.0), 1.0) * (count - 1)
    weights = [math.exp(-1.6 * abs(n - at)) for n in range(count)]
    return [weight / sum(weights) for weight in weights]


def prefix_of(document: Mapping[str, Any]) -> bytes:
    """What is the same for every such request: instructions and questions, before the request."""
    parts: list[Any] = [document.get("model"), document.get("questions")]
    for name in ("input", "messages"):
        turns = document.get(name)
        if isinstance(turns, list):
            parts += [one for one in turns if isinstance(one, dict) and one.get("role") != "user"]
    state = document.get("state")
    if isinstance(state, dict):
        parts.append(state.get("instructions"))
    return orjson.dumps(parts)


def _chosen(values: Sequence[str], text: str) -> list[float]:
    names = {task for task, _ in TASKS}
    guess = task_of(text) if names & set(values) else ""
    if guess not in values:
        return [1.0 / len(values)] * len(values)
    rest = (1.0 - SURE) / max(len(values) - 1, 1)
    return [SURE if value == guess else rest for value in values]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(one.get("text", "")) if isinstance(one, dict) else "" for one in value)
    return value if isinstance(value, str) else str(value or "")
