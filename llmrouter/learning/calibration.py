"""Calibrated abstention: how sure must a choice be to agree with its teacher often enough?

Why it exists: the learned stage may answer only where its choice is right with the configured
probability (`target_agreement`). A rolling window of held-out outcomes per task says how sure
that is; learn-then-test with an exact binomial bound keeps the promise on finite samples.

What it refuses: it does no I/O, and it answers None (abstain) where the evidence is too thin. A
task without enough evidence of its own is not judged by other tasks' windows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

ANY_TASK = ""
"""The window of requests whose task is not known."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One held-out choice: `confidence` of the choice, and whether it agreed with the teacher."""

    confidence: float
    agreed: bool


def threshold(
    observations: Sequence[Observation],
    target_agreement: float,
    *,
    risk: float = 0.1,
    least: int = 30,
) -> float | None:
    """The lowest confidence at and above which agreement is at least `target_agreement`.

    With probability 1 - `risk` over the window, agreement on new exchangeable requests at or above
    the answer is at least the target: cuts are tested from the strictest down (each holds `least`
    or more observations), an exact binomial tail below `risk` passes, and the first failure stops
    the walk, so testing many cuts costs nothing (fixed-sequence testing). None: abstain.
    """
    if not 0 < target_agreement < 1 or not 0 < risk < 1:
        raise ValueError("target_agreement and risk are between 0 and 1, both excluded")
    ranked = sorted(observations, key=lambda one: -one.confidence)
    needed = max(least, math.ceil(math.log(risk) / math.log(target_agreement)))
    cut: float | None = None
    wrong = 0
    step = needed
    for seen, one in enumerate(ranked, start=1):
        wrong += not one.agreed
        tied = seen < len(ranked) and ranked[seen].confidence == one.confidence
        if seen < step or tied:
            continue
        if binomial_tail(wrong, seen, 1 - target_agreement) > risk:
            break
        cut = one.confidence
        step = seen + max(1, needed // 4)
    return cut


def binomial_tail(wrong: int, seen: int, rate: float) -> float:
    """P(at most `wrong` errors in `seen`) when errors happen at `rate`: the p-value of a cut."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 1.0 if wrong >= seen else 0.0
    odds = math.log(rate / (1 - rate))
    term = seen * math.log1p(-rate)
    total = math.exp(term)
    for errors in range(1, wrong + 1):
        term += math.log((seen - errors + 1) / errors) + odds
        total += math.exp(term)
    return min(total, 1.0)


@dataclass(slots=True)
class Windows:
    """Rolling held-out windows, one a task, each of the last `size` observations.

    At most `tasks` windows are kept; the one longest without news leaves.
    """

    target_agreement: float
    size: int = 1000
    risk: float = 0.1
    least: int = 30
    tasks: int = 256
    _windows: dict[str, deque[Observation]] = field(default_factory=dict)
    _cuts: dict[str, float | None] = field(default_factory=dict)

    def observe(self, task: str | None, confidence: float, agreed: bool) -> None:
        """Adds one held-out outcome to its task's window and to the window of all."""
        for name in {task or ANY_TASK, ANY_TASK}:
            window = self._windows.pop(name, None) or deque(maxlen=self.size)
            window.append(Observation(confidence, agreed))
            self._windows[name] = window
            self._cuts.pop(name, None)
        while len(self._windows) > self.tasks:
            oldest = next(name for name in self._windows if name != ANY_TASK)
            del self._windows[oldest]
            self._cuts.pop(oldest, None)

    def cut(self, task: str | None) -> float | None:
        """The confidence needed for `task` (None: task unknown), or None to abstain."""
        name = task or ANY_TASK
        if name not in self._cuts:
            window = self._windows.get(name, ())
            self._cuts[name] = threshold(
                tuple(window), self.target_agreement, risk=self.risk, least=self.least
            )
        return self._cuts[name]

    def trusts(self, task: str | None, confidence: float) -> bool:
        """Whether a choice of this confidence may be answered for `task`."""
        cut = self.cut(task)
        return cut is not None and confidence >= cut

    def observations(self, task: str | None) -> tuple[Observation, ...]:
        """The window of `task`, oldest first."""
        return tuple(self._windows.get(task or ANY_TASK, ()))

    def known(self) -> tuple[str, ...]:
        """The tasks that have a window."""
        return tuple(name for name in self._windows if name != ANY_TASK)

    def forget(self, task: str | None) -> None:
        """Drops a task's window: trust has to be earned again."""
        name = task or ANY_TASK
        self._windows.pop(name, None)
        self._cuts.pop(name, None)
