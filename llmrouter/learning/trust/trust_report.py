"""What trust in learned answers rests on, task by task, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmrouter.learning.trust.abstention_threshold import Observation, Windows

BINS: Final = 10


def trust_report(windows: Windows) -> dict[str, Any]:
    """By task: the `threshold` of confidence (None: it abstains), the `comparisons` with the router
    LLM and the share that `agreed` (also of those above the threshold), requests `answered`, the
    share that is audited, and the newest audits; and the `curve` over all tasks, bins of
    [mean confidence, share that agreed, comparisons].
    """
    tasks = {}
    held: list[Observation] = []
    for task in sorted(windows.known()):
        seen, cut = windows.observations(task), windows.cut(task)
        held += seen
        above = [one for one in seen if cut is not None and one.confidence >= cut]
        audited, agreed = windows.audited(task)
        tasks[task] = {
            "threshold": cut,
            "comparisons": len(seen),
            "agreed": _share(seen),
            "agreed_above": _share(above),
            "answered": windows.answered().get(task, 0),
            "audit_share": windows.audit_share(task),
            "audits": audited,
            "audits_agreed": agreed,
        }
    return {
        "target_agreement": windows.target_agreement,
        "tasks": tasks,
        "curve": _curve(held),
    }


def _share(seen: Sequence[Observation]) -> float | None:
    return sum(one.agreed for one in seen) / len(seen) if seen else None


def _curve(held: Sequence[Observation]) -> list[tuple[float, float, int]]:
    bins: list[list[Observation]] = [[] for _ in range(BINS)]
    for one in held:
        bins[min(int(one.confidence * BINS), BINS - 1)].append(one)
    curve = []
    for seen in filter(None, bins):
        count = len(seen)
        confidence = sum(one.confidence for one in seen) / count
        curve.append((confidence, sum(one.agreed for one in seen) / count, count))
    return curve
