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
from collections.abc import Mapping, Sequence
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
    the answer is at least the target. Cuts are tested from the strictest down, each on `least` or
    more observations, by an exact binomial tail. Half of the risk is given to a first cut of twice
    the fewest observations that could pass, half to one of four times as many: a walk goes on
    while cuts pass, one that starts later still stands where an early error stopped the first, and
    where the first got so far its risk is added (the fallback procedure, which keeps the
    family-wise error at `risk`). None: abstain.
    """
    if not 0 < target_agreement < 1 or not 0 < risk < 1:
        raise ValueError("target_agreement and risk are between 0 and 1, both excluded")
    ranked = sorted(observations, key=lambda one: -one.confidence)
    fewest = math.ceil(math.log(risk) / math.log(target_agreement))
    if len(ranked) < max(least, fewest):
        return None
    starts = [n for n in (2 * fewest, 4 * fewest) if n <= len(ranked)] or [len(ranked)]
    starts = sorted({max(n, least) for n in starts if max(n, least) <= len(ranked)})
    share = risk / len(starts)
    cut: float | None = None
    wrong, level, step = 0, 0.0, starts[0]
    for seen, one in enumerate(ranked, start=1):
        wrong += not one.agreed
        tied = seen < len(ranked) and ranked[seen].confidence == one.confidence
        if (seen < step and seen < len(ranked)) or tied:
            continue
        while starts and seen >= starts[0]:
            level += share
            del starts[0]
        if level and binomial_tail(wrong, seen, 1 - target_agreement) <= level:
            cut = one.confidence
        else:
            level = 0.0
            if not starts:
                break
        step = min([seen + max(1, seen // 5), *starts[:1]])
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


RECENT = 40
"""Audited answers that are looked at alone, so that a sudden loss shows before the window turns."""
ALARM = 0.004
"""How unlikely the errors among them must be, at the agreement asked for, to withdraw at once."""
ASKED = 1000
"""Requests over which the share above the cut is counted; at least a tenth must have come."""

YOUNG = 100.0
"""Answers after which every second one is still audited; then fewer and fewer. Without them, what
trust rests on would hardly grow once it is earned, and no looser cut could ever be proved."""


@dataclass(slots=True)
class _Window:
    """One task's observations, oldest first, and what follows from them."""

    held: list[Observation] = field(default_factory=list)
    audits: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    asked: deque[bool] = field(default_factory=lambda: deque(maxlen=ASKED))
    cut: float | None = None
    news: int = 0
    answered: int = 0

    def fair(self) -> list[Observation]:
        """Observations in the proportions of traffic above and below the cut.

        Those above are seen by audits alone, so all observations together would say too little of
        them; the newest of those below are taken, as many as belong to the ones above.
        """
        share = sum(self.asked) / max(len(self.asked), 1)
        if self.cut is None or share == 0 or len(self.asked) * 10 < ASKED:
            return self.held
        bar = self.cut
        sure = [one for one in self.held if one.confidence >= bar]
        rest = [one for one in self.held if one.confidence < bar]
        return sure + rest[max(0, len(rest) - math.ceil(len(sure) * (1 - share) / share)) :]

    def trim(self, size: int) -> None:
        """Keeps the newest `size` above the cut and the newest `size` below it.

        An answered request is seen only when it is audited, the others always: in one common
        window the others would push out the evidence that trust rests on.
        """
        if len(self.held) <= size:
            return
        bar = math.inf if self.cut is None else self.cut
        room = {True: size, False: size}
        kept: list[Observation] = []
        for one in reversed(self.held):
            sure = one.confidence >= bar
            if room[sure]:
                room[sure] -= 1
                kept.append(one)
        self.held = kept[::-1]


@dataclass(slots=True)
class Windows:
    """Rolling held-out windows, one a task, each of the last `size` observations on either side of
    its cut.

    At most `tasks` windows are kept; the one longest without news leaves. What stands above a cut
    was mostly seen before it was trusted: audits renew it slowly, and `RECENT` of them with too
    many errors empty the window at once. `risk` is that of one window's bound. At even odds it
    promises what split-conformal prediction does, the target in expectation and not with high
    probability; over all tasks and refits together agreement stands above it (`loop_replay`).
    """

    target_agreement: float
    size: int = 1000
    risk: float = 0.5
    least: int = 30
    tasks: int = 256
    _windows: dict[str, _Window] = field(default_factory=dict)

    def observe(
        self, task: str | None, confidence: float, agreed: bool, audited: bool = False
    ) -> bool:
        """Adds one held-out outcome to its task's window and to the window of all.

        `audited`: the choice had been answered, and was checked behind the request. True: too many
        such answers were wrong, and the task's window was emptied.
        """
        withdrew = False
        for name in {task or ANY_TASK, ANY_TASK}:
            window = self._windows.pop(name, None) or _Window()
            self._windows[name] = window
            window.held.append(Observation(confidence, agreed))
            window.news += 1
            if audited:
                window.audits.append(agreed)
                if self._lost(window.audits):
                    self._windows[name] = _Window()
                    withdrew = withdrew or name == (task or ANY_TASK)
        while len(self._windows) > self.tasks:
            del self._windows[next(name for name in self._windows if name != ANY_TASK)]
        return withdrew

    def _lost(self, audits: deque[bool]) -> bool:
        right = sum(audits)
        return len(audits) == RECENT and (
            binomial_tail(right, RECENT, self.target_agreement) < ALARM
        )

    def cut(self, task: str | None) -> float | None:
        """The confidence needed for `task` (None: task unknown), or None to abstain."""
        window = self._windows.get(task or ANY_TASK)
        if window is None:
            return None
        if window.news > len(window.held) // 100:
            window.trim(self.size)
            window.cut = threshold(
                window.fair(), self.target_agreement, risk=self.risk, least=self.least
            )
            window.news = 0
        return window.cut

    def trusts(self, task: str | None, confidence: float) -> bool:
        """Whether a choice of this confidence may be answered for `task`; counts it as asked."""
        cut = self.cut(task)
        sure = cut is not None and confidence >= cut
        window = self._windows.get(task or ANY_TASK)
        if window is not None:
            window.asked.append(sure)
            window.answered += sure
        return sure

    def audit_share(self, task: str | None) -> float:
        """The share of trusted answers to audit: near 1 at first, then falling as they grow."""
        window = self._windows.get(task or ANY_TASK)
        return YOUNG / (YOUNG + window.answered) if window is not None else 1.0

    def successor(self) -> Windows:
        """Windows without observations, that know the cuts and the traffic so far.

        For confidences that are computed anew: the cuts say which observations to keep until the
        first new cut.
        """
        fresh = Windows(self.target_agreement, self.size, self.risk, self.least, self.tasks)
        for name, window in self._windows.items():
            fresh._windows[name] = _Window(
                asked=window.asked.copy(), cut=window.cut, answered=window.answered
            )
        return fresh

    def observations(self, task: str | None) -> tuple[Observation, ...]:
        """The window of `task`, oldest first."""
        window = self._windows.get(task or ANY_TASK)
        if window is None:
            return ()
        window.trim(self.size)
        return tuple(window.held)

    def known(self) -> tuple[str, ...]:
        """The tasks that have a window."""
        return tuple(name for name in self._windows if name != ANY_TASK)

    def answered(self) -> dict[str, int]:
        """How many requests were answered for each task since its window exists."""
        return {name: window.answered for name, window in self._windows.items() if window.answered}

    def resume(self, answered: Mapping[str, int]) -> None:
        """Goes on from what `answered` told: trust that is old is not audited as if young."""
        for name, count in answered.items():
            self._windows.setdefault(name, _Window()).answered = count
