"""Labels from an execution: how each attempt grades its target, and with what weight.

A cascade's verification is an outcome. A rejected attempt grades its target low for this request, a
verified and accepted one grades it high. The operator's own check weighs most, then a judge, then a
format that holds, and the answer's own confidence least. An answer without verification gives no
label, and neither does a failed or cancelled attempt: that is a matter of health.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmrouter.domain.completion import Attempt, Completion

REJECTED = {
    "check": 1.0,
    "judge": 0.8,
    "refusal": 0.7,
    "schema": 0.7,
    "samples": 0.5,
    "margin": 0.3,
    "confidence": 0.3,
}
ACCEPTED = {"check": 0.9, "judge": 0.8, "samples": 0.4, "schema": 0.3}
"""By the signals of `Attempt.signals`. What an accepted answer only did not trip over is worth less
than what a rejected one did; its own confidence is no sign of success at all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One target's grade (0..1) for one request, worth `weight` in (0, 1]."""

    target: str
    grade: float
    weight: float


def outcomes(completion: Completion) -> list[Outcome]:
    """What is known of each target that was tried; of several signs of one the weightiest."""
    found: dict[str, Outcome] = {}
    for attempt in completion.attempts:
        one = _outcome(attempt)
        if one is not None and one.weight > found.get(one.target, _NOTHING).weight:
            found[one.target] = one
    return list(found.values())


_NOTHING = Outcome("", 0.0, 0.0)


def _outcome(attempt: Attempt) -> Outcome | None:
    worth = {"rejected": REJECTED, "ok": ACCEPTED}.get(attempt.outcome, {})
    weight = max((worth.get(signal, 0.0) for signal in attempt.signals), default=0.0)
    grade = 1.0 if attempt.outcome == "ok" else 0.0
    return Outcome(attempt.target, grade, weight) if weight > 0 else None
