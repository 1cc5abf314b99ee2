"""Keeps a conversation on its target, and moves it when that pays.

A provider's prompt cache makes the next turn on the same target cheap; moving means the whole
context is read again at the full price. So switching is a calculation: the gain in estimated
quality against the price of that re-reading. Turns that answer a tool call (and ReAct-style
`Observation:` turns) never move. What other stages above decided (rules) is not second-guessed.

A tool loop stays where it began even where sessions are switched off, and so does an agent's
session, which its client names or whose history holds reasoning that its model signed: a switch
would lose the cache of a long context, and the reasoning with it.

A session is remembered under the caller's tenant. Losing one (an evicted key, a store that is
down) costs a fresh decision, never a request.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from llmrouter.domain.decision import Alternative, Decision, RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Stage, Store
from llmrouter.domain.target import Target
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

_PAST_THE_STAGE = frozenset({Source.PINNED, Source.RULES, Source.DEFAULT})
SERVED_S = 3600.0  # how long it is remembered who answered instead of who was decided


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a conversation is: its target, how many user turns it had, its task."""

    target: str
    turns: int
    task: str | None = None

    def encode(self) -> bytes:
        """Bytes for the store."""
        return orjson.dumps([1, self.target, self.turns, self.task])

    @classmethod
    def decode(cls, data: bytes) -> SessionState | None:
        """The value behind `data`, or None where another version or hand wrote it."""
        try:
            version, target, turns, task = orjson.loads(data)
        except (ValueError, TypeError):
            return None
        if version != 1 or not isinstance(target, str) or not isinstance(turns, int):
            return None
        return cls(target, turns, task if isinstance(task, str) else None)


@dataclass(frozen=True, slots=True)
class SwitchDecision:
    """A considered change of target: `gain` in estimated quality, `extra_usd` for the turn."""

    gain: float
    extra_usd: float
    pays: bool


def consider_switch(
    current: Target, verdict: StageResult, context: RoutingContext
) -> SwitchDecision:
    """Whether leaving `current` for the verdict's target is worth it.

    The next turn on `current` reads the context from the provider's cache; on another target it is
    read uncached. What the targets cost as such the inner stage has weighed already; here a gain in
    quality must exceed `min_gain`, raised by the share of a turn's price that the cache saves. A
    stage that gave the current target no score, but is sure of another, gains what its confidence
    leaves over for all others; with no numbers at all only a cheaper move pays, and one that saves
    money although everything is re-read pays without a gain.
    """
    features = context.features
    chosen = context.catalog.targets[verdict.target]
    size = features.input_tokens, features.output_tokens
    extra_usd = chosen.price.cost(*size) - current.price.cost(*size, features.input_tokens)
    scores = {
        one.target: one.score if one.probability is None else one.probability
        for one in verdict.alternatives
    }
    sure = scores.get(chosen.id, verdict.confidence)
    if sure is None:
        gain = 0.0
    elif current.id in scores:
        gain = sure - scores[current.id]
    else:
        gain = sure - (1.0 - sure) if extra_usd > 0 else 0.0
    if extra_usd <= 0:
        return SwitchDecision(gain, extra_usd, pays=gain >= 0)
    lost = max(cache_share(current, context), cache_share(chosen, context))
    return SwitchDecision(
        gain, extra_usd, pays=gain >= context.catalog.sessions.min_gain * (1.0 + lost)
    )


def cache_share(target: Target, context: RoutingContext) -> float:
    """The share (0..1) of a turn's price that reading its context from the cache saves."""
    size = context.features.input_tokens, context.features.output_tokens
    full_usd = target.price.cost(*size)
    return 1.0 - target.price.cost(*size, size[0]) / full_usd if full_usd > 0 else 0.0


class SessionMemory:
    """Where sessions are. A store that is down costs a fresh decision, never a request."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def target_of(self, key: str) -> str | None:
        """Where a session is, or None where that is not known."""
        stay = await self.load(key)
        return None if stay is None else stay.target

    async def served(self, key: str, target: str) -> None:
        """Note who answered in the end: a tool loop goes on there, and its reasoning is theirs."""
        stay = await self.load(key)
        if stay is None or stay.target != target:
            turns, task = (0, None) if stay is None else (stay.turns, stay.task)
            await self.save(key, SessionState(target, turns, task), SERVED_S)

    async def load(self, key: str) -> SessionState | None:
        """A session's state; None where none is remembered."""
        try:
            data = await self._store.get(key)
        except StoreFailed as failure:
            log.warning("session not read: %s", failure)
            return None
        return None if data is None else SessionState.decode(data)

    async def save(self, key: str, stay: SessionState, ttl_s: float) -> None:
        """Remember a session's state."""
        try:
            await self._store.put(key, stay.encode(), ttl_s)
        except StoreFailed as failure:
            log.warning("session not written: %s", failure)


class SessionFollower:
    """Notes behind a request who answered in the end, where the stage did not note it before.

    Pinned requests, rules and the default go past the stage, and a fallback comes after it.
    """

    def __init__(self, store: Store, background: Background) -> None:
        self.memory = SessionMemory(store)
        self._background = background

    def __call__(self, key: str, decision: Decision, target: str) -> None:
        """Note it."""
        if target != decision.target or decision.source in _PAST_THE_STAGE:
            self._background.start(self.memory.served(key, target), "session")


class SessionAffinity:
    """A stage around the stages that choose afresh."""

    name = "session"

    def __init__(self, inner: Stage, store: Store) -> None:
        self._inner = inner
        self._memory = SessionMemory(store)

    def decide(self, context: RoutingContext) -> Coroutine[Any, Any, StageResult | None]:
        """The conversation's target while it stays; else what the inner stage says."""
        on = context.catalog.sessions.enabled or is_followed(context)
        return self._decide(context) if on else self._inner.decide(context)

    async def _decide(self, context: RoutingContext) -> StageResult | None:
        key = session_key(context)
        stay = await self._memory.load(key)
        if stay is None or stay.target not in context.eligible:
            verdict = await self._inner.decide(context)
        elif context.features.continuation:
            return _keep(stay, "a tool result never re-routes a session")
        elif not _is_session(context):  # sessions are off, and this is a new turn with tools
            verdict = await self._inner.decide(context)
        elif context.features.turns <= stay.turns:
            return _keep(stay, "no new user turn in the session")
        else:
            verdict = await self._reconsider(stay, context)
        if verdict is not None and verdict.target in context.eligible:
            now = SessionState(verdict.target, context.features.turns, verdict.task)
            if now != stay:
                await self._memory.save(key, now, context.catalog.sessions.ttl_s)
        return verdict

    async def _reconsider(self, stay: SessionState, context: RoutingContext) -> StageResult:
        fresh: StageResult | None = None
        try:
            fresh = await self._inner.decide(context)
        except Exception as error:
            log.info("session stays, the new turn could not be judged: %s", error)
        if fresh is None or fresh.target not in context.eligible:
            return _keep(stay, "the session stays, no stage had a view of the new turn")
        if fresh.target == stay.target:
            return fresh
        move = consider_switch(context.catalog.targets[stay.target], fresh, context)
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
        others = fresh.alternatives or (Alternative(fresh.target, fresh.confidence or 0.0),)
        return replace(kept, alternatives=others, cost_usd=fresh.cost_usd, judge=fresh.judge)


def session_key(context: RoutingContext) -> str:
    """The store key: the explicit session where there is one, else the conversation's own.

    A session that an agent names holds several conversations, its sub-agents' among them; they
    differ in their first user turn. Its system prompt may change on the way.
    """
    explicit, named = context.request.options.session, context.request.wire.session
    if explicit:
        name = f"named:{explicit}"
    elif named:
        name = f"agent:{_conversation(named, context)}"
    else:
        name = context.features.conversation
    return f"session:{context.caller.tenant}:{name}"


def _conversation(session: str, context: RoutingContext) -> str:
    first = next((m.text for m in context.request.messages if m.role == "user"), "")
    size = f"{len(session)}:{session}".encode("utf-8", "surrogatepass")
    return blake2b(size + first.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def is_followed(context: RoutingContext) -> bool:
    """Whether a request's target is remembered even where sessions are off."""
    if not context.catalog.sessions.tool_loops:
        return False
    if not (context.features.tools or _is_agents(context)):
        return False
    return context.features.traits.side_task in (None, "compaction")  # others are no turn of it


async def followed(
    context: RoutingContext, sessions: SessionMemory | None
) -> tuple[str | None, str | None]:
    """The key under which a request's session is followed, and who signed its history's reasoning.

    Both are None where the session is not followed.
    """
    if sessions is None or not is_followed(context):
        return None, None
    key = session_key(context)
    return key, await sessions.target_of(key) if context.request.wire.signed else None


def _is_agents(context: RoutingContext) -> bool:
    wire = context.request.wire
    return wire.signed or wire.session is not None


def _is_session(context: RoutingContext) -> bool:
    """Whether a new user turn stays as well, unless a switch pays."""
    return context.catalog.sessions.enabled or _is_agents(context)


def _keep(stay: SessionState, reason: str) -> StageResult:
    return StageResult(stay.target, Source.SESSION, reason, confidence=1.0, task=stay.task)
