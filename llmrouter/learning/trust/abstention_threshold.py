"""Calibrated abstention: the confidence from which a choice agrees with its teacher often enough.

The learned stage may decide only where its choice is right with the configured probability
(`target_agreement`). Two things are known per task: the confidences of the newest requests,
compared or not, which describe today's traffic; and a rolling window of held-out comparisons, few
of which are of confident choices, because those are seen by audits alone. The confidences predict
the agreement on the traffic, and the comparisons correct that prediction (the estimator of
prediction-powered inference). So neither old traffic nor the selection of compared requests biases
it.

The result is None (abstain) where the evidence is too thin. A task without enough evidence of its
own is not judged by the windows of other tasks.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

ANY_TASK = ""
"""The window of requests whose task is not known."""


class Asked(NamedTuple):
    """One request as it came: the `confidence` of its choice, and the `facts` that follow from."""

    confidence: float
    facts: tuple[float, ...] = ()


class Observation(NamedTuple):
    """One held-out choice: `confidence` of the choice, and whether it agreed with the teacher."""

    confidence: float
    agreed: bool


def threshold(
    held: Sequence[Observation],
    target_agreement: float,
    traffic: Sequence[float] = (),
    *,
    risk: float = 0.1,
    least: int = 30,
) -> float | None:
    """The lowest confidence at and above which `traffic` agrees at least `target_agreement`.

    `traffic` are confidences of requests as they come (none: those of `held`). Above a cut their
    mean is the agreement to expect, and the mean of (agreed - confidence) over the `held` choices
    above it, `least` or more, is what that is off by. Their sum is taken at the lower end of a
    one-sided normal interval that misses with probability `risk`, as wide as agreement at the
    target makes it. Cuts are tried at each confidence of the traffic, and at the highest one that
    has `least` held choices above it. None: abstain.
    """
    if not 0 < target_agreement < 1 or not 0 < risk < 1:
        raise ValueError("target_agreement and risk are between 0 and 1, both excluded")
    if len(held) < least:
        return None
    sure, agreed = (np.array(column, np.float64) for column in zip(*held, strict=True))
    order = np.argsort(-sure)
    sure, agreed = sure[order], agreed[order]
    asked = -np.sort(-np.array(traffic, np.float64)) if traffic else sure
    cuts = -np.unique(-np.append(asked, sure[least - 1]))
    share = np.searchsorted(-asked, -cuts, side="right")
    total = np.concatenate(([0.0], np.add.accumulate(asked)))
    expected = total[share] / np.maximum(share, 1)
    above = np.searchsorted(-sure, -cuts, side="right")
    off = np.concatenate(([0.0], np.add.accumulate(agreed - sure)))
    count = np.maximum(above, 1)
    spread = math.sqrt(target_agreement * (1 - target_agreement))
    slack = NormalDist().inv_cdf(1 - risk) * spread / np.sqrt(count)
    passing = (expected + off[above] / count - slack >= target_agreement) & (above >= least)
    passing &= share > 0
    at = np.flatnonzero(passing)
    return float(cuts[at[-1]]) if len(at) else None


def binomial_tail(wrong: int, seen: int, rate: float) -> float:
    """P(at most `wrong` errors in `seen`) when errors happen at `rate`."""
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
OTHERS = RECENT // 4
"""Audits of other callers from which on one caller's alone are no alarm."""
ALARM = 0.004
"""How unlikely the errors among them must be, at the agreement asked for, to withdraw at once."""
TRAFFIC = 200
"""Newest requests of a task that stand for its traffic."""

YOUNG = 100.0
"""Answers after which every second one is still audited; then fewer and fewer. Without them, what
trust rests on would hardly grow once it is earned, and no looser cut could ever be proved."""


@dataclass(slots=True)
class _Window:
    """One task's observations, oldest first, and what follows from them."""

    held: list[Observation] = field(default_factory=list)
    audits: list[tuple[str, bool]] = field(default_factory=list)
    asked: deque[Asked] = field(default_factory=lambda: deque(maxlen=TRAFFIC))
    cut: float | None = None
    news: int = 0
    answered: int = 0

    def audit(self, key: str, agreed: bool) -> None:
        """Adds an audit; one caller's never push out the others' newest half of them."""
        self.audits.append((key, agreed))
        if len(self.audits) > RECENT:
            others = sum(whose != key for whose, _ in self.audits)
            mine = others <= RECENT // 2
            oldest = next(n for n, (whose, _) in enumerate(self.audits) if whose == key or not mine)
            del self.audits[oldest]

    def lost(self, agreement: float) -> bool:
        """Whether the audits say that agreement is below, also without the worst caller's."""
        if len(self.audits) < RECENT:
            return False
        wrong = Counter(whose for whose, agreed in self.audits if not agreed)
        worst = max(wrong, key=wrong.__getitem__, default="")
        every = [agreed for _, agreed in self.audits]
        others = [agreed for whose, agreed in self.audits if whose != worst]
        parts = (every, others) if len(others) >= OTHERS else (every,)
        return all(binomial_tail(sum(one), len(one), agreement) < ALARM for one in parts)

    def traffic(self) -> Sequence[float]:
        """How sure requests are, once half of `TRAFFIC` have come."""
        return [one.confidence for one in self.asked] if len(self.asked) * 2 >= TRAFFIC else ()

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
    many errors empty the window at once. `risk` is that of one window's bound, see `threshold`.
    """

    target_agreement: float
    size: int = 1000
    risk: float = 0.2
    least: int = 30
    tasks: int = 256
    _windows: dict[str, _Window] = field(default_factory=dict)

    def observe(
        self,
        task: str | None,
        confidence: float,
        agreed: bool,
        audited: bool = False,
        key: str = "",
    ) -> bool:
        """Adds one held-out outcome to its task's window and to the window of all.

        `audited`: the choice had been answered, and was checked behind the request of the caller
        `key`. True: too many such answers were wrong, and the task's window was emptied.
        """
        withdrew, one = False, Observation(confidence, agreed)
        for name in {task or ANY_TASK, ANY_TASK}:
            window = self._windows.pop(name, None) or _Window()
            self._windows[name] = window
            window.held.append(one)
            window.news += 1
            if audited:
                window.audit(key, agreed)
                if window.lost(self.target_agreement):
                    self._windows[name] = _Window()
                    withdrew = withdrew or name == (task or ANY_TASK)
        while len(self._windows) > self.tasks:
            del self._windows[next(name for name in self._windows if name != ANY_TASK)]
        return withdrew

    def cut(self, task: str | None) -> float | None:
        """The confidence needed for `task` (None: task unknown), or None to abstain."""
        window = self._windows.get(task or ANY_TASK)
        if window is None:
            return None
        if window.news > len(window.held) // 100:
            window.trim(self.size)
            window.cut = threshold(
                window.held,
                self.target_agreement,
                window.traffic(),
                risk=self.risk,
                least=self.least,
            )
            window.news = 0
        return window.cut

    def trusts(self, task: str | None, confidence: float, facts: tuple[float, ...] = ()) -> bool:
        """Whether a choice of this confidence may be answered for `task`; counts it as asked.

        `facts` are what the confidence was computed from, so that it can be computed anew.
        """
        cut = self.cut(task)
        sure = cut is not None and confidence >= cut
        window = self._windows.get(task or ANY_TASK)
        if window is not None:
            window.asked.append(Asked(confidence, facts))
            window.answered += sure
        return sure

    def audit_share(self, task: str | None) -> float:
        """The share of trusted answers to audit: near 1 at first, then falling as they grow."""
        window = self._windows.get(task or ANY_TASK)
        return YOUNG / (YOUNG + window.answered) if window is not None else 1.0

    def successor(
        self, confidence: Callable[[tuple[float, ...], str], float] | None = None
    ) -> Windows:
        """Windows without observations, that know the cuts and the traffic so far.

        For confidences that are computed anew, by `confidence` from facts and a task: the traffic's
        are too, for both must be on one scale. The cuts say which observations to keep until the
        first new cut. May run in a thread while requests come.
        """
        fresh = Windows(self.target_agreement, self.size, self.risk, self.least, self.tasks)
        for name, window in list(self._windows.items()):
            asked = window.asked.copy()
            if confidence is not None:
                for at, one in enumerate(asked):
                    if one.facts:
                        asked[at] = Asked(confidence(one.facts, name), one.facts)
            fresh._windows[name] = _Window(asked=asked, cut=window.cut, answered=window.answered)
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

    def audited(self, task: str) -> tuple[int, int]:
        """How many of the newest answers for `task` were audited, and how many of them agreed."""
        window = self._windows.get(task)
        audits = window.audits if window is not None else []
        return len(audits), sum(agreed for _, agreed in audits)

    def answered(self) -> dict[str, int]:
        """How many requests were answered for each task since its window exists."""
        return {name: window.answered for name, window in self._windows.items() if window.answered}

    def resume(self, answered: Mapping[str, int]) -> None:
        """Goes on from what `answered` told: trust that is old is not audited as if young."""
        for name, count in answered.items():
            self._windows.setdefault(name, _Window()).answered = count
