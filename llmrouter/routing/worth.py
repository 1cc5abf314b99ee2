"""Is it worth asking the router LLM about this request?

What asking could gain is what knowing more would gain: where one target is clearly ahead, or all
cost the same and do the same, nothing it says would change the choice. The gain is the expected
improvement of the best utility once the uncertainty of the estimates is resolved (the knowledge
gradient), in the same unit as the call's own price and time. Beside that, all calls together may
cost no more than a share of what the answers cost.

It refuses to count what did not happen: what answers cost is estimated when they are decided.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import CallPrice, TargetEstimate
from llmrouter.domain.utility import factor, scale_of
from llmrouter.routing.utility import Weighed

SKILL: Final = 0.6
"""The part of an estimate's standard deviation that one judgement resolves."""
TIME_SHARE: Final = 0.1
"""Latency's part of a penalty, as everywhere."""
GRACE_CALLS: Final = 50
"""Calls that the share does not bound: nothing can be learned from nothing."""
HALF_LIFE_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Skip:
    """Why the router LLM is not asked: `kind` is `worth` or `budget`."""

    kind: str
    reason: str


class Worth:
    """Decides request by request, and keeps the accounts behind it. One event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._downstream_usd = 0.0
        self._before_usd = 0.0
        self.skips: Counter[str] = Counter()
        self.asked = 0
        self.audits = 0
        self.regret = 0.0

    def skip(
        self,
        context: RoutingContext,
        weighed: Weighed,
        estimates: Sequence[TargetEstimate],
        price: CallPrice | None,
    ) -> Skip | None:
        """Why not to ask, or None to ask. Without a `price` nothing is known, so it is asked."""
        if price is None:
            self.asked += 1
            return None
        gain = expected_gain(context, weighed, estimates)
        cost = call_cost(context, price)
        skip = None
        if gain < cost:
            skip = Skip("worth", f"it could gain {gain:.5f} and would cost {cost:.5f}")
        elif (over := self._over_budget(context, price)) is not None:
            skip = Skip("budget", over)
        if skip is None:
            self.asked += 1
        else:
            self.skips[skip.kind] += 1
        return skip

    def decided(self, estimated_usd: float) -> None:
        """An answer was decided that should cost this much."""
        self._downstream_usd += estimated_usd

    def audited(self, regret: float) -> None:
        """What a skipped call would have gained, in utility, as the router LLM sees it."""
        self.audits += 1
        self.regret += regret

    def public(self) -> dict[str, Any]:
        """For `/stats`."""
        return {
            "asked": self.asked,
            "skipped": dict(self.skips),
            "audited_skips": self.audits,
            "mean_regret": round(self.regret / self.audits, 6) if self.audits else None,
        }

    def _over_budget(self, context: RoutingContext, price: CallPrice) -> str | None:
        llm = context.catalog.router
        share = 0.0 if llm is None else llm.max_spend_share
        self._forget(price)
        spent = price.spent_usd - self._before_usd + price.usd
        grace = GRACE_CALLS * price.usd if share > 0 else 0.0
        allowed = share * self._downstream_usd + grace
        if spent <= allowed:
            return None
        return f"its calls would cost over {share:.0%} of what answers cost"

    def _forget(self, price: CallPrice) -> None:
        """Halve what is past once an hour, so that a share is one of the recent traffic."""
        while self._clock() - self._since >= HALF_LIFE_S:
            self._since += HALF_LIFE_S
            self._downstream_usd /= 2
            self._before_usd += (price.spent_usd - self._before_usd) / 2


def expected_gain(
    context: RoutingContext, weighed: Weighed, estimates: Sequence[TargetEstimate]
) -> float:
    """The expected improvement of the chosen utility by one judgement, in units of quality."""
    price = factor(context.quality)
    if math.isinf(price):
        return 0.0  # the cheapest is wanted, whatever it is worth
    utility = [
        one.probability - price * load
        for one, load in zip(estimates, weighed.penalties, strict=True)
    ]
    best = weighed.choice.index
    gain = 0.0
    for place, value in enumerate(utility):
        if place != best:
            apart = math.hypot(estimates[best].uncertainty, estimates[place].uncertainty) * SKILL
            gain = max(gain, _knowledge_gradient(utility[best] - value, apart))
    return gain


def call_cost(context: RoutingContext, price: CallPrice) -> float:
    """What a call costs in money and time, in units of quality at the wanted trade-off."""
    weight = factor(context.quality)
    if math.isinf(weight):
        return math.inf
    scale = scale_of(context.catalog)
    tokens = context.features.output_tokens
    wait_ms = max((target.latency.total_ms(tokens) for target in context.targets()), default=0.0)
    money = price.usd / scale if scale > 0 else 0.0
    delay = min(1.0, price.seconds * 1000.0 / wait_ms) if wait_ms > 0 else 0.0
    return weight * ((1.0 - TIME_SHARE) * money + TIME_SHARE * delay)


def _knowledge_gradient(behind: float, apart: float) -> float:
    """E[max(X, 0)] of a normal with mean `-behind` and standard deviation `apart`."""
    if apart <= 0.0:
        return max(0.0, -behind)
    z = -behind / apart
    density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    below = 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
    return apart * density + -behind * below
