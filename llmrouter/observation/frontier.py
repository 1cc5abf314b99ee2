"""What the router believes of each target, task by task: how well it answers, and at what price.

The newest decisions say how likely each eligible target was to answer well; what the same requests
would have cost at each comes from the catalog's prices, scaled by what a task's answers did cost
against their estimates (few requests use all the tokens that they may). The frontier of a task are
the targets that no cheaper one equals.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Decision
from llmrouter.domain.interfaces import CatalogSource
from llmrouter.errors import StoreFailed
from llmrouter.observation.decision_pages import DecisionPages
from llmrouter.util.lru import ENTRY_BYTES, Recent

log = logging.getLogger(__name__)

LAST: Final = 300
"""Newest decisions that are looked at."""
FRESH_S: Final = 5.0
"""How long an answer is given again: a page that is open asks every few seconds."""


@dataclass(slots=True)
class Belief:
    """Sums over decisions: probabilities of a good answer, and USD by the price list."""

    decisions: int = 0
    probability: float = 0.0
    usd: float = 0.0

    def public(self) -> dict[str, Any]:
        """Means, as JSON-ready values."""
        count = max(self.decisions, 1)
        return {
            "decisions": self.decisions,
            "probability": self.probability / count,
            "usd": self.usd / count,
        }


class Frontier:
    """Answers `/stats/frontier` from the newest decisions of all workers."""

    def __init__(
        self,
        pages: DecisionPages,
        catalog: CatalogSource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pages = pages
        self._catalog = catalog
        self._clock = clock
        self._shown: Recent[str, tuple[float, Mapping[str, Any]]] = Recent(64 * ENTRY_BYTES)

    async def show(self, caller: Caller) -> Mapping[str, Any]:
        """`{"decisions": n, "tasks": {task: {"targets": {...}, "frontier": [cheapest first]}}}`.

        Nothing is known while the store is down.
        """
        whose, now = caller.tenant if caller.sees is not None else "*", self._clock()
        known = self._shown.get(whose)
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        decisions: list[tuple[Decision, float | None]] = []
        try:
            decisions = await self._pages.newest(LAST, caller)
        except StoreFailed as failure:
            log.warning("decisions not read: %s", failure)
        found = beliefs(decisions, self._catalog.current)
        shown = {
            "decisions": len(decisions),
            "tasks": {
                task: {
                    "targets": {name: one.public() for name, one in by_target.items()},
                    "frontier": frontier(by_target),
                }
                for task, by_target in sorted(found.items())
            },
        }
        self._shown.keep(whose, (now, shown), 0)
        return shown


def beliefs(
    decisions: Iterable[tuple[Decision, float | None]], catalog: Catalog
) -> dict[str, dict[str, Belief]]:
    """By task and target, of decisions and their costs; what estimated nothing says nothing."""
    paid: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    found: defaultdict[str, defaultdict[str, Belief]] = defaultdict(lambda: defaultdict(Belief))
    for decision, cost in decisions:
        if cost is not None:
            paid[decision.task][0] += cost
            paid[decision.task][1] += decision.estimate.cost_usd
        tokens = decision.estimate.input_tokens, decision.estimate.output_tokens
        for one in decision.alternatives:
            target = catalog.targets.get(one.target)
            if target is None or one.probability is None:
                continue
            belief = found[decision.task][one.target]
            belief.decisions += 1
            belief.probability += one.probability
            price = target.price
            belief.usd += (tokens[0] * price.input + tokens[1] * price.output) / 1_000_000
    for task, by_target in found.items():
        cost, estimated = paid[task]
        if cost > 0 and estimated > 0:
            for belief in by_target.values():
                belief.usd *= cost / estimated
    return {task: dict(by_target) for task, by_target in found.items()}


def frontier(by_target: Mapping[str, Belief]) -> list[str]:
    """The targets that no cheaper one equals, cheapest first."""
    best, names = -1.0, []
    means = {name: (one.usd / one.decisions, one.probability / one.decisions)
             for name, one in by_target.items() if one.decisions}  # fmt: skip
    for name, (_, probability) in sorted(means.items(), key=lambda m: (m[1][0], -m[1][1])):
        if probability > best:
            best = probability
            names.append(name)
    return names
