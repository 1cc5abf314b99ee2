"""What was decided and what came of it, appended behind the requests.

Entries are JSON lines, written a batch at a time to one bounded log of the store. Prompt text is
left out unless the operator asked for it. Never waits, never fails a request: when the store is
down or the buffer is full, entries are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Audit, Decision, Feedback, RoutingContext, ShadowComparison
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

LOG_NAME = "journal"
Line = Callable[[Any, Any], bytes]


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """`keep` batches of up to `batch` entries stay in the log, `buffered` entries at most wait,
    `flush_s` seconds between writes."""

    record_prompts: bool = False
    keep: int = 4_000
    batch: int = 500
    buffered: int = 20_000
    flush_s: float = 0.5


class Journal:
    """Implements the journal port on a store's log."""

    def __init__(self, store: Store, options: JournalOptions | None = None) -> None:
        self._store = store
        self._options = options or JournalOptions()
        self._buffer: list[tuple[Line, Any, Any]] = []
        self._awaited: list[tuple[bytes, asyncio.Future[None]]] = []
        self._keeping: asyncio.Future[None] | None = None
        self.dropped = 0

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Note a decision with the request's features."""
        rest = decision.common.get("journal")
        if rest is None:  # written at once: a question is ten times its line, and would wait
            self._note(_as_it_is, self._decision_line(decision, context), None)
        else:  # an equal one was written before
            self._note(_line, decision, rest)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Note what an execution came to."""
        self._note(_completion_line, decision, (completion, time.time()))

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Note feedback; the comment only where prompts may be recorded."""
        self._note(self._feedback_line, decision, feedback)

    async def keep_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Write feedback and return once it is in the store. Raises StoreFailed.

        What arrives while an earlier write runs is written together in the next one.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((self._feedback_line(decision, feedback), done))
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep_awaited())
        await asyncio.shield(done)

    async def _keep_awaited(self) -> None:
        while self._awaited:
            waiting, self._awaited = self._awaited, []
            batch = b"\n".join(line for line, _ in waiting)
            failure: Exception | None = None
            try:
                await self._store.append(LOG_NAME, [batch], self._options.keep, durable=True)
            except StoreFailed as failed:
                failure = failed
            for _, done in waiting:
                if done.cancelled():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(StoreFailed(str(failure)))
                    done.exception()  # the waiter may have left

    def shadowed(self, one: ShadowComparison) -> None:
        """Note what a strategy that decides alongside would have chosen."""
        self._note(_shadow_line, one, time.time())

    def audited(self, audit: Audit) -> None:
        """Note what the router LLM said behind a request, and what it took."""
        self._note(_audit_line, audit, time.time())

    def embedded(self, encoder: str, tokens: int, cost_usd: float) -> None:
        """Note what a text's vector took, in the place of a target's name the encoder's."""
        self._note(_embedding_line, (encoder, tokens, cost_usd), time.time())

    async def run(self) -> None:
        """Write until cancelled, then once more."""
        await repeatedly(self.flush, self._options.flush_s)

    async def flush(self) -> None:
        """Append what waits. A store that is down costs the entries, and says so."""
        if not self._buffer:
            return
        waiting, self._buffer = self._buffer, []
        try:
            batch = self._options.batch
            for start in range(0, len(waiting), batch):
                lines = await asyncio.to_thread(_encoded, waiting[start : start + batch])
                await self._store.append(LOG_NAME, [lines], self._options.keep)
        except StoreFailed as failure:
            self.dropped += len(waiting)
            log.warning("%d journal entries not kept: %s", len(waiting), failure)

    async def tail(self, last: int) -> list[dict[str, Any]]:
        """The newest `last` entries, oldest first. Raises StoreFailed."""
        await self.flush()
        batches = await self._store.tail(LOG_NAME, last)
        return await asyncio.to_thread(_decoded, batches, last)

    async def newest_first(self) -> AsyncIterator[list[bytes]]:
        """All entries as their JSON lines: the newest batch first, the oldest line of it first.

        Entries that are written meanwhile may come a second time. Raises StoreFailed.
        """
        await self.flush()
        skip, look = 0, 1
        while batches := await self._store.tail(LOG_NAME, look, skip):
            for batch in reversed(batches):
                yield batch.split(b"\n")
            skip, look = skip + look, min(look * 2, 32)

    def _note(self, line: Line, about: Any, more: Any) -> None:
        if len(self._buffer) < self._options.buffered:
            self._buffer.append((line, about, more))
        else:
            self.dropped += 1

    def _feedback_line(self, decision: Decision, feedback: Feedback) -> bytes:
        comment = feedback.comment if self._options.record_prompts else None
        entry = {
            "kind": "feedback",
            "at": feedback.created_at,
            "decision_id": decision.decision_id,
            "tenant": decision.tenant,
            "target": decision.target,
            "task": decision.task,
            "fingerprint": decision.fingerprint,
            "score": feedback.score,
            "preferred": feedback.preferred,
            "comment": comment,
            "key": feedback.caller,
        }
        return orjson.dumps(entry)

    def _decision_line(self, decision: Decision, context: RoutingContext) -> bytes:
        rest = orjson.dumps(self._about(decision, context))[1:]
        if not self._options.record_prompts:  # equal decisions may be of other words
            decision.share("journal", rest)
        return _line(decision, rest)

    def _about(self, decision: Decision, context: RoutingContext) -> dict[str, Any]:
        """A decision's entry without what is new each time the same question is asked."""
        features = context.features
        traits = features.traits
        entry: dict[str, Any] = {
            "tenant": decision.tenant,
            "key": context.caller.name,
            "source": decision.source.value,
            "target": decision.target,
            "task": decision.task,
            "confidence": decision.confidence,
            "propensity": decision.propensity,
            "fingerprint": decision.fingerprint,
            "catalog_version": decision.catalog_version,
            "eligible": list(context.eligible),
            "estimate_usd": decision.estimate.cost_usd,
            "router_usd": decision.router_cost_usd,
            "asked": _asked(context),
            "features": {
                "input_tokens": features.input_tokens,
                "output_tokens": features.output_tokens,
                "asked_output": features.asked_output,
                "needs": sorted(features.needs),
                "turns": features.turns,
                "tools": features.tools,
                "task": traits.task,
                "words": traits.words,
                "code": traits.code,
                "math": traits.math,
                "language": traits.language,
            },
        }
        if self._options.record_prompts:
            entry["prompt"] = features.text
            entry["request"] = context.request.body.decode("utf-8", "replace")
        return entry


def _asked(context: RoutingContext) -> dict[str, Any]:
    """What limited the choice, as far as it was said: options, the tier in force, the key's own."""
    request, caller = context.request, context.caller
    options = request.options
    said = {
        "model": None if request.model == "auto" else request.model,
        "tier": caller.tier or options.tier,
        "allow": options.allow,
        "deny": options.deny or None,
        "latency_budget_ms": options.latency_budget_ms,
        "max_cost_usd": options.max_cost_usd,
        "quality": options.quality,
        "strategy": None if options.strategy == "auto" else options.strategy,
        "key_allow": None if caller.allow is None else sorted(caller.allow),
    }
    return {name: value for name, value in said.items() if value is not None}


def _as_it_is(line: bytes, _: None) -> bytes:
    return line


def _line(decision: Decision, rest: bytes) -> bytes:
    at, name = orjson.dumps(decision.created_at), orjson.dumps(decision.decision_id)
    return b'{"kind":"decision","at":%b,"decision_id":%b,%b' % (at, name, rest)


def _encoded(entries: list[tuple[Line, Any, Any]]) -> bytes:
    return b"\n".join([line(about, more) for line, about, more in entries])


def _decoded(batches: list[bytes], last: int) -> list[dict[str, Any]]:
    lines: list[bytes] = []
    for batch in reversed(batches):
        lines[:0] = batch.split(b"\n")
        if len(lines) >= last:
            break
    return [orjson.loads(line) for line in lines[-last:]]


def _shadow_line(one: ShadowComparison, at: float) -> bytes:
    entry = {
        "kind": "shadow",
        "at": at,
        "tenant": one.tenant,
        "task": one.task,
        "target": one.live,
        "strategy": one.strategy,
        "outcome": one.outcome,
        "shadow": one.target,
        "live_usd": one.live_usd,
        "shadow_usd": one.usd,
        "live_quality": one.live_quality,
        "shadow_quality": one.quality,
        "router_usd": one.own_usd,
    }
    return orjson.dumps(entry)


def _completion_line(decision: Decision, more: tuple[Completion, float]) -> bytes:
    completion, at = more
    entry = {
        "kind": "outcome",
        "at": at,
        "decision_id": decision.decision_id,
        "tenant": decision.tenant,
        "task": decision.task,
        "target": completion.target,
        "fingerprint": decision.fingerprint,
        "cost_usd": completion.cost_usd,
        "latency_ms": completion.latency_ms,
        "finish_reason": completion.finish_reason,
        "attempts": [
            {
                **a.public(),
                "status": a.status,
                "confidence": a.confidence,
                "signals": a.signals,
            }
            for a in completion.attempts
        ],
    }
    return orjson.dumps(entry)


def _audit_line(audit: Audit, at: float) -> bytes:
    return orjson.dumps(
        {
            "kind": "again" if audit.again else "audit",
            "at": at,
            "tenant": audit.tenant,
            "task": audit.task,
            "fingerprint": audit.fingerprint,
            "target": audit.target,
            "named": audit.named,
            "agreed": audit.agreed,
            "router_usd": audit.cost_usd,
        }
    )


def _embedding_line(took: tuple[str, int, float], at: float) -> bytes:
    encoder, tokens, cost_usd = took
    entry = {"kind": "embedding", "at": at, "target": encoder}
    return orjson.dumps({**entry, "tokens": tokens, "cost_usd": cost_usd})
