"""Keeps a conversation on its target, and moves it when that pays.

A provider's prompt cache makes the next turn on the same target cheap; moving means the whole
context is read again at the full price. So switching is a calculation: the gain in estimated
quality against the price of that re-reading. Turns that answer a tool call (and ReAct-style
`Observation:` turns) never move. What other stages above decided (rules) is not second-guessed.

A session is remembered under the caller's tenant. Losing one (an evicted key, a store that is
down) costs a fresh decision, never a request.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

import orjson

from llmrouter.domain.decision import Alternative, Question, Source, Verdict
from llmrouter.domain.ports import Stage, Store
from llmrouter.domain.target import Target
from llmrouter.errors import StoreFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stay:
    """Where a conversation is: its target, how many user turns it had, its task."""

    target: str
    turns: int
    task: str | None = None

    def encode(self) -> bytes:
        """Bytes for the store."""
        return orjson.dumps([1, self.target, self.turns, self.task])

    @classmethod
    def decode(cls, data: bytes) -> Stay | None:
        """The value behind `data`, or None where another version or hand wrote it."""
        try:
            version, target, turns, task = orjson.loads(data)
        except (ValueError, TypeError):
            return None
        if version != 1 or not isinstance(target, str) or not isinstance(turns, int):
            return None
        return cls(target, turns, task if isinstance(task, str) else None)


@dataclass(frozen=True, slots=True)
class Move:
    """A considered change of target: `gain` in estimated quality, `extra_usd` for the turn."""

    gain: float
    extra_usd: float
    pays: bool


def consider_move(current: Target, verdict: Verdict, question: Question) -> Move:
    """Whether leaving `current` for the verdict's target is worth it.

    The next turn on `current` reads the context from the provider's cache; on another target it is
    read uncached. What the targets cost as such the inner stage has weighed already; here a gain in
    quality must exceed `min_gain`, raised by the share of a turn's price that the cache saves. A
    stage that gave the current target no score, but is sure of another, gains what its confidence
    leaves over for all others; with no numbers at all only a cheaper move pays, and one that saves
    money although everything is re-read pays without a gain.
    """
    features = question.features
    chosen = question.catalog.targets[verdict.target]
    size = features.input_tokens, features.output_tokens
    extra_usd = chosen.price.cost(*size) - current.price.cost(*size, features.input_tokens)
    scores = {alternative.target: alternative.score for alternative in verdict.alternatives}
    sure = scores.get(chosen.id, verdict.confidence)
    if sure is None:
        gain = 0.0
    elif current.id in scores:
        gain = sure - scores[current.id]
    else:
        gain = sure - (1.0 - sure) if extra_usd > 0 else 0.0
    if extra_usd <= 0:
        return Move(gain, extra_usd, pays=gain >= 0)
    lost = max(cache_share(current, question), cache_share(chosen, question))
    return Move(gain, extra_usd, pays=gain >= question.catalog.sessions.min_gain * (1.0 + lost))


def cache_share(target: Target, question: Question) -> float:
    """The share (0..1) of a turn's price that reading its context from the cache saves."""
    size = question.features.input_tokens, question.features.output_tokens
    full_usd = target.price.cost(*size)
    return 1.0 - target.price.cost(*size, size[0]) / full_usd if full_usd > 0 else 0.0


class Session:
    """A stage around the stages that choose afresh."""

    name = "session"

    def __init__(self, inner: Stage, store: Store) -> None:
        self._inner = inner
        self._store = store

    def decide(self, question: Question) -> Coroutine[Any, Any, Verdict | None]:
        """The conversation's target while it stays; else what the inner stage says."""
        on = question.catalog.sessions.enabled
        return self._decide(question) if on else self._inner.decide(question)

    async def _decide(self, question: Question) -> Verdict | None:
        key = session_key(question)
        stay = await self._load(key)
        if stay is not None and stay.target in question.eligible:
            if (reason := _stays_without_asking(stay, question)) is not None:
                return _keep(stay, reason)
            verdict: Verdict | None = await self._reconsider(stay, question)
        else:
            verdict = await self._inner.decide(question)
        if verdict is not None and verdict.target in question.eligible:
            stay = Stay(verdict.target, question.features.turns, verdict.task)
            await self._save(key, stay, question.catalog.sessions.ttl_s)
        return verdict

    async def _reconsider(self, stay: Stay, question: Question) -> Verdict:
        fresh: Verdict | None = None
        try:
            fresh = await self._inner.decide(question)
        except Exception as error:
            log.info("session stays, the new turn could not be judged: %s", error)
        if fresh is None or fresh.target not in question.eligible:
            return _keep(stay, "the session stays, no stage had a view of the new turn")
        if fresh.target == stay.target:
            return fresh
        move = consider_move(question.catalog.targets[stay.target], fresh, question)
        if move.pays:
            return replace(
                fresh,
                reason=(
                    f"moved from {stay.target!r}: gain {move.gain:.2f} against "
                    f"${move.extra_usd:.6f} a turn; {fresh.reason}"
                ),
            )
        kept = _keep(
            stay,
            f"the session stays: {fresh.target!r} would gain {move.gain:.2f} "
            f"for ${move.extra_usd:.6f} a turn",
        )
        others = (Alternative(fresh.target, fresh.confidence or 0.0),)
        return replace(kept, alternatives=others, cost_usd=fresh.cost_usd)

    async def _load(self, key: str) -> Stay | None:
        try:
            data = await self._store.get(key)
        except StoreFailed as failure:
            log.warning("session not read: %s", failure)
            return None
        return None if data is None else Stay.decode(data)

    async def _save(self, key: str, stay: Stay, ttl_s: float) -> None:
        try:
            await self._store.put(key, stay.encode(), ttl_s)
        except StoreFailed as failure:
            log.warning("session not written: %s", failure)


def session_key(question: Question) -> str:
    """The store key: the explicit session where there is one, else the conversation's own."""
    explicit = question.request.options.session
    name = f"named:{explicit}" if explicit else question.features.conversation
    return f"session:{question.caller.tenant}:{name}"


def _stays_without_asking(stay: Stay, question: Question) -> str | None:
    if question.features.continuation:
        return "a tool result never re-routes a session"
    if question.features.turns <= stay.turns:
        return "no new user turn in the session"
    return None


def _keep(stay: Stay, reason: str) -> Verdict:
    return Verdict(stay.target, Source.SESSION, reason, confidence=1.0, task=stay.task)
