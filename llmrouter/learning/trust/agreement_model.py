"""The confidence of a choice: the probability that its teacher would agree.

The estimated quality of the best target says little about that. Its lead over the second, the
ensemble's spread and the distance to a graded repeat say more. A small logistic regression over
these facts, fitted on every comparison so far, turns them into one confidence, with an offset for
each task as far as its own comparisons support one. Held-out comparisons give the confidence from
which on it may decide (`abstention_threshold`).

No comparison is scored by a regression that was fitted on it (five-fold cross-fitting), so the
windows stay held out. Numpy alone. A refresh takes a few milliseconds and replaces nothing until it
is done, so it may run in a thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.utility import UtilityChoice
from llmrouter.learning.model.quality_model import Estimates
from llmrouter.learning.trust.abstention_threshold import Windows

Facts = tuple[float, ...]
Matrix = NDArray[np.float64]

NAMES = ("quality", "lead", "doubt", "nearness", "support", "level")
"""What `facts` gives, in its order."""
ENOUGH = 50
"""Comparisons below which the confidence is the estimated quality itself."""
FOLDS = 5
RIDGE = 0.1
LEAN_RIDGE = 1.0


class Comparison(NamedTuple):
    """One choice beside its teacher's: `facts` before it was known, and whether they agreed.

    `named`: only their names could be compared, no outcome of the teacher's was known.
    """

    task: str
    facts: Facts
    agreed: bool
    audited: bool
    key: str = ""  # whose request it was
    named: bool = True


def facts(found: Estimates, choice: UtilityChoice) -> Facts:
    """What a confidence is made of, for the `choice` made from `found`. See `NAMES`.

    `nearness` is 1 where the nearest remembered request has a cosine of 0.9 and 0 below 0.6;
    `support` counts graded near neighbours of the chosen target, at most 3; `level` is the mean
    quality of all candidates: where most would do, few choices are wrong.
    """
    at = choice.index
    near = min(max(found.nearest, 0.0), 1.0)
    return (
        float(found.quality[at]),
        min(choice.margin, 1.0),
        float(found.uncertainty[at]),
        min(max((near - 0.6) / 0.3, 0.0), 1.0),
        float(min(found.support[at], 3.0)),
        float(found.quality.mean()),
    )


@dataclass(slots=True)
class AgreementModel:
    """Windows per task over confidences, and the comparisons behind them (the newest `kept`).

    No caller's requests are more than half of a task's comparisons once others have `ENOUGH` there:
    trust that one caller's traffic earned, or lost, is not everybody's.
    """

    windows: Windows
    kept: int = 4000
    _past: deque[Comparison] = field(default_factory=deque)
    _seen: int = 0
    _weights: tuple[float, ...] = ()
    _leans: dict[str, float] = field(default_factory=dict)
    named: float = 1.0
    """The share of comparisons, at the last refresh, in which only names could be compared."""
    _of_task: Counter[str] = field(default_factory=Counter)
    _of_key: Counter[tuple[str, str]] = field(default_factory=Counter)

    def confidence(self, known: Facts, task: str = "") -> float:
        """The probability that a choice with these facts agrees with its teacher, 0..1."""
        if len(self._weights) != len(known) + 1:
            return min(max(known[0], 0.0), 1.0)
        total = self._weights[0] + self._leans.get(task, 0.0)
        for weight, fact in zip(self._weights[1:], known, strict=True):
            total += weight * fact
        return float(1 / (1 + np.exp(-min(max(total, -30.0), 30.0))))

    def trusts(self, task: str | None, confidence: float, known: Facts = ()) -> bool:
        """Whether a choice of this confidence, which these facts gave, may be answered."""
        return self.windows.trusts(task, confidence, known)

    def observe(self, one: Comparison) -> bool:
        """Adds a comparison; `one.facts` are those of before its answer was known.

        False where its caller has as many as all others already: it is left out.
        """
        mine = self._of_key[one.task, one.key]
        if (
            mine >= max(self._of_task[one.task] - mine, ENOUGH)
            and self._of_task[one.task] - mine >= ENOUGH
        ):
            return False
        self._keep(one)
        self._seen += 1
        if len(self._past) > self.kept:
            self._count(self._past.popleft(), -1)
        sure = self.confidence(one.facts, one.task)
        if self.windows.observe(one.task, sure, one.agreed, one.audited, one.key):
            self._past = deque(past for past in self._past if past.task != one.task)
            self._recount()
        return True

    def _keep(self, one: Comparison) -> None:
        self._past.append(one)
        self._count(one, 1)

    def _count(self, one: Comparison, by: int) -> None:
        self._of_task[one.task] += by
        self._of_key[one.task, one.key] += by

    def _recount(self) -> None:
        self._of_task = Counter(past.task for past in self._past)
        self._of_key = Counter((past.task, past.key) for past in self._past)

    def refresh(self) -> AgreementModel:
        """The same comparisons with the regression fitted again and the windows rebuilt.

        A new object: swap it in whole. Comparisons observed meanwhile are carried by `follow`.
        """
        seen, past = self._seen, list(self._past)
        fresh = AgreementModel(self.windows, self.kept, deque(past), seen)
        fresh._recount()
        fresh.named = sum(one.named for one in past) / len(past) if past else 1.0
        if len(past) >= ENOUGH and len({len(one.facts) for one in past}) == 1:
            known = np.array([one.facts for one in past], np.float64)
            agreed = np.array([one.agreed for one in past], np.float64)
            names, task = np.unique([one.task for one in past], return_inverse=True)
            weights, leans = _fitted(known, agreed, task, len(names))
            fresh._weights = tuple(weights.tolist())
            fresh._leans = dict(zip(names.tolist(), leans.tolist(), strict=True))
            held = np.empty(len(past))
            fold = np.arange(len(past)) % FOLDS
            for number in range(FOLDS):
                out, rest = fold == number, fold != number
                weights, leans = _fitted(known[rest], agreed[rest], task[rest], len(names))
                held[out] = _sigmoid(weights[0] + known[out] @ weights[1:] + leans[task[out]])
            sure: list[float] = held.tolist()
        else:
            sure = [fresh.confidence(one.facts, one.task) for one in past]
        fresh.windows = windows = self.windows.successor(fresh.confidence)
        for one, confidence in zip(past, sure, strict=True):
            windows.observe(one.task, confidence, one.agreed, one.audited, one.key)
        for name in windows.known():
            windows.cut(name)  # computed here, which may be a thread, and not by who asks first
        return fresh

    def follow(self, earlier: AgreementModel) -> None:
        """Takes over what `earlier` observed after this one was made from it."""
        missed = min(earlier._seen - self._seen, len(earlier._past))
        for one in list(earlier._past)[len(earlier._past) - missed :]:
            self.observe(one)

    def __len__(self) -> int:
        return len(self._past)

    def dump(self) -> list[list[object]]:
        """The comparisons as plain values, oldest first."""
        return [[one.task, list(one.facts), *one[2:]] for one in self._past]

    def load(self, stored: Iterable[Iterable[object]]) -> None:
        """Adds comparisons that `dump` gave. Raises `ValueError` or `TypeError` for others."""
        for task, known, agreed, audited, *more in stored:
            if not isinstance(known, list) or len(known) != len(NAMES):
                raise ValueError("a stored comparison has other facts than these")
            told = tuple(float(fact) for fact in known)
            key, named = more if len(more) == 2 else ("", True)
            whose = str(key), bool(named)
            self._keep(Comparison(str(task), told, bool(agreed), bool(audited), *whose))


def _sigmoid(values: Matrix) -> Matrix:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float64)


def _fitted(
    known: Matrix, agreed: Matrix, task: NDArray[np.int64], tasks: int
) -> tuple[Matrix, Matrix]:
    """Bias and slopes for all, and what each task leans to beside them, drawn to none."""
    weights = _logistic(known, agreed)
    logits, leans = weights[0] + known @ weights[1:], np.zeros(tasks)
    for _ in range(8):
        chance = _sigmoid(logits + leans[task])
        slope = np.bincount(task, agreed - chance, tasks) - LEAN_RIDGE * leans
        curve = np.bincount(task, chance * (1 - chance), tasks) + LEAN_RIDGE
        leans = leans + slope / curve
    return weights, leans


def _logistic(known: Matrix, agreed: NDArray[np.float64]) -> Matrix:
    """Bias and slopes of a ridge logistic regression, by Newton steps."""
    inputs = np.concatenate((np.ones((len(known), 1)), known), axis=1)
    penalty = np.full(inputs.shape[1], RIDGE)
    penalty[0] = 1e-6
    weights = np.zeros(inputs.shape[1])
    # One made-up agreement and disagreement keep the bias finite where all agreed.
    inputs = np.concatenate((inputs, np.tile(inputs.mean(axis=0), (2, 1))))
    agreed = np.concatenate((agreed, [0.0, 1.0]))
    for _ in range(12):
        chance = _sigmoid(inputs @ weights)
        spread = chance * (1 - chance) + 1e-9
        slope = inputs.T @ (agreed - chance) - penalty * weights
        curve = (inputs * spread[:, None]).T @ inputs + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -4, 4)
        if float(np.abs(step).max()) < 1e-6:
            break
    return weights
