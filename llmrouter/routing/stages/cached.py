"""Remembers verdicts that cost something, so that one answer of the router LLM serves many.

A stage around a stage. The key is what the request is (its fingerprint, which holds every
constraint and the strategy), what the catalog is, and which targets are eligible: any edit
invalidates by itself. Verdicts are fresh for `ttl_s`, then served for as long again while one
background call renews them. Identical requests that meet a miss together share one inner call; a
waiter that leaves does not end it for the others, and one that nobody waits for is ended.

What is not cached: a stage that abstained or failed, defaults, and what a stage did not mark as
cacheable. A store that fails is a miss, counted as `error` and logged at most once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import Stage, Store
from llmrouter.domain.serialization import CachedResult, CodecError, decode_cached, encode_cached
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

Name = tuple[str, str, tuple[str, ...]]
NameKey = Callable[[str, str, tuple[str, ...]], str]
"""From fingerprint, catalog revision and eligible targets to the key of a stored entry."""

LOG_EVERY_S: Final = 60.0
REFRESH_LIMIT_MS: Final = 10_000.0
_NEVER_CACHED: Final = frozenset({Source.DEFAULT, Source.CACHE, Source.PINNED, Source.SESSION})


def _unobserved(_: str) -> None:
    """The outcome goes nowhere."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """`ttl_s` is how long a verdict is fresh, `entries` how many stay decoded in memory.

    `observe` hears of every lookup: `hit`, `stale`, `miss`, `off` or `error`. `clock` gives
    seconds since the epoch.
    """

    ttl_s: float = 86_400.0
    entries: int = 10_000
    observe: Callable[[str], None] = _unobserved
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class _Kept:
    """An entry in memory, its verdict already in the form in which it is served."""

    verdict: StageResult
    fresh_until: float
    expires_at: float


@dataclass(slots=True)
class _InFlightLookup:
    """One shared lookup and inner call. `kept` is true when it runs whether or not anyone waits."""

    result: asyncio.Future[tuple[StageResult | None, str]]
    kept: bool
    waiters: int = 0
    task: asyncio.Task[None] | None = field(default=None)


class Cached:
    """A stage that answers from memory, then from the store, then from `inner`."""

    def __init__(
        self,
        inner: Stage,
        store: Store,
        key: NameKey,
        background: Background,
        policy: CachePolicy = CachePolicy(),
    ) -> None:
        self.name = f"cache+{inner.name}"
        self._inner = inner
        self._store = store
        self._key = key
        self._background = background
        self._policy = policy
        self._near: OrderedDict[Name, _Kept] = OrderedDict()
        self._flights: dict[tuple[Name, bool], _InFlightLookup] = {}
        self._quiet_until = 0.0
        self._catalog: Catalog | None = None
        self._revision = ""
        self._eligible: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._near)

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """A cached verdict (source `cache`), or what the inner stage says. Raises what it raises.

        Nothing is awaited when memory holds the entry.
        """
        mode = context.request.options.cache
        if mode == "off":
            self._policy.observe("off")
            return await self._inner.decide(context)
        name = self._name(context)
        if mode == "use" and (kept := self._near.get(name)) is not None:
            now = self._policy.clock()
            if now < kept.expires_at:
                self._near.move_to_end(name)
                if now < kept.fresh_until:
                    self._policy.observe("hit")
                else:
                    self._policy.observe("stale")
                    self._renew(name, context)
                return kept.verdict
            del self._near[name]
        return await self._share(name, context, renew=mode == "refresh")

    def _name(self, context: RoutingContext) -> Name:
        """The entry's name; what most entries have in common is one object, not one for each."""
        if context.catalog is not self._catalog:
            self._catalog, self._revision = context.catalog, context.catalog.revision
        if context.eligible != self._eligible:
            self._eligible = context.eligible
        return context.features.fingerprint, self._revision, self._eligible

    async def _share(
        self, name: Name, context: RoutingContext, *, renew: bool
    ) -> StageResult | None:
        flight = self._flights.get((name, renew)) or self._launch(name, context, renew=renew)
        if flight is None:  # too much runs behind already: this request does its own work
            verdict, outcome, fresh = await self._answer(name, context, renew=renew)
            if fresh is not None:
                await self._save(name, fresh)
            self._policy.observe(outcome)
            return verdict
        flight.waiters += 1
        try:
            verdict, outcome = await asyncio.shield(flight.result)
        finally:
            flight.waiters -= 1
            if not (flight.waiters or flight.kept or flight.result.done()) and flight.task:
                self._forget(name, flight, renew=renew)
                flight.task.cancel()
        self._policy.observe(outcome)
        return verdict

    def _renew(self, name: Name, context: RoutingContext) -> None:
        if (name, True) not in self._flights:
            later = replace(context, deadline=Deadline.after_ms(REFRESH_LIMIT_MS))
            self._launch(name, later, renew=True, kept=True)

    def _launch(
        self, name: Name, context: RoutingContext, *, renew: bool, kept: bool = False
    ) -> _InFlightLookup | None:
        flight = _InFlightLookup(asyncio.get_running_loop().create_future(), kept)
        work = self._fly(name, context, flight, renew=renew)
        if not self._background.start(work, f"cache {name[0][:8]}"):
            return None
        self._flights[name, renew] = flight
        return flight

    async def _fly(
        self, name: Name, context: RoutingContext, flight: _InFlightLookup, *, renew: bool
    ) -> None:
        flight.task = asyncio.current_task()
        try:
            verdict, outcome, fresh = await self._answer(name, context, renew=renew)
        except Exception as error:
            if flight.kept and not flight.waiters:
                log.info("a cached verdict was not renewed: %s", error)
            flight.result.set_exception(error)
            flight.result.exception()  # seen here: nobody may be waiting any more
            return
        except BaseException:
            flight.result.set_result((None, "miss"))  # who still waits goes on to the next stage
            raise
        else:
            flight.result.set_result((verdict, outcome))
        finally:
            self._forget(name, flight, renew=renew)
        if fresh is not None:
            await self._save(name, fresh)

    def _forget(self, name: Name, flight: _InFlightLookup, *, renew: bool) -> None:
        if self._flights.get((name, renew)) is flight:
            del self._flights[name, renew]

    async def _answer(
        self, name: Name, context: RoutingContext, *, renew: bool
    ) -> tuple[StageResult | None, str, CachedResult | None]:
        """The verdict, how the lookup went, and the entry to store where there is a new one."""
        outcome = "off"
        if not renew:
            entry, outcome = await self._load(name)
            if entry is not None:
                kept = self._keep(name, entry)
                if outcome == "stale":
                    self._renew(name, context)
                return kept.verdict, outcome, None
        verdict = await self._inner.decide(context)
        if (
            verdict is None
            or not verdict.cacheable
            or verdict.source in _NEVER_CACHED
            or verdict.target not in context.eligible
        ):
            return verdict, outcome, None
        now, ttl_s = self._policy.clock(), self._policy.ttl_s
        fresh = CachedResult(verdict, now, now + ttl_s, now + 2 * ttl_s)
        self._keep(name, fresh)
        return verdict, outcome, fresh

    async def _load(self, name: Name) -> tuple[CachedResult | None, str]:
        try:
            data = await self._store.get(self._stored_under(name))
            entry = None if data is None else decode_cached(data)
        except (StoreFailed, CodecError) as failure:
            self._complain("read", failure)
            return None, "error"
        now = self._policy.clock()
        if entry is None or now >= entry.expires_at or entry.verdict.target not in name[2]:
            return None, "miss"
        return entry, "hit" if now < entry.fresh_until else "stale"

    async def _save(self, name: Name, entry: CachedResult) -> None:
        lifetime_s = entry.expires_at - entry.created_at
        try:
            await self._store.put(self._stored_under(name), encode_cached(entry), lifetime_s)
        except (StoreFailed, CodecError) as failure:
            self._policy.observe("error")
            self._complain("written", failure)

    def _stored_under(self, name: Name) -> str:
        return f"cache:{self._key(*name)}"

    def _keep(self, name: Name, entry: CachedResult) -> _Kept:
        kept = _Kept(_as_served(entry.verdict), entry.fresh_until, entry.expires_at)
        self._near[name] = kept
        self._near.move_to_end(name)
        if len(self._near) > self._policy.entries:
            self._near.popitem(last=False)
        return kept

    def _complain(self, what: str, failure: Exception) -> None:
        now = self._policy.clock()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_EVERY_S
            log.warning("the decision cache was not %s, deciding afresh: %s", what, failure)


def _as_served(verdict: StageResult) -> StageResult:
    """The verdict as a hit returns it: it names where it came from, and costs nothing again."""
    return replace(
        verdict,
        source=Source.CACHE,
        reason=f"cached, first decided by {verdict.source.value}: {verdict.reason}",
        cacheable=False,
        cost_usd=0.0,
    )
