"""Chooses one target: quality against cost and latency. Pure.

The service, the evaluation and the replay share this rule: maximise `estimated quality - price of
money(q) * cost - price of time(q) * latency`.

The choice is monotone: a higher `q` never picks a target with a lower estimated quality, because
the whole penalty is one number per target (`penalty`) times one factor that falls with q.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.catalog import Catalog

Values = NDArray[np.floating]

STEEPNESS = 2.0
"""The factor is `(1 / q - 1) ** STEEPNESS / SOFTNESS`: a usable range of trade-offs on 0..1."""
SOFTNESS = 4.0
TYPICAL_TOKENS = 1000, 500
"""Input and output tokens of the request whose dearest price is the scale of all penalties."""


@dataclass(frozen=True, slots=True)
class UtilityChoice:
    """`index` of the chosen target; `order`: every index, best first; `margin`: utility ahead of
    the second (infinite where there is one target), in units of quality at this `q`.
    """

    index: int
    order: tuple[int, ...]
    margin: float


def factor(q: float) -> float:
    """How much quality a full burden is worth at `q`: infinite at 0, 0 at 1, falling between."""
    if not 0 <= q <= 1:
        raise ValueError(f"quality is in 0..1, not {q!r}")
    if q < 1e-6:
        return float("inf")
    return float((1 / q - 1) ** STEEPNESS / SOFTNESS)


def penalty(
    cost_usd: Values,
    latency_ms: Values | None = None,
    time_share: float = 0.1,
    scale_usd: float | None = None,
) -> Values:
    """One burden per target: cost and latency, each relative to the dearest candidate (0..1).

    `scale_usd` is one scale for all requests, what the dearest target's typical request costs: then
    a request that costs ten times as much weighs ten times as much, and money saved at equal
    quality is the most. `time_share` in 0..1 is latency's part. Infinite or NaN costs count as the
    dearest.
    """
    burdens = _relative(cost_usd)
    if scale_usd is not None and scale_usd > 0:
        dearest = max((v for v in cost_usd.tolist() if math.isfinite(v)), default=0.0)
        burdens = burdens * (max(dearest, 0.0) / scale_usd)
    if latency_ms is not None:
        burdens = burdens * (1 - time_share) + _relative(latency_ms) * time_share
    return burdens


def scale_of(catalog: Catalog) -> float:
    """USD of a typical request at the dearest enabled target: the unit of every penalty."""
    return max((target.price.cost(*TYPICAL_TOKENS) for target in catalog.enabled), default=0.0)


def scores(quality: Values, penalties: Values, q: float) -> list[float]:
    """Each target's utility at `q` as one finite number: the order is that of
    `quality - factor(q) * penalty`, at q = 0 that of the penalties alone.
    """
    price = factor(q)
    if price == float("inf"):
        return [-load for load in penalties.tolist()]
    pairs = zip(quality.tolist(), penalties.tolist(), strict=True)
    return [(value - price * load) / (1.0 + price) for value, load in pairs]


def choose(quality: Values, burdens: Values, q: float) -> UtilityChoice:
    """The target with the highest `quality - factor(q) * penalty`.

    `quality` [T] in 0..1 and `burdens` [T], finite, T >= 1. At q = 0 the least burden wins, at
    q = 1 the best quality; ties go to the better of the other, then to the earlier target.
    Raises `ValueError` for empty or unequal inputs.
    """
    return at_price(quality, burdens, factor(q))


def at_price(quality: Values, burdens: Values, price: float) -> UtilityChoice:
    """As `choose`, at a given price of one burden (0..infinity): what a sweep of λ needs."""
    if len(quality) == 0 or len(quality) != len(burdens):
        raise ValueError("one quality and one burden per target are needed, and a target at least")
    values: list[float] = quality.tolist()
    loads: list[float] = burdens.tolist()
    first = _pick(values, loads, price)
    rest = [i for i in range(len(values)) if i != first]
    if price == float("inf"):
        order = [first, *sorted(rest, key=lambda i: (loads[i], -values[i]))]
        margin = loads[order[1]] - loads[first] if rest else float("inf")
        return UtilityChoice(first, tuple(order), max(margin, 0.0))
    utility = [value - price * load for value, load in zip(values, loads, strict=True)]
    order = [first, *sorted(rest, key=lambda i: -utility[i])]
    margin = utility[first] - utility[order[1]] if rest else float("inf")
    return UtilityChoice(first, tuple(order), max(margin, 0.0))


def _pick(values: list[float], loads: list[float], price: float) -> int:
    """Walks up the upper hull of quality over burden while a step gains more than its price.

    Slopes are compared with `price` rather than utilities with each other, so that rounding
    cannot break monotonicity.
    """
    hull: list[int] = []
    for i in sorted(range(len(values)), key=lambda i: (loads[i], -values[i])):
        if hull and values[i] <= values[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(values, loads, hull[-1], i) >= _slope(
            values, loads, hull[-2], hull[-1]
        ):
            hull.pop()
        hull.append(i)
    chosen = hull[0]
    for before, after in itertools.pairwise(hull):
        if _slope(values, loads, before, after) <= price:
            break
        chosen = after
    return chosen


def _slope(values: list[float], loads: list[float], low: int, high: int) -> float:
    gap = loads[high] - loads[low]
    return (values[high] - values[low]) / gap if gap > 0 else float("inf")


def _relative(values: Values) -> Values:
    plain: list[float] = values.tolist()
    top = max((v for v in plain if math.isfinite(v)), default=0.0)
    if top <= 0:
        return np.zeros(len(plain))
    return np.array([min(max(v, 0.0), top) / top if v == v else 1.0 for v in plain])
