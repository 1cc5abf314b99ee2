"""What was decided and what came of it, appended behind the requests.

Entries are JSON lines in one bounded log of the store. Prompt text is left out unless the operator
asked for it. Never waits, never fails a request: when the store is down or the buffer is full,
entries are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.domain.decision import Decision, Feedback, Question
from llmrouter.domain.ports import Store
from llmrouter.domain.reply import Completion
from llmrouter.errors import StoreFailed

log = logging.getLogger(__name__)

LOG_NAME = "journal"


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """`keep` entries stay in the log, `buffered` at most wait, `flush_s` seconds between writes."""

    record_prompts: bool = False
    keep: int = 200_000
    buffered: int = 20_000
    flush_s: float = 0.5


class Journal:
    """Implements the journal port on a store's log."""

    def __init__(self, store: Store, options: JournalOptions | None = None) -> None:
        self._store = store
        self._options = options or JournalOptions()
        self._buffer: list[Callable[[], dict[str, Any]]] = []
        self.dropped = 0

    def decided(self, decision: Decision, question: Question) -> None:
        """Note a decision with the request's features."""
        self._note(lambda: self._decision_entry(decision, question))

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Note what an execution came to."""
        at = time.time()
        self._note(lambda: _completion_entry(decision, completion, at))

    def rated(self, decision: Decision, feedback: Feedback) -> None:
        """Note feedback; the comment only where prompts may be recorded."""
        comment = feedback.comment if self._options.record_prompts else None
        self._note(
            lambda: {
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
        )

    async def run(self) -> None:
        """Write until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(self._options.flush_s)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Append what waits. A store that is down costs the entries, and says so."""
        if not self._buffer:
            return
        waiting, self._buffer = self._buffer, []
        try:
            for start in range(0, len(waiting), 500):
                part = waiting[start : start + 500]
                entries = await asyncio.to_thread(_encoded, part)
                await self._store.append(LOG_NAME, entries, self._options.keep)
        except StoreFailed as failure:
            self.dropped += len(waiting)
            log.warning("%d journal entries not kept: %s", len(waiting), failure)

    async def tail(self, last: int) -> list[dict[str, Any]]:
        """The newest `last` entries, oldest first."""
        await self.flush()
        return [orjson.loads(entry) for entry in await self._store.tail(LOG_NAME, last)]

    def _note(self, entry: Callable[[], dict[str, Any]]) -> None:
        if len(self._buffer) < self._options.buffered:
            self._buffer.append(entry)
        else:
            self.dropped += 1

    def _decision_entry(self, decision: Decision, question: Question) -> dict[str, Any]:
        features = question.features
        traits = features.traits
        entry: dict[str, Any] = {
            "kind": "decision",
            "at": decision.created_at,
            "decision_id": decision.decision_id,
            "tenant": decision.tenant,
            "key": question.caller.name,
            "source": decision.source.value,
            "target": decision.target,
            "task": decision.task,
            "confidence": decision.confidence,
            "propensity": decision.propensity,
            "fingerprint": decision.fingerprint,
            "catalog_version": decision.catalog_version,
            "eligible": list(question.eligible),
            "estimate_usd": decision.estimate.cost_usd,
            "router_usd": decision.router_cost_usd,
            "features": {
                "input_tokens": features.input_tokens,
                "turns": features.turns,
                "tools": features.tools,
                "words": traits.words,
                "code": traits.code,
                "math": traits.math,
                "language": traits.language,
            },
        }
        if self._options.record_prompts:
            entry["prompt"] = features.text
            entry["request"] = question.request.body.decode("utf-8", "replace")
        return entry


def _encoded(entries: list[Callable[[], dict[str, Any]]]) -> list[bytes]:
    return [orjson.dumps(entry(), option=orjson.OPT_NON_STR_KEYS) for entry in entries]


def _completion_entry(decision: Decision, completion: Completion, at: float) -> dict[str, Any]:
    return {
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
            {**a.public(), "status": a.status, "confidence": a.confidence}
            for a in completion.attempts
        ],
    }
