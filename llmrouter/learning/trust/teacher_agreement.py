"""How often choices agree with the router LLM, and how often the router LLM agrees with itself.

Trust rests on comparing choices with a teacher that is neither always right nor consistent. The
live loop and its replay share two rules:

- **Outcomes outrank names.** A choice agrees where it names the same target, or where graded
  outcomes of this very request say that it was worth no less. A target without a graded answer
  counts as worth nothing, which is held against the choice.
- **A teacher is matched as far as it matches itself.** Asked again with the targets in another
  order, it sometimes names another one. Where names are compared, the agreement asked for is
  `target_agreement` times the share of such second calls that agreed. Where outcomes are compared,
  it is `target_agreement` itself.

The upper end of the share's interval counts, so that with few second calls it is near 1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping

SAME = 0.02
"""Grades that differ by no more are equal; the memory keeps them in steps of 1/254."""
ASKED_AGAIN = 500
"""Second calls that are remembered."""
FEW = 50.0
"""Second calls after which every second further chance is still taken; then fewer and fewer."""
ERRORS = 1.282
"""Standard errors of the upper end: a one-sided 90% interval."""


def agrees(choice: str, named: str, grades: Mapping[str, float]) -> bool:
    """Whether `choice` was worth no less than `named`, as far as `grades` (0..1) of both tell."""
    if choice == named:
        return True
    theirs = grades.get(named)
    return theirs is not None and grades.get(choice, 0.0) >= theirs - SAME


class TeacherConsistency:
    """How often the teacher agrees with itself, over its newest second calls."""

    def __init__(self, told: Iterable[bool] = ()) -> None:
        self._agreed: deque[bool] = deque((bool(one) for one in told), maxlen=ASKED_AGAIN)

    def __len__(self) -> int:
        return len(self._agreed)

    def observe(self, agreed: bool) -> None:
        """One second call."""
        self._agreed.append(agreed)

    def share(self) -> float:
        """The most it may well be, 0..1: the upper end of a Wilson interval; 1 without any."""
        count = len(self._agreed)
        if not count:
            return 1.0
        mean, slack = sum(self._agreed) / count, ERRORS * ERRORS / count
        spread = math.sqrt(slack * (mean * (1 - mean) + slack / 4))
        return min(1.0, (mean + slack / 2 + spread) / (1 + slack))

    def wanted(self) -> float:
        """The share of the teacher's answers to ask for again: 1 at first, then falling."""
        return FEW / (FEW + len(self._agreed))

    def dump(self) -> list[bool]:
        """As plain values, oldest first."""
        return list(self._agreed)
