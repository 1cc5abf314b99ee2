"""Two weeks of a journal, generated: what a service would have written, a drift included."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

DAY = 86_400.0
NOW = 1_000 * DAY
PRICE = {"small": 2e-5, "large": 9e-4}
TASKS = (("code", "large"), ("summarization", "small"), ("math", "large"), ("chat", "small"))

Quality = Callable[[str, str, float], float]
"""Of a task's target, so many days ago: the share of answers that callers like."""


def steady(task: str, target: str, ago: float) -> float:
    """Nothing changes."""
    return {"code": 0.8, "summarization": 0.9, "math": 0.7, "chat": 0.85}[task]


def sudden(task: str, target: str, ago: float) -> float:
    """Since this morning, code is worse."""
    return 0.35 if task == "code" and ago < 1 else steady(task, target, ago)


def slow(task: str, target: str, ago: float) -> float:
    """Summaries have been getting a little worse every day."""
    worse = 0.03 * max(0.0, 15 - ago) if task == "summarization" else 0.0
    return steady(task, target, ago) - worse


def journal(quality: Quality, *, a_day: int = 200, days: int = 15) -> list[dict[str, Any]]:
    """Entries of `a_day` requests a day, oldest first; two in five are rated."""
    dice = random.Random(11)
    out: list[dict[str, Any]] = []
    for number in range(a_day * days):
        at = NOW - days * DAY + (number + 0.5) * DAY / a_day
        task, target = TASKS[number % len(TASKS)]
        ago = (NOW - at) / DAY
        cost = PRICE[target] * dice.uniform(0.5, 1.5)
        about = {"at": at, "decision_id": f"dec_{number}", "task": task, "target": target}
        asked = number % 3 == 0
        out.append(
            {**about, "kind": "decision", "source": "llm" if asked else "cache",
             "eligible": list(PRICE), "router_usd": 1e-5 if asked else 0.0}
        )  # fmt: skip
        attempts = [{"target": target, "outcome": "ok", "cost_usd": cost}]
        judge = 0.0
        if task == "math":
            first = {"target": "small", "outcome": "rejected", "cost_usd": PRICE["small"]}
            attempts, judge = [first, *attempts] if dice.random() < 0.3 else attempts, 1e-5
        spent = sum(float(str(a["cost_usd"])) for a in attempts) + judge
        out.append({**about, "kind": "outcome", "cost_usd": spent, "attempts": attempts})
        if number % 50 == 0:
            out.append({**about, "kind": "audit", "router_usd": 1e-5, "agreed": True})
        if dice.random() < 0.4:
            liked = dice.random() < quality(task, target, ago)
            out.append({**about, "kind": "feedback", "score": 1.0 if liked else -1.0})
        if number % 4 == 0:
            other = "small" if dice.random() < 0.3 else target
            out.append(
                {**about, "kind": "shadow", "strategy": "rules", "shadow": other,
                 "outcome": "agreed" if other == target else "disagreed",
                 "live_usd": PRICE[target], "shadow_usd": PRICE[other], "live_quality": 0.8,
                 "shadow_quality": 0.8 if other == target else 0.6, "router_usd": 0.0}
            )  # fmt: skip
    return out
