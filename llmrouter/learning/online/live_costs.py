"""What a request is expected to cost at each target, from the tokens that answers really took.

A completion tells how many tokens its target wrote for a request. Per target a regression on the
request's readable measurements predicts them (`cost_model`), and the catalog's price of today turns
tokens into USD, so that an edited price counts at once. Until a target has answered `FEWEST` times
it is expected to write what the request asks for, or the default.

The sums behind it are a few tens of kilobytes a target. They are kept in the store, so that a
restart does not begin anew; each process learns from its own traffic. Confined to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.learning.encoders.hashed_features import Floats, measure
from llmrouter.learning.model.cost_model import FEWEST, WIDTH, CostModel, CostSums, Regression
from llmrouter.learning.model.storage import ModelUnreadable, pack, unpack

KEY = "costs:tokens"
TEXT_LIMIT = 4_000
EVERY = 500
"""Answers of a target that are all learned from; later one in `SAMPLED`."""
SAMPLED = 8
HORIZON = 5_000.0
"""Answers after which an old one counts 1/e of a new one."""
NEWS = 1.1
"""A target's regression is solved again when it has this many times the answers it had."""
TARGETS = 256
NEWEST = 64
SAVE_AFTER = 100
"""Answers that are learned before the sums are stored again."""


class LiveCosts:
    """Implements the ExpectedCosts interface."""

    def __init__(self) -> None:
        self._sums: dict[str, CostSums] = {}
        self._solved: dict[str, tuple[float, Regression]] = {}
        self._answers: dict[str, int] = {}
        self._model: CostModel | None = None
        self._measured: dict[str, Floats] = {}
        self._unsaved = 0

    def output_tokens(
        self, context: RoutingContext, readable: Floats | None = None
    ) -> tuple[float, ...]:
        """Tokens that each of `context.eligible` is expected to write, in that order.

        `readable` are the text's measurements (see `hashed_features.READABLE`) where they are at
        hand. What the request allows at most, and the target can write at most, bounds them.
        """
        features, targets = context.features, context.targets()
        usual = features.output_tokens
        expected: Mapping[str, float] = {}
        if self._sums:
            if readable is None:
                readable = self._readable(features.text[:TEXT_LIMIT])
            expected = self._current().estimate(readable)
        found = []
        for target in targets:
            tokens = expected.get(target.id, float(usual))
            if features.asked_output:
                tokens = min(tokens, usual)
            found.append(tokens if target.max_output is None else min(tokens, target.max_output))
        return tuple(found)

    def expected_usd(
        self, context: RoutingContext, readable: Floats | None = None
    ) -> tuple[float, ...]:
        """USD of this request at each of `context.eligible`, in that order."""
        tokens = self.output_tokens(context, readable)
        return tuple(
            target.price.cost(context.features.input_tokens, written)
            for target, written in zip(context.targets(), tokens, strict=True)
        )

    def observe(self, text: str, completion: Completion) -> None:
        """Learns from each answer of an execution whose tokens the target reported."""
        for attempt in completion.attempts:
            usage = attempt.usage
            if attempt.outcome not in ("ok", "rejected") or usage.estimated:
                continue
            if usage.output_tokens <= 0 or self._skips(attempt.target):
                continue
            sums = self._sums.setdefault(attempt.target, CostSums())
            sums.fade(1.0 - 1.0 / HORIZON)
            tokens = np.array([usage.output_tokens], np.float64)
            sums.add(self._readable(text)[None, :WIDTH], tokens)
            self._unsaved += 1
            self._solve(attempt.target)

    async def load(self, store: Store) -> None:
        """Takes over stored sums, where there are any and nothing was learned yet.

        Raises StoreFailed; what cannot be read is passed over.
        """
        packed = await store.get(KEY)
        if packed is None or self._sums:
            return
        try:
            self._restore(await asyncio.to_thread(_unpacked, packed))
        except ModelUnreadable:
            return

    async def save(self, store: Store) -> None:
        """Stores the sums, once enough was learned since the last time. Raises StoreFailed."""
        if self._unsaved < SAVE_AFTER:
            return
        self._unsaved = 0
        await store.put(KEY, self.to_bytes(), None)

    def to_bytes(self) -> bytes:
        """The sums, as versioned bytes (see `storage`)."""
        names = list(self._sums)
        arrays: dict[str, Any] = {
            name: np.array([getattr(self._sums[target], name) for target in names], np.float32)
            for name in CostSums.__slots__
        }
        return pack({"kind": "costs", "targets": names}, arrays)

    def _restore(self, sums: dict[str, CostSums]) -> None:
        self._sums = sums
        self._answers = {name: int(one.count) for name, one in sums.items()}
        for name in sums:
            self._solve(name)

    def _skips(self, target: str) -> bool:
        """Counts one more answer of a target; whether it is one of those not learned from."""
        if target not in self._answers and len(self._answers) >= TARGETS:
            return True
        count = self._answers[target] = self._answers.get(target, 0) + 1
        return count > EVERY and count % SAMPLED != 0

    def _solve(self, target: str) -> None:
        sums, known = self._sums[target], self._solved.get(target)
        if sums.count >= FEWEST - 0.5 and (known is None or sums.count >= known[0] * NEWS):
            self._solved[target] = sums.count, sums.regression()
            self._model = None
        elif known is not None and sums.count >= EVERY and self._unsaved % EVERY == 0:
            self._solved[target] = known[0], sums.regression()
            self._model = None

    def _current(self) -> CostModel:
        if self._model is None:
            self._model = CostModel.of({name: one for name, (_, one) in self._solved.items()})
        return self._model

    def _readable(self, text: str) -> Floats:
        """A text's measurements; the newest are kept: a request is routed, then learned from."""
        found = self._measured.get(text)
        if found is None:
            found = self._measured[text] = measure(text).readable
            if len(self._measured) > NEWEST:
                del self._measured[next(iter(self._measured))]
        return found


def _unpacked(packed: bytes) -> dict[str, CostSums]:
    """The inverse of `LiveCosts.to_bytes`. Raises `ModelUnreadable`."""
    meta, stored = unpack(packed)
    names = meta.get("targets")
    if meta.get("kind") != "costs" or not isinstance(names, list):
        raise ModelUnreadable("these bytes are no sums of costs")
    arrays: dict[str, Any] = dict(stored)
    try:
        if arrays["xx"].shape != (len(names), WIDTH, WIDTH):
            raise ModelUnreadable("the stored costs are of other measurements than this build's")
        return {
            str(name): CostSums(
                float(arrays["count"][at]),
                float(arrays["y"][at]),
                *(arrays[part][at].astype(np.float64) for part in ("x", "xy", "xx")),
            )
            for at, name in enumerate(names)
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelUnreadable(f"the stored costs do not fit together: {error}") from error
