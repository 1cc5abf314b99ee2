"""The open System One format: `POST {base}/systemone`, a map of typed questions.

`noul` (a yes or no) a target, a `choice` for the task, a `score` for the difficulty. Servers differ
in what one request may hold: where one complains about its size, the targets are asked in two
halves, and what is asked once a request is dropped first where options or levels are too many. A
question that is missing from the answers is a failure of its own kind. `confidence` is never read:
servers compute it in different ways; probabilities are what can be calibrated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from llmrouter.domain.features import TASKS
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Target
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.prompt import Rendered, described, in_fixed_order, render
from llmrouter.judging.protocol import (
    MASS_FLOOR,
    SCALE,
    JudgeRequest,
    difficulty_of,
    level_question,
    likeliest_task,
    probability,
    signed,
    spread_levels,
    target_question,
    task_question,
    usage_of,
)

PATH: Final = "/systemone"
MAX_BYTES: Final = 64 * 1024
"""Ollama's limit of one request, which truncates nothing; no other server's is lower."""
_TASK, _LEVEL = "task", "difficulty"


class SystemOne:
    """Implements JudgementProtocol. Remembers which servers take no question beside the targets."""

    name = "systemone"

    def __init__(self) -> None:
        self._targets_only: set[tuple[str, str]] = set()

    async def judge(self, request: JudgeRequest, calls: Calls) -> Judgement:
        """One call, or a few where a server's limits are small. Raises RouterLLMFailed."""
        prompt = render(request.context, request.view)
        targets = in_fixed_order(request.targets)
        place = (request.llm.base_url, request.llm.model)
        beside = request.known is None and place not in self._targets_only
        try:
            judgement = await self._ask(request, calls, prompt, targets, beside=beside)
        except RouterLLMFailed as failure:
            if not beside or failure.status not in (400, 413, 422):
                raise
            judgement = await self._ask(request, calls, prompt, targets, beside=False)
            self._targets_only.add(place)  # it was what stood beside the targets
        return signed(judgement, self.name, request)

    async def _ask(
        self,
        request: JudgeRequest,
        calls: Calls,
        prompt: Rendered,
        targets: Sequence[Target],
        *,
        beside: bool,
    ) -> Judgement:
        questions: dict[str, Any] = {
            f"target_{number}": {
                "type": "noul",
                "instructions": target_question(described(target)),
            }
            for number, target in enumerate(targets)
        }
        if beside:
            questions |= _beside_targets()
        body = {
            "model": request.llm.model,
            "state": {"instructions": prompt.instructions, "request": prompt.request},
            "questions": questions,
        }
        size = len(orjson.dumps(body))
        try:
            if size > MAX_BYTES and len(targets) > 1:
                raise RouterLLMFailed("http", f"{size} bytes in one request", status=413)
            answer = await calls.post(self.name, PATH, body, usage_of)
        except RouterLLMFailed as failure:
            if failure.status not in (400, 413, 422) or len(targets) < 2 or beside:
                raise
            half = len(targets) // 2
            first, second = await asyncio.gather(
                self._ask(request, calls, prompt, targets[:half], beside=False),
                self._ask(request, calls, prompt, targets[half:], beside=False),
            )
            return Judgement({**first.probabilities, **second.probabilities})
        return _read(answer, targets, calls, beside=beside)


def _beside_targets() -> dict[str, Any]:
    return {
        _TASK: {
            "type": "choice",
            "instructions": task_question(),
            "criteria": dict.fromkeys(TASKS),
        },
        _LEVEL: {
            "type": "score",
            "instructions": level_question(),
            "criteria": [f"{label}: {meaning}" for label, meaning in SCALE],
        },
    }


def _read(
    answer: Mapping[str, Any], targets: Sequence[Target], calls: Calls, *, beside: bool
) -> Judgement:
    answers = answer.get("answers")
    if not isinstance(answers, dict):
        raise RouterLLMFailed("malformed", "the answer has no map of answers")
    found: dict[str, float] = {}
    masses: list[float] = []
    for number, target in enumerate(targets):
        one = answers.get(f"target_{number}")
        if not isinstance(one, dict) or one.get("noul") is None:
            calls.question_failed("missing")
            continue
        if (mass := one.get("option_mass")) is not None:
            masses.append(probability(mass))
            if masses[-1] < MASS_FLOOR:
                raise RouterLLMFailed("low_mass", f"{masses[-1]:.0%} of it on valid answers")
        found[text_key(target)] = probability(one["noul"])
    if not found:
        raise RouterLLMFailed("missing", "no question about a target was answered")
    levels: tuple[float, ...] = ()
    if beside:
        calls.question_failed("missing", (_TASK not in answers) + (_LEVEL not in answers))
    task = likeliest_task({k: probability(v) for k, v in _map(answers.get(_TASK)).items()})
    rungs = sorted(_map(answers.get(_LEVEL)).items(), key=lambda item: _rung(item[0]))
    if rungs:
        levels = spread_levels([probability(share) for _, share in rungs])
    difficulty = difficulty_of(levels) if levels else None
    return Judgement(found, task, difficulty, levels, min(masses, default=1.0))


def _map(answer: object) -> Mapping[str, Any]:
    found = answer.get("probabilities") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def _rung(name: object) -> float:
    try:
        return float(str(name))
    except ValueError:
        return 0.0
