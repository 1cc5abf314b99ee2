"""Remembers judgements, so that one call of the router LLM serves many decisions.

The key is what was judged: the request's content with its system prompt and tenant, the version of
the router prompt, the router LLM and its protocol. The value is a probability for each judged
target *text*. What a decision weighs beside that (constraints, tier, deny lists, prices, quality,
deadlines, health) takes no part, so none of it costs a call when it changes; an edited description
is another text, and is judged alone.

Judgements are fresh for `ttl_s`, then serve for as long again while one background call renews
them. Identical requests that meet a miss together share one call; a waiter that leaves does not end
it for the others, and one that nobody waits for is ended. A store that fails is a miss, counted as
`error` and logged at most once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from llmrouter.domain.interfaces import Judged, Store
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.serialization import (
    CachedJudgement,
    CodecError,
    decode_judgement,
    encode_judgement,
)
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

LOG_EVERY_S: Final = 60.0
Key = tuple[str, str]
"""What was asked (a request's `subject`) and of whom (see `judge_revision`)."""
StoredKey = Callable[[str, str, tuple[str, ...]], str]
"""From a key's parts to the name of the stored entry, which says nothing of the request."""
Ask = Callable[[], Awaitable[Judged]]


def _unobserved(_: str) -> None:
    """The outcome goes nowhere."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """`ttl_s` is how long a judgement is fresh, `entries` how many stay decoded in memory.

    `observe` hears of every lookup: `hit`, `stale`, `miss`, `off` or `error`. `clock` gives
    seconds since the epoch.
    """

    ttl_s: float = 86_400.0
    entries: int = 10_000
    observe: Callable[[str], None] = _unobserved
    clock: Callable[[], float] = time.time


@dataclass(slots=True)
class _InFlightCall:
    """One shared call. `kept` is true when it runs whether or not anyone waits."""

    result: asyncio.Future[Judged | None]
    kept: bool
    waiters: int = 0
    paid: bool = False
    task: asyncio.Task[None] | None = field(default=None)

    def pays(self) -> bool:
        """True once: one call is on one bill, however many share it."""
        paid, self.paid = self.paid, True
        return not paid


class JudgementCache:
    """Judgements in memory, then in the store. Confined to one event loop."""

    def __init__(
        self,
        store: Store,
        stored_key: StoredKey,
        background: Background,
        policy: CachePolicy = CachePolicy(),
    ) -> None:
        self._store = store
        self._stored_key = stored_key
        self._background = background
        self.policy = policy
        self._near: OrderedDict[Key, CachedJudgement] = OrderedDict()
        self._flights: dict[tuple[Key, bool], _InFlightCall] = {}
        self._quiet_until = 0.0

    def __len__(self) -> int:
        return len(self._near)

    def near(self, key: Key) -> CachedJudgement | None:
        """The entry in memory, unless it has expired; nothing is awaited."""
        entry = self._near.get(key)
        if entry is None:
            return None
        if self.policy.clock() >= entry.expires_at:
            del self._near[key]
            return None
        self._near.move_to_end(key)
        return entry

    async def find(self, key: Key) -> tuple[CachedJudgement | None, str]:
        """The entry in memory or in the store, and how the lookup went."""
        entry = self.near(key)
        if entry is None:
            try:
                data = await self._store.get(self._stored_under(key))
                entry = None if data is None else decode_judgement(data)
            except (StoreFailed, CodecError) as failure:
                self._complain("read", failure)
                return None, "error"
            if entry is None or self.policy.clock() >= entry.expires_at:
                return None, "miss"
            self._keep(key, entry)
        return entry, "hit" if self.policy.clock() < entry.fresh_until else "stale"

    def fresh(self, entry: CachedJudgement) -> bool:
        """Whether the entry need not be renewed yet."""
        return self.policy.clock() < entry.fresh_until

    async def share(self, key: Key, ask: Ask, *, partial: bool = False) -> Judged | None:
        """The judgement that `ask` gives, by one call for all who wait for this key.

        `partial`: it is of some targets alone, and joins what is known of the others. Raises what
        `ask` raises; None where the call was ended.
        """
        flight = self._flights.get((key, partial)) or self._launch(key, ask, partial=partial)
        if flight is None:  # too much runs behind already: this request does its own work
            judged = await ask()
            await self._write(key, self.keep(key, judged.judgement, partial=partial))
            return judged
        flight.waiters += 1
        try:
            shared: Judged | None = await asyncio.shield(flight.result)
            return shared if shared is None or flight.pays() else replace(shared, cost_usd=0.0)
        except RouterLLMFailed as failed:
            if failed.cost_usd and not flight.pays():
                raise RouterLLMFailed(failed.kind, failed.detail, status=failed.status) from None
            raise
        finally:
            flight.waiters -= 1
            if not (flight.waiters or flight.kept or flight.result.done()) and flight.task:
                self._forget((key, partial), flight)
                flight.task.cancel()

    def renew(self, key: Key, ask: Ask, *, partial: bool = False) -> None:
        """Ask in the background, unless a call for this key is in flight."""
        if (key, partial) not in self._flights:
            self._launch(key, ask, partial=partial, kept=True)

    def keep(self, key: Key, judgement: Judgement, *, partial: bool = False) -> CachedJudgement:
        """Have a judgement at hand; a partial one grows no older than what it joins."""
        known = self.near(key) if partial else None
        if known is not None:
            entry = replace(known, judgement=known.judgement.with_more(judgement))
        else:
            now, ttl_s = self.policy.clock(), self.policy.ttl_s
            entry = CachedJudgement(judgement, now, now + ttl_s, now + 2 * ttl_s)
        self._keep(key, entry)
        return entry

    async def _write(self, key: Key, entry: CachedJudgement) -> None:
        left_s = max(entry.expires_at - self.policy.clock(), 1.0)
        try:
            await self._store.put(self._stored_under(key), encode_judgement(entry), left_s)
        except (StoreFailed, CodecError) as failure:
            self.policy.observe("error")
            self._complain("written", failure)

    def _launch(
        self, key: Key, ask: Ask, *, partial: bool, kept: bool = False
    ) -> _InFlightCall | None:
        flight = _InFlightCall(asyncio.get_running_loop().create_future(), kept)
        work = self._fly((key, partial), ask, flight)
        if not self._background.start(work, f"judge {key[0][:8]}"):
            return None
        self._flights[key, partial] = flight
        return flight

    async def _fly(self, name: tuple[Key, bool], ask: Ask, flight: _InFlightCall) -> None:
        flight.task = asyncio.current_task()
        try:
            judged = await ask()
            entry = self.keep(name[0], judged.judgement, partial=name[1])
        except Exception as error:
            if flight.kept and not flight.waiters:
                log.info("a judgement was not renewed: %s", error)
            flight.result.set_exception(error)
            flight.result.exception()  # retrieved here: there may be no waiter left
            return
        except BaseException:
            flight.result.set_result(None)  # who still waits goes on to the next stage
            raise
        else:
            flight.result.set_result(judged)
        finally:
            self._forget(name, flight)
        await self._write(name[0], entry)

    def _forget(self, name: tuple[Key, bool], flight: _InFlightCall) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]

    def _keep(self, key: Key, entry: CachedJudgement) -> None:
        self._near[key] = entry
        self._near.move_to_end(key)
        if len(self._near) > self.policy.entries:
            self._near.popitem(last=False)

    def _stored_under(self, key: Key) -> str:
        return f"judgement:{self._stored_key(*key, ())}"

    def _complain(self, what: str, failure: Exception) -> None:
        now = self.policy.clock()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_EVERY_S
            log.warning("the judgement cache was not %s, judging afresh: %s", what, failure)
