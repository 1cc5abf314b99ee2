"""A chat server without log-probabilities: one opinion as JSON, turned into probabilities.

The model names the cheapest target that will very probably answer well. That says something about
each target: the named one should do, dearer ones more so, cheaper ones less. How much that is worth
for each of them is what calibration finds out. It is the last resort: it reads the whole list and
writes some seventy tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmrouter.domain.features import TASKS
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import Target
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.prompt import in_fixed_order, one_line, render
from llmrouter.judging.protocol import JudgeRequest, signed

MAX_REASON_CHARS: Final = 200
_MAX_NAME_CHARS = 64
_MAX_READ_CHARS = 8000  # an answer has a few dozen tokens; beyond this it is none
_MAX_OBJECTS = 40  # places where an answer may begin
_THOUGHT = compile_pattern(r"^.*</think(?:ing)?>", dot_all=True, ignore_case=True)
_RULES = (
    "\n\nANSWER with one JSON object and nothing else:\n"
    '{"target": "<an id from the list, exactly>", "task": "<task>", "confidence": <0 to 1>, '
    '"reason": "<one short sentence>"}\n'
    "target is the cheapest one that will very probably answer the request well.\n"
    f"task is one of: {', '.join(TASKS)}."
)
ALONE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "good": {"type": "boolean"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["good", "confidence"],
    "additionalProperties": False,
}
CHEAPER, DEARER = 0.35, 0.6
"""How far from the named target's probability a cheaper one falls, and a dearer one rises to 1."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A valid answer. `confidence` is 0..1 as the model put it, `reason` one line."""

    target: str
    task: str
    confidence: float
    reason: str


class Structured:
    """Implements JudgementProtocol."""

    name = "json"

    async def judge(self, request: JudgeRequest, calls: Calls) -> Judgement:
        """One call, or one for each target that was left out before. Raises RouterLLMFailed."""
        targets = in_fixed_order(request.targets)
        if request.known is not None:
            return await self._alone(request, targets, calls)
        prompt = render(request.context, request.view, targets)
        names = [target.id for target in targets]
        messages = [
            {"role": "system", "content": prompt.instructions + _RULES},
            {
                "role": "user",
                "content": f"{prompt.request}\nWhich target should answer this request? Answer "
                "with the JSON object alone.".strip(),
            },
        ]
        answer = await calls.ask(self.name, messages, answer_schema(names))
        opinion = parse(answer.text, names)
        sure = opinion.confidence
        if answer.logprob is not None:
            sure = math.sqrt(sure * math.exp(min(0.0, answer.logprob)))
        found = spread(opinion.target, sure, targets)
        return signed(Judgement(found, opinion.task), self.name, request)

    async def _alone(
        self, request: JudgeRequest, targets: Sequence[Target], calls: Calls
    ) -> Judgement:
        found: dict[str, float] = {}
        for target in targets:
            prompt = render(request.context, request.view, (target,))
            question = (
                f"Would {target.id} answer this request well? Answer with the JSON object alone: "
                '{"good": true or false, "confidence": <0 to 1>}'
            )
            messages = [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": f"{prompt.request}\n{question}".strip()},
            ]
            answer = await calls.ask(self.name, messages, ALONE)
            found[text_key(target)] = _chance_alone(answer.text)
        return signed(Judgement(found), self.name, request)


def _chance_alone(text: str) -> float:
    """The probability in an answer about one target. Raises RouterLLMFailed (`malformed`)."""
    answer = next(_objects(text, "good"), None)
    if answer is None or not isinstance(answer["good"], bool):
        raise RouterLLMFailed("malformed", "no JSON object with `good` in the answer")
    sure = 0.5 + 0.5 * _confidence(answer.get("confidence"))
    return sure if answer["good"] else 1.0 - sure


def spread(named: str, confidence: float, targets: Sequence[Target]) -> dict[str, float]:
    """One opinion as a probability for each target, by text key."""
    sure = 0.5 + 0.5 * confidence
    price = {target.id: target.price.cost(3, 1) for target in targets}

    def chance(target: Target) -> float:
        if target.id == named:
            return sure
        if price[target.id] > price[named]:
            return sure + DEARER * (1.0 - sure)
        return sure * (1.0 - CHEAPER) if price[target.id] < price[named] else sure * 0.9

    return {text_key(target): chance(target) for target in targets}


def answer_schema(names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of an answer: `target` is one of `names`."""
    return {
        "type": "object",
        "properties": {
            "target": {"type": "string", "enum": list(names)},
            "task": {"type": "string", "enum": list(TASKS)},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "reason": {"type": "string", "maxLength": 160},
        },
        "required": ["target", "task", "confidence", "reason"],
        "additionalProperties": False,
    }


def parse(text: str, names: Sequence[str]) -> Opinion:
    """The opinion in an answer. Raises RouterLLMFailed (`malformed` or `unknown_target`).

    A code fence, a model's visible thinking and prose around the object are tolerated; two objects
    that name different targets are not, and nor is a missing or mistyped field. Letter case and
    space around a target's name do not matter, everything else about it does.
    """
    answers = list(_objects(text))
    if not answers:
        raise RouterLLMFailed("malformed", "no JSON object with a target in the answer")
    answer = answers[-1]
    if any(_key(other["target"]) != _key(answer["target"]) for other in answers):
        raise RouterLLMFailed("malformed", "the answer names more than one target")
    target = _named(answer["target"], names)
    task, reason = answer.get("task"), answer.get("reason")
    if not isinstance(task, str) or not isinstance(reason, str):
        raise RouterLLMFailed("malformed", "task and reason must be there, as text")
    task = task.strip().lower().replace(" ", "_").replace("-", "_")
    return Opinion(
        target=target,
        task=task if task in TASKS else "general",
        confidence=_confidence(answer.get("confidence")),
        reason=one_line(reason, MAX_REASON_CHARS),
    )


def _objects(text: str, wanted: str = "target") -> Iterator[dict[str, Any]]:
    """The JSON objects in `text` that have the wanted key, outermost ones only, in order."""
    text = _THOUGHT.sub("", text).strip()
    if len(text) > _MAX_READ_CHARS:
        return
    at = text.find("{")
    for _ in range(_MAX_OBJECTS):
        if at < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict) and wanted in value:
                yield value
        at = text.find("{", end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


# Not strict: some grammars let a line feed or worse into a string as it is; `one_line` removes it.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, strict=False)


def _named(target: object, names: Sequence[str]) -> str:
    if not isinstance(target, str):
        raise RouterLLMFailed("malformed", "target must be text")
    name = target.strip()
    if name in names:
        return name
    alike = [other for other in names if _key(other) == _key(name)]
    if len(alike) != 1:
        shown = one_line(name, _MAX_NAME_CHARS)
        raise RouterLLMFailed("unknown_target", f"{shown!r} is not among the targets")
    return alike[0]


def _key(target: object) -> str:
    return target.strip().casefold() if isinstance(target, str) else ""


def _confidence(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RouterLLMFailed("malformed", "confidence must be a number")
    return float(min(1, max(0, value)))
