"""Which of several endpoints of one target an attempt goes to."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from llmrouter.domain.target import Endpoint

REST_S = 10.0
"""How long an endpoint that failed comes last."""


class EndpointChooser:
    """Draws endpoints by weight; those that failed a moment ago come last."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._resting: dict[str, float] = {}

    def order(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """All of them, in the order in which they are tried.

        Sorting by u^(1/weight), u uniform, draws without replacement by weight (Efraimidis and
        Spirakis, 2006).
        """
        now = self._clock()

        def key(endpoint: Endpoint) -> tuple[bool, float]:
            rested = self._resting.get(endpoint.base_url, 0.0) <= now
            return rested, self._chance() ** (1.0 / endpoint.weight)

        return sorted(endpoints, key=key, reverse=True)

    def failed(self, endpoint: Endpoint) -> None:
        """Note that an endpoint could not be reached, or answered that it cannot serve."""
        self._resting[endpoint.base_url] = self._clock() + REST_S
