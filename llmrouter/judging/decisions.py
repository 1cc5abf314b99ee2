"""OpenAI's Decisions: `POST {base}/decisions`, typed questions answered with probabilities.

One request asks everything: a predicate a target, a choice for the task, a score for the
difficulty. The operator's instructions are the developer message and the request is the user's, so
that no text of a user's stands where instructions do. Each question may be refused on its own: a
target whose predicate was refused stays unjudged, and only a request of which nothing was answered
fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmrouter.domain.features import TASKS
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.prompt import described, in_fixed_order, render
from llmrouter.judging.protocol import (
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

PATH: Final = "/decisions"
MAX_QUESTIONS: Final = 400


class Decisions:
    """Implements JudgementProtocol."""

    name = "decisions"

    async def judge(self, request: JudgeRequest, calls: Calls) -> Judgement:
        """One call. Raises RouterLLMFailed."""
        prompt = render(request.context, request.view)
        targets = in_fixed_order(request.targets)[: MAX_QUESTIONS - 2]
        beside = [] if request.known is not None else _beside_targets()
        questions = [
            {
                "type": "predicate",
                "name": f"target_{number}",
                "instructions": target_question(described(target)),
            }
            for number, target in enumerate(targets)
        ]
        body = {
            "model": request.llm.model,
            "input": [
                {"type": "message", "role": "developer", "content": prompt.instructions},
                {"type": "message", "role": "user", "content": prompt.request or "See above."},
            ],
            "questions": [*questions, *beside],
            "prompt_cache_key": f"llmrouter-{request.context.catalog.prompt_version}",
        }
        answer = await calls.post(self.name, PATH, body, usage_of)
        answers = answer.get("answers")
        if not isinstance(answers, list):
            raise RouterLLMFailed("malformed", "the answer has no `answers`")
        if len(answers) != len(questions) + len(beside):
            raise RouterLLMFailed("missing", f"{len(answers)} answers to {len(targets)} targets")
        found: dict[str, float] = {}
        for target, given in zip(targets, answers, strict=False):
            if (one := _answered(given, "predicate")) is None:
                calls.question_failed("refusal")
            else:
                found[text_key(target)] = probability(one.get("probability"))
        if not found:
            raise RouterLLMFailed("refusal", "every question about a target was refused")
        judgement = Judgement(found)
        if beside:
            judgement = Judgement(found, *_about_request(answers[-2:]))
        return signed(judgement, self.name, request)


def _beside_targets() -> list[dict[str, Any]]:
    """What is asked once a request: the task and the difficulty."""
    return [
        {
            "type": "choice",
            "name": "task",
            "instructions": task_question(),
            "choices": [{"value": task} for task in TASKS],
        },
        {
            "type": "score",
            "name": "difficulty",
            "instructions": level_question(),
            "levels": [{"label": label, "description": meaning} for label, meaning in SCALE],
        },
    ]


def _answered(answer: object, kind: str) -> Mapping[str, Any] | None:
    """The answer, or None where the question was refused. Raises RouterLLMFailed."""
    if not isinstance(answer, dict):
        raise RouterLLMFailed("malformed", "an answer is no object")
    if answer.get("type") == "refusal":
        return None
    if answer.get("type") != kind:
        raise RouterLLMFailed("malformed", f"an answer of type {answer.get('type')!r}, not {kind}")
    return answer


def _about_request(answers: list[Any]) -> tuple[str, float | None, tuple[float, ...]]:
    """Task, difficulty and levels; what was refused is not known."""
    task, difficulty = "", None
    levels: tuple[float, ...] = ()
    if (choice := _answered(answers[0], "choice")) is not None:
        task = likeliest_task(
            {str(one.get("value")): probability(one.get("probability")) for one in _rows(choice)}
        )
    if (score := _answered(answers[1], "score")) is not None and (rows := _rows(score)):
        rows.sort(key=lambda one: _value(one.get("value")))
        levels = spread_levels([probability(one.get("probability")) for one in rows])
        difficulty = difficulty_of(levels)
    return task, difficulty, levels


def _rows(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = answer.get("probabilities")
    return [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
