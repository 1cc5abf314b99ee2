"""Serves, on a small share of requests, another eligible target than the one that was chosen.

Without this the record only ever shows what was chosen anyway: a new target gets no chance, and no
other policy can be judged on old traffic. How likely the served target was goes into the verdict
(`propensity`), so that estimates made from the record later can be unbiased.

It stands around the cache and inside the session: what is cached is the choice, never the
exploration of it, and a conversation stays with what opened it. With probability `explore_rate`
one of the *other* eligible targets serves, each with the probability that
`exploration_distribution` gives it, none
with zero. So the propensity is `1 - rate` where the choice stands, `rate *
exploration_distribution[target]` where it
does not, and 1 where nothing may be explored. Whether it may is settled before any dice are
thrown, by what would be known whatever they showed; else these numbers would be wrong.

Never explored: pinned models, rules and defaults, cascades, tool results, a conversation under way
while sessions are on, requests with one eligible target, and anything once the day's budget does
not pay for the dearest answer that could come.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from llmrouter.domain.decision import Alternative, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Observer, QualityEstimate, Stage, Store
from llmrouter.domain.target import Price
from llmrouter.errors import StoreFailed
from llmrouter.util.lru import Recent
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

FLOOR: Final = 0.2
"""The share of explored requests that goes to all others alike: no odds are near zero."""
OPTIMISM: Final = 2.0
"""Deviations above the expected quality that a target may turn out to be worth."""
TEMPERATURE: Final = 0.1
"""The lead in what it may be worth that makes a target 2.7 times as likely as another."""
DAY_S: Final = 86_400.0
_CHOSEN: Final = frozenset({Source.CACHE, Source.LEARNED, Source.LLM})

Prospects = Callable[[RoutingContext], Sequence[QualityEstimate]]
Dice = Callable[[], float]


class Budget:
    """What explored answers cost today (UTC), by their estimates, for all who share the store.

    Each process knows its own spending at once and the others' from its next exploration on: of n
    processes together, n - 1 answers may come too many. A store that is down leaves each its own.
    """

    def __init__(
        self, store: Store, background: Background, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._background = background
        self._clock = clock
        self._day = -1
        self._spent = 0.0
        self._told = False

    def pays(self, usd: float, limit: float) -> bool:
        """Whether `usd` more stays within today's `limit`."""
        day = int(self._clock() / DAY_S)
        if day != self._day:
            self._day, self._spent, self._told = day, 0.0, False
            self._background.start(self._share(day, 0.0), "explore budget")
        if self._spent + usd <= limit:
            return True
        if not self._told:
            self._told = True
            log.info("exploring rests until midnight UTC: $%.4f of $%g", self._spent, limit)
        return False

    def spend(self, usd: float) -> None:
        """Note that an explored answer costs `usd`, after `pays` has said yes."""
        self._spent += usd
        self._background.start(self._share(self._day, usd), "explore budget")

    async def _share(self, day: int, usd: float) -> None:
        try:
            total = await self._store.increment(f"explore:{day}", usd, 2 * DAY_S)
        except StoreFailed as failure:
            log.warning("what exploring costs is known to this process alone: %s", failure)
            return
        if day == self._day:
            self._spent = max(self._spent, total)


class Exploration:
    """A stage around the stage that chooses."""

    def __init__(
        self,
        inner: Stage,
        prospects: Prospects,
        budget: Budget,
        observer: Observer,
        dice: Dice = random.random,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._prospects = prospects
        self._budget = budget
        self._observer = observer
        self._dice = dice
        self._standing: Recent[int, tuple[StageResult, StageResult]] = Recent(2 * 1024 * 1024)
        self._eligible: tuple[str, ...] = ()
        self._version = ""
        self._dearest = Price(0.0, 0.0)

    def decide(self, context: RoutingContext) -> Coroutine[Any, Any, StageResult | None]:
        """The inner stage's verdict or, now and then, one for another eligible target."""
        rate = context.catalog.learned.explore_rate
        return self._decide(context, rate) if rate else self._inner.decide(context)

    async def _decide(self, context: RoutingContext, rate: float) -> StageResult | None:
        verdict = await self._inner.decide(context)
        if verdict is None or not self._may(context, verdict):
            return verdict
        if self._dice() >= rate:
            return self._stands(verdict, 1.0 - rate)
        likely = exploration_distribution(
            verdict.target, context.eligible, self._prospects(context)
        )
        target = sample(likely, self._dice())
        size = context.features.input_tokens, context.features.output_tokens
        self._budget.spend(context.catalog.targets[target].price.cost(*size))
        self._observer.count("explored", 1, {"target": target})
        return explored(verdict, target, rate * likely[target])

    def _may(self, context: RoutingContext, verdict: StageResult) -> bool:
        catalog, features = context.catalog, context.features
        return (
            catalog.learned.enabled
            and verdict.source in _CHOSEN
            and not verdict.cascade
            and len(context.eligible) > 1
            and verdict.target in context.eligible
            and not features.continuation
            and not (catalog.sessions.enabled and features.turns > 1)
            and self._budget.pays(self._most(context), catalog.learned.explore_budget_usd_per_day)
        )

    def _most(self, context: RoutingContext) -> float:
        """USD that no eligible target's answer exceeds."""
        version, eligible = context.catalog.version, context.eligible
        if eligible is not self._eligible or version != self._version or not version:
            prices = [target.price for target in context.targets()]
            most = Price(max(p.input for p in prices), max(p.output for p in prices))
            self._eligible, self._version, self._dearest = eligible, version, most
        features = context.features
        return self._dearest.cost(features.input_tokens, features.output_tokens)

    def _stands(self, verdict: StageResult, propensity: float) -> StageResult:
        """The verdict with its propensity; of a cached one the same object each time."""
        if verdict.source is not Source.CACHE:
            return replace(verdict, propensity=propensity)
        known = self._standing.get(id(verdict))
        if known is not None and known[0] is verdict and known[1].propensity == propensity:
            return known[1]
        standing = replace(verdict, propensity=propensity)
        self._standing.keep(id(verdict), (verdict, standing), 0)
        return standing


def exploration_distribution(
    chosen: str, eligible: Sequence[str], prospects: Sequence[QualityEstimate]
) -> dict[str, float]:
    """How likely each target other than `chosen` is to serve an explored request; sums to 1.

    Most of it goes by what each may be worth, quality and doubt, so that a target of which little
    is known, a new one above all, comes first among those of its quality; `FLOOR` of it goes to
    all alike. One of which nothing is said may be the best. Two eligible targets at least.
    """
    others = [name for name in eligible if name != chosen]
    known = {one.target: one.quality + OPTIMISM * one.uncertainty for one in prospects}
    hopes = [known.get(name, 1.0) for name in others]
    top = max(hopes)
    shares = [math.exp((hope - top) / TEMPERATURE) for hope in hopes]
    total, floor = sum(shares), FLOOR / len(others)
    return {
        name: floor + (1.0 - FLOOR) * share / total
        for name, share in zip(others, shares, strict=True)
    }


def sample(likely: dict[str, float], at: float) -> str:
    """The name at `at` (0..1) of a distribution."""
    bounds = itertools.accumulate(likely.values())
    found = (name for name, bound in zip(likely, bounds, strict=True) if at < bound)
    return next(found, next(reversed(likely)))


def explored(verdict: StageResult, target: str, propensity: float) -> StageResult:
    """A verdict for `target` in place of the one chosen, which stays the first alternative."""
    known = {one.target: one for one in verdict.alternatives}
    if not known:
        chosen = Alternative(verdict.target, verdict.confidence or 0.0, verdict.confidence)
        verdict = replace(verdict, alternatives=(chosen,))
    return replace(
        verdict,
        target=target,
        source=Source.LEARNED,
        reason=f"exploring: {target!r} serves {propensity:.2%} of such requests, to learn from it; "
        f"chosen was {verdict.target!r} ({verdict.reason})",
        confidence=known[target].probability if target in known else None,
        propensity=propensity,
    )
