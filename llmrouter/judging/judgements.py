"""Judgements of requests: from the cache, or by asking the router LLM, behind one interface."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from llmrouter.domain.catalog import Catalog, RouterLLM
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import CallPrice, Found, Judged
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.domain.target import Target
from llmrouter.judging.cache import JudgementCache, Key
from llmrouter.judging.judge import Judge
from llmrouter.util.lru import Recent

REFRESH_LIMIT_MS: Final = 10_000.0
MAX_JUDGED: Final = 64
"""Targets in one judgement; in a larger catalog those that are eligible come first."""


class StoredJudgements:
    """Implements `Judgements`. Confined to one event loop."""

    def __init__(self, judge: Judge, cache: JudgementCache) -> None:
        self._judge = judge
        self._cache = cache
        self._catalog: Catalog | None = None
        self._revision = ""
        self._tried: Recent[tuple[Key, tuple[str, ...]], bool] = Recent(4 * 1024 * 1024)

    async def find(self, context: RoutingContext) -> Found:
        """What is known of a request; `router.cache` may ask for nothing to be known."""
        mode = context.request.options.cache
        if mode != "use" or context.catalog.router is None:
            outcome = "miss" if mode == "use" else "off"
            return Found(None, outcome)
        entry, outcome = await self._cache.find(self._key(context))
        if entry is None:
            return Found(None, outcome)
        return Found(entry.judgement, outcome, entry.fresh_until)

    async def ask(self, context: RoutingContext) -> Judged | None:
        """A new judgement, kept unless the request wants it off. Raises RouterLLMFailed."""
        targets = self._targets(context)
        if context.request.options.cache == "off":
            return await self._judge.judge(context, targets)
        return await self._cache.share(
            self._key(context), lambda: self._judge.judge(context, targets)
        )

    def price(self, context: RoutingContext) -> CallPrice | None:
        """What asking takes lately; None before the first call."""
        llm = context.catalog.router
        return None if llm is None else self._judge.price(llm)

    def renew(self, context: RoutingContext) -> None:
        """Ask behind the requests, unless that is under way."""
        later = _without_hurry(context)
        targets = self._targets(context)
        self._cache.renew(self._key(context), lambda: self._judge.judge(later, targets))

    def complete(self, context: RoutingContext, known: Judgement) -> None:
        """Ask behind the requests about the eligible targets that `known` does not cover.

        Once for a request and these targets: a server that leaves one out is not asked for ever.
        """
        missing = known.missing(context.targets())
        key = self._key(context)
        name = key, tuple(text_key(one) for one in missing)
        if not missing or self._tried.get(name):
            return
        self._tried.keep(name, True, 0)
        later = _without_hurry(context)
        self._cache.renew(key, lambda: self._judge.judge(later, missing, known), partial=True)

    def _key(self, context: RoutingContext) -> Key:
        if context.catalog is not self._catalog:
            self._catalog, self._revision = context.catalog, judge_revision(context.catalog)
        return context.features.subject, self._revision

    def _targets(self, context: RoutingContext) -> tuple[Target, ...]:
        """All that may ever be chosen for such a request, so that no constraint asks anew."""
        first = {target.id: target for target in context.targets()}
        every = {**first, **{target.id: target for target in context.catalog.enabled}}
        return tuple(every.values())[:MAX_JUDGED]


def judge_revision(catalog: Catalog) -> str:
    """What a judgement depends on beside the request and the targets' texts: who is asked, how.

    Where the model is reached is no part of it.
    """
    llm: RouterLLM | None = catalog.router
    if llm is None:
        return ""
    return f"{catalog.prompt_version}:{llm.protocol}:{llm.model}"


def _without_hurry(context: RoutingContext) -> RoutingContext:
    return replace(context, deadline=Deadline.after_ms(REFRESH_LIMIT_MS))
