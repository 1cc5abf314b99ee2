"""Estimates for a target without any graded request, such as one that was just added.

The target's catalog file says what it costs, what it can do and, in words, what it is good at. The
new target is expected to do on each request what similar known targets do there (similar in
description, price and capabilities), shifted by what a difference in price has been worth among
them. Both parts shrink towards the mean of all targets, because descriptions promise more than
records show. The uncertainty stays high until grades come.

Targets with a record, and targets that left the catalog, take no part. Without a known target in
the catalog there is no estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmrouter.domain.target import Target
from llmrouter.learning.encoders.hashed_features import Floats, measure

ALIKE = 6.0
"""How much likelier a model a target with the same description is than one with no word shared."""
APART = 0.5
"""How fast likeness falls with the log of the ratio of two prices."""
SHARED = 1.0
"""What the same capabilities are worth beside that."""
LEAN = 0.2
"""The part of an expectation that is the mean of all known targets."""
RIDGE = 4.0
"""Squared log-price that shrinks what a difference in price is worth."""
DOUBT = 0.25
"""Standard deviation of a new target's quality around what its file suggests."""
FREE = 0.01
"""USD per million tokens that a free target counts as."""


@dataclass(frozen=True, slots=True)
class ColdStartEstimate:
    """How a new target's quality follows from the known ones'.

    `weights` float32 [T] over the known targets, sums to 1; `shift` is added.
    """

    weights: Floats
    shift: float

    def expect(self, quality: Floats) -> tuple[float, float]:
        """Quality and doubt, given the known targets' `quality` [T] on this request."""
        mean = float(self.weights @ quality)
        apart = quality - np.float32(mean)
        return mean + self.shift, math.sqrt(DOUBT**2 + float(self.weights @ (apart * apart)))


def cold_start_estimates(
    known: Sequence[str], level: Floats, targets: Mapping[str, Target]
) -> dict[str, ColdStartEstimate]:
    """An heir for each of `targets` that is not `known`; none where no known one is a target.

    `level` [T] is the mean quality of each of `known`.
    """
    places = [place for place, name in enumerate(known) if name in targets]
    new = [target for name, target in targets.items() if name not in known]
    if not places or not new:
        return {}
    old = [targets[known[place]] for place in places]
    words = _Words([*old, *new])
    worth = _worth(old, np.asarray(level, np.float64)[places])
    found = {}
    for target in new:
        likeness = np.array([_likeness(target, other, words) for other in old])
        shares = np.exp(likeness - likeness.max())
        shares = (1 - LEAN) * shares / shares.sum() + LEAN / len(old)
        gap = _log_price(target) - float(shares @ [_log_price(other) for other in old])
        weights = np.zeros(len(known), np.float32)
        weights[places] = shares
        found[target.id] = ColdStartEstimate(weights, worth * gap)
    return found


def _log_price(target: Target) -> float:
    """Of a typical request: three input tokens for one output token."""
    return math.log(max((3 * target.price.input + target.price.output) / 4, FREE))


def _worth(old: Sequence[Target], level: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Quality per unit of log price among known targets (ridge); never below 0."""
    prices = np.array([_log_price(target) for target in old])
    prices -= prices.mean()
    return max(float(prices @ (level - level.mean())) / (float(prices @ prices) + RIDGE), 0.0)


def _likeness(one: Target, other: Target, words: _Words) -> float:
    both, either = one.capabilities & other.capabilities, one.capabilities | other.capabilities
    return (
        ALIKE * words.cosine(one, other)
        - APART * abs(_log_price(one) - _log_price(other))
        + SHARED * (len(both) / len(either) if either else 1.0)
    )


class _Words:
    """Hashed words and word pairs of descriptions, each worth what few descriptions share it."""

    def __init__(self, targets: Sequence[Target]) -> None:
        terms = [measure(f"{t.model} {t.provider} {t.description}").terms for t in targets]
        every, count = np.unique(np.concatenate(terms), return_counts=True)
        rarity = dict(zip(every.tolist(), np.log((1 + len(targets)) / count).tolist(), strict=True))
        self._of = {
            target.id: {term: rarity[term] for term in own.tolist()}
            for target, own in zip(targets, terms, strict=True)
        }

    def cosine(self, one: Target, other: Target) -> float:
        """0..1: the share of telling words that two descriptions have in common."""
        a, b = self._of[one.id], self._of[other.id]
        size = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
        return sum(a[term] * b[term] for term in a.keys() & b.keys()) / size if size else 0.0
