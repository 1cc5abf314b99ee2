"""What is known of a canary: sums of both arms, and what they amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from llmrouter.catalog.canary.sequential_test import (
    Rate,
    Sample,
    crosses,
    difference,
    evidence,
    exceeds,
)

CANARY: Final = "canary"
CURRENT: Final = "current"
ARMS: Final = (CURRENT, CANARY)

GRADE_ALPHA: Final = 0.036
LATE_GRADE_ALPHA: Final = 0.004
OTHER_ALPHA: Final = 0.003
"""How often an unchanged catalog is called "worse": by its grades up to the horizon, by its grades
at any time, and by each of failures, cost and latency. One in twenty in all is 0.05."""
BETTER_ALPHA: Final = 0.05
DEARER: Final = math.log(1.25)
"""A cost or latency that is surely a quarter higher is "worse"."""
CHEAPER: Final = math.log(1.05)
NO_WORSE: Final = 0.05
"""A catalog that costs less is "better" once its grades are surely at most this much lower."""
FEWEST_GRADES: Final = 50
"""Grades of each arm before "no lower" can be said: the bound is asymptotic, and a handful of equal
grades has no variance at all."""
_SMALLEST_USD: Final = 1e-7
_SMALLEST_MS: Final = 1.0


@dataclass(slots=True)
class Arm:
    """Sums of one arm. Costs and latencies are sums of natural logarithms and their squares."""

    requests: float = 0.0
    failed: float = 0.0
    grades: float = 0.0
    graded: float = 0.0
    graded_squares: float = 0.0
    usd: float = 0.0
    ms: float = 0.0
    log_usd: float = 0.0
    log_usd_squares: float = 0.0
    log_ms: float = 0.0
    log_ms_squares: float = 0.0

    def execute(self, ok: bool, usd: float, ms: float) -> None:
        """One execution: whether it was answered, its whole cost, its whole time."""
        cost, time = math.log(max(usd, _SMALLEST_USD)), math.log(max(ms, _SMALLEST_MS))
        self.requests += 1
        self.failed += not ok
        self.usd += usd
        self.ms += ms
        self.log_usd += cost
        self.log_usd_squares += cost * cost
        self.log_ms += time
        self.log_ms_squares += time * time

    def grade(self, value: float) -> None:
        """One grade of an answer, 0 to 1."""
        self.grades += 1
        self.graded += value
        self.graded_squares += value * value

    def add(self, other: Arm) -> None:
        """Take over another worker's sums."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def public(self) -> dict[str, Any]:
        """As JSON-ready values: means, None without any."""
        return {
            "requests": int(self.requests),
            "failed": int(self.failed),
            "graded": int(self.grades),
            "quality": self.graded / self.grades if self.grades else None,
            "usd_per_request": self.usd / self.requests if self.requests else None,
            "latency_ms": self.ms / self.requests if self.requests else None,
        }


SUMS: Final = tuple(part.name for part in fields(Arm))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`worse`, `better` or `not yet known`, and why."""

    verdict: str
    reasons: tuple[str, ...]


def judge(arms: Mapping[str, Arm], share: float) -> Verdict:
    """What the sums say of the canary. Always-valid: it may be asked after every request."""
    current, canary = arms[CURRENT], arms[CANARY]
    worse = _worse(current, canary, share)
    if worse:
        return Verdict("worse", tuple(worse))
    better = _better(current, canary, share)
    return Verdict("better" if better else "not yet known", tuple(better))


def _worse(current: Arm, canary: Arm, share: float) -> list[str]:
    found = []
    if crosses(_graded(current), _graded(canary), share, GRADE_ALPHA, lower=True) or (
        evidence(_grades(current), _grades(canary), share, lower=True) >= 1 / LATE_GRADE_ALPHA
    ):
        found.append(f"grades: {_share(_grades(canary))} against {_share(_grades(current))}")
    if evidence(_answered(current), _answered(canary), share, lower=True) >= 1 / OTHER_ALPHA:
        answered = _share(_answered(canary)), _share(_answered(current))
        found.append(f"answered: {answered[0]} against {answered[1]}")
    for what, pair in (("cost", _usd), ("latency", _ms)):
        if exceeds(pair(current), pair(canary), DEARER, OTHER_ALPHA):
            found.append(f"{what}: {_times(pair(current), pair(canary))}")
    return found


def _better(current: Arm, canary: Arm, share: float) -> list[str]:
    found = []
    if evidence(_grades(current), _grades(canary), share, lower=False) >= 1 / BETTER_ALPHA:
        found.append(f"grades: {_share(_grades(canary))} against {_share(_grades(current))}")
    if min(current.grades, canary.grades) < FEWEST_GRADES:
        return found
    graded = difference(_graded(current), _graded(canary), BETTER_ALPHA)
    if graded is None or graded[0] <= -NO_WORSE:
        return found
    for what, pair in (("cost", _usd), ("latency", _ms)):
        if exceeds(pair(canary), pair(current), CHEAPER, BETTER_ALPHA):
            found.append(f"{what}: {_times(pair(current), pair(canary))}, grades no lower")
    return found


def _grades(arm: Arm) -> Rate:
    return Rate(arm.grades, arm.graded)


def _answered(arm: Arm) -> Rate:
    return Rate(arm.requests, arm.requests - arm.failed)


def _graded(arm: Arm) -> Sample:
    return Sample(arm.grades, arm.graded, arm.graded_squares)


def _usd(arm: Arm) -> Sample:
    return Sample(arm.requests, arm.log_usd, arm.log_usd_squares)


def _ms(arm: Arm) -> Sample:
    return Sample(arm.requests, arm.log_ms, arm.log_ms_squares)


def _share(rate: Rate) -> str:
    return f"{(rate.mean or 0.0) * 100:.1f}% of {rate.count:.0f}"


def _times(current: Sample, canary: Sample) -> str:
    return f"{math.exp(canary.mean - current.mean):.2f} times as much"
