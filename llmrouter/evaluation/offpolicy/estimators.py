"""What another policy would have scored on traffic that was routed by this one.

Only the served target's outcome is known for each request, and the router served the target that it
expected to be best, so plain averages flatter every target. Exploration recorded how likely each
served target was (its propensity); weighting by its inverse corrects for the choice. There are
three estimates, each with a 95% interval:

- IPS, inverse propensity scoring: unbiased, with a wide interval.
- SNIPS, self-normalised: divides by the sum of the weights. A little bias, much less variance.
- DR, doubly robust: a model's prediction, corrected by its weighted errors. Unbiased whatever the
  model, and narrow where the model is good.

A propensity that is missing, 0 or over 1 is an error. An interval from fewer than `ENOUGH`
effective rows is not given: it would be too short. The caller ensures that every target of the new
policy had a chance on every row. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENOUGH = 10.0
"""Effective rows below which no interval is given."""
Z = 1.959964
"""Standard errors on either side of a 95% interval, where the mean is normal."""
SHRINK = 5.0
"""Rows that the wider mean counts for in a narrower one."""


@dataclass(frozen=True, slots=True)
class Logged:
    """Rows of a log: `taken` [n] columns of the targets served, `propensity` [n], `reward` [n].

    `group` [n]: rows of one number (the same request again) are not independent of each other.
    """

    taken: Ints
    propensity: Floats
    reward: Floats
    group: Ints

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be weighted by."""
        shapes = {part.shape for part in (self.taken, self.propensity, self.reward, self.group)}
        if len(shapes) != 1 or self.taken.ndim != 1:
            raise ValueError(f"columns of one length are needed, not {sorted(shapes)}")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():  # False for NaN too
            raise ValueError("a propensity is missing, or not in (0, 1]")
        if not np.isfinite(self.reward).all():
            raise ValueError("a reward is missing or infinite")

    def __len__(self) -> int:
        return len(self.taken)


@dataclass(frozen=True, slots=True)
class Estimated:
    """A mean reward and its 95% interval; NaN where there is too little to say."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy's mean reward, estimated three ways (`dr` None without a model).

    `matched`: rows on which the policy might do what was done; `effective`: how many independent
    rows of one weight they are worth; `heaviest`: the largest weight used; `clipped`: rows whose
    weight was cut to the limit, which biases towards 0 (IPS) or the model (DR).
    """

    ips: Estimated
    snips: Estimated
    dr: Estimated | None
    matched: int
    effective: float
    heaviest: float
    clipped: int


def judge(
    logged: Logged,
    wanted: Floats,
    modelled: Floats | None = None,
    clip: float = math.inf,
    bounds: tuple[float, float] | None = None,
) -> Judged:
    """Judges the policy that takes each of T targets with probability `wanted` [n, T].

    `modelled` [n, T] is what a model expects as reward, which must not have seen the row. `clip` is
    the largest weight; without it none is cut. `bounds` are the least and greatest reward there can
    be (without: there was, on matched rows): an imagined row at either end keeps rows that all say
    the same from looking certain. Raises `ValueError`.
    """
    _check(logged, wanted, modelled, clip)
    rows = np.arange(len(logged))
    full = wanted[rows, logged.taken] / logged.propensity
    weights = np.minimum(full, clip)
    _, group = np.unique(logged.group, return_inverse=True)
    by_group = np.bincount(group, weights=weights)
    total, squares = float(weights.sum()), float(by_group @ by_group)
    effective = total * total / squares if squares > 0 else 0.0
    ips = snips = Estimated(math.nan, math.nan, math.nan)
    dr = None if modelled is None else ips
    if total > 0:
        ends = bounds or _range(logged.reward[weights > 0])
        margin = _Margin(group, effective, squares / total, ends)
        terms = weights * logged.reward
        ips = margin.around(float(terms.mean()), terms - terms.mean())
        ratio = float(terms.sum()) / total
        apart = weights * (logged.reward - ratio)
        snips = margin.around(ratio, apart * (len(logged) / total), len(logged) / total)
        if modelled is not None:
            errors = logged.reward - modelled[rows, logged.taken]
            terms = (wanted * modelled).sum(axis=1) + weights * errors
            dr = margin.around(float(terms.mean()), terms - terms.mean())
    return Judged(
        ips,
        snips,
        dr,
        matched=int(np.count_nonzero(weights)),
        effective=effective,
        heaviest=float(weights.max(initial=0.0)),
        clipped=int(np.count_nonzero(full > clip)),
    )


def means(logged: Logged, kind: Ints, fold: Ints, targets: int) -> Floats:
    """A model for `judge`: mean reward by kind of request and target, [n, targets].

    `kind` [n] numbers the kinds (tasks), `fold` [n] the parts held out in turn: no row's own part
    is in its means. A target's mean within a kind leans on its mean over all, that on the mean of
    everything; a target without any row gets that.
    """
    out = np.zeros((len(logged), targets))
    kinds = int(kind.max(initial=-1)) + 1
    for part in np.unique(fold):
        seen, held_out = fold != part, fold == part
        overall = float(logged.reward[seen].mean()) if seen.any() else 0.5
        taken, reward = logged.taken[seen], logged.reward[seen]
        by_target = _shrunk(taken, reward, np.full(targets, overall))
        cells = kind[seen] * targets + taken
        by_cell = _shrunk(cells, reward, np.tile(by_target, kinds))
        out[held_out] = by_cell.reshape(kinds, targets)[kind[held_out]]
    return out


def _shrunk(cells: Ints, reward: Floats, towards: Floats) -> Floats:
    count = np.bincount(cells, minlength=len(towards))
    total = np.bincount(cells, weights=reward, minlength=len(towards))
    return np.asarray((total + SHRINK * towards) / (count + SHRINK), np.float64)


def _check(logged: Logged, wanted: Floats, modelled: Floats | None, clip: float) -> None:
    rows = len(logged)
    if wanted.ndim != 2 or len(wanted) != rows:
        raise ValueError(f"probabilities [{rows}, T] are needed, not {wanted.shape}")
    if rows and not (
        (wanted >= 0).all() and np.allclose(wanted.sum(axis=1), 1.0) and np.isfinite(wanted).all()
    ):
        raise ValueError("a policy's probabilities are at least 0 and sum to 1 on each row")
    if modelled is not None and (modelled.shape != wanted.shape or not np.isfinite(modelled).all()):
        raise ValueError("a model expects a finite reward of each target on each row")
    if rows and not 0 <= logged.taken.min() <= logged.taken.max() < wanted.shape[1]:
        raise ValueError("a row took a target that the policy does not know")
    if not clip > 0:
        raise ValueError("the largest weight must be above 0")


def _range(reward: Floats) -> tuple[float, float]:
    return float(reward.min()), float(reward.max())


@dataclass(frozen=True, slots=True)
class _Margin:
    """How far an estimate may be off: `typical` is the weight of a matched group."""

    group: Ints
    effective: float
    typical: float
    ends: tuple[float, float]

    def around(self, value: float, apart: Floats, scale: float = 1.0) -> Estimated:
        """The interval of a mean from what each row adds to its error, groups taken together."""
        sums = np.bincount(self.group, weights=apart)
        enough = min(self.effective, float(len(sums)))
        if enough < ENOUGH:
            return Estimated(value, math.nan, math.nan)
        low, high = self.ends
        within = min(max(value, low), high)
        imagined = (self.typical * scale) ** 2 * ((high - within) ** 2 + (within - low) ** 2)
        spread = float(sums @ sums) * len(sums) / (len(sums) - 1) + imagined
        reach = _quantile(enough - 1.0) * math.sqrt(spread) / len(apart)
        return Estimated(value, value - reach, value + reach)


def _quantile(freedom: float) -> float:
    """Student's t at 97.5% (its expansion at the normal): few rows make wide intervals."""
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    return float(Z + first / freedom + second / freedom**2)
