"""One interface for every way of asking a router LLM, and what the ways have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Usage
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.features import TASKS
from llmrouter.domain.judgement import LEVELS, Judgement
from llmrouter.domain.prompt_view import View
from llmrouter.domain.target import Target
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls

MASS_FLOOR: Final = 0.05
"""Share of probability on valid answers below which an answer says nothing. A tiny model puts a
tenth of it there and still orders requests; less than this is noise."""
SCALE: Final = (
    ("trivial", "any model does it: a greeting, a fixed phrase, a fact everybody knows"),
    ("easy", "a small model does it: a short rewrite, a plain question, a label, an extraction"),
    ("medium", "a capable model does it: ordinary code or maths, an analysis of one text"),
    ("hard", "a strong model is needed: several steps that must all be right, expert judgement"),
    ("hardest", "only the best will do: a proof, a whole system, research, high stakes"),
)
"""The rungs of the scale of difficulty, easiest first: name and meaning."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What is to be judged: a request as it may be shown, and the targets to judge it for.

    `known` is an earlier judgement of the same request that lacks these targets.
    """

    context: RoutingContext
    llm: RouterLLM
    view: View
    targets: tuple[Target, ...]
    known: Judgement | None = None


class JudgementProtocol(Protocol):
    """One way of asking a router LLM."""

    name: str

    async def judge(self, request: JudgeRequest, calls: Calls) -> Judgement:
        """A judgement of every target that the server judged. Raises RouterLLMFailed."""
        ...


def not_spoken(failure: RouterLLMFailed) -> bool:
    """Whether a failure says that the path or the shape of the request is unknown there."""
    return failure.status in (400, 404, 405, 415, 422, 501)


def probability(value: object) -> float:
    """A probability in an answer, kept in 0..1. Raises RouterLLMFailed (`malformed`)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RouterLLMFailed("malformed", "a probability is no number")
    return min(1.0, max(0.0, float(value)))


def shares(values: Sequence[float]) -> tuple[float, ...]:
    """Probabilities that sum to 1. Raises RouterLLMFailed (`malformed`) where all are 0."""
    total = sum(values)
    if total <= 0:
        raise RouterLLMFailed("malformed", "every option has probability 0")
    return tuple(value / total for value in values)


def difficulty_of(levels: Sequence[float]) -> float:
    """0..1: the mean rung of a distribution over the scale."""
    return sum(rung * share for rung, share in enumerate(levels)) / (len(levels) - 1)


def level_question() -> str:
    """The question about difficulty, where the rungs are given apart."""
    return "How able must a model be to answer the request well?"


def task_question() -> str:
    """The question about the kind of work."""
    return "What kind of work does the request ask for?"


def target_question(text: str) -> str:
    """The statement about one target whose probability is asked."""
    return (
        "The model described next would answer the request well: correct, complete, and as asked."
        f"\nMODEL: {text}"
    )


def spread_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """A distribution over another number of rungs as one over LEVELS, easiest first."""
    if len(levels) == LEVELS:
        return shares(levels)
    out = [0.0] * LEVELS
    for rung, share in enumerate(shares(levels)):
        out[round(rung * (LEVELS - 1) / max(len(levels) - 1, 1))] += share
    return tuple(out)


def likeliest_task(shares_of: Mapping[str, float]) -> str:
    """The likeliest of the tasks that are told apart; "" where none is known."""
    known = {task: share for task, share in shares_of.items() if task in TASKS}
    return max(known, key=known.__getitem__) if known else ""


def signed(judgement: Judgement, name: str, request: JudgeRequest) -> Judgement:
    """The judgement with who judged."""
    return replace(judgement, protocol=name, model=request.llm.model)


def usage_of(document: Mapping[str, Any]) -> Usage:
    """Tokens in the `usage` of a decision or System One answer; zeros where it has none."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(
        _count(usage.get("input_tokens")),
        _count(usage.get("output_tokens")),
        cached_tokens=_count(cached),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
