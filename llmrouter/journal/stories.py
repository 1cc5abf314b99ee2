"""What came of each decision, under its id: the execution's attempts, and feedback.

The journal has the same in the order it happened; finding one decision there would mean reading all
of it. Here each execution and each rating is a value of its own, written behind the request and
kept as long as decisions are; so is the prompt's text where prompts are recorded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import orjson

from llmrouter.domain.chat import Caller
from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

TTL_S: Final = 86_400.0
WAITING: Final = 20_000
TOGETHER: Final = 32
"""How many writes are under way at once."""
TEXT_LIMIT: Final = 20_000
"""Characters of a prompt that its story shows."""
RATINGS: Final = 20
"""Ratings of one decision that are shown, one a key."""


class Stories:
    """Implements the journal port. Never waits, never fails a request."""

    def __init__(self, store: Store, record_prompts: bool = False, flush_s: float = 0.2) -> None:
        self._store = store
        self._record_prompts = record_prompts
        self._flush_s = flush_s
        self._prompts: dict[str, tuple[str, str]] = {}
        self._executions: dict[str, Completion] = {}
        self._ratings: dict[str, list[dict[str, Any]]] = {}

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Keep the prompt's text where prompts are recorded; the decision log has the rest."""
        if self._record_prompts and len(self._prompts) < WAITING:
            text = context.features.text[:TEXT_LIMIT]
            self._prompts[decision.decision_id] = context.caller.name, text

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Keep an execution; a decision that is executed again shows the last one."""
        if len(self._executions) < WAITING:
            self._executions[decision.decision_id] = completion

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Keep a key's last rating; its comment only where prompts may be recorded."""
        if len(self._ratings) < WAITING:
            rating = {
                "score": feedback.score,
                "preferred": feedback.preferred,
                "comment": feedback.comment if self._record_prompts else None,
                "key": feedback.caller,
                "at": feedback.created_at,
            }
            self._ratings.setdefault(decision.decision_id, []).append(rating)

    async def run(self) -> None:
        """Write until cancelled, then once more."""
        await repeatedly(self.flush, self._flush_s)

    async def flush(self) -> None:
        """Write what waits. A store that is down costs it, and says so."""
        executions, self._executions = list(self._executions.items()), {}
        ratings, self._ratings = self._ratings, {}
        values = [(f"execution:{name}", _packed(one)) for name, one in executions]
        prompts, self._prompts = self._prompts, {}
        values += [(f"prompt:{name}", orjson.dumps(said)) for name, said in prompts.items()]
        try:
            for start in range(0, len(values), TOGETHER):
                part = values[start : start + TOGETHER]
                await asyncio.gather(*(self._store.put(key, value, TTL_S) for key, value in part))
            for name, several in ratings.items():
                known = await self._read(f"ratings:{name}") or []
                of_key = {rating["key"]: rating for rating in (*known, *several)}
                newest = orjson.dumps([*of_key.values()][-RATINGS:])
                await self._store.put(f"ratings:{name}", newest, TTL_S)
        except StoreFailed as failure:
            log.warning("what came of decisions is not kept: %s", failure)

    async def find(self, decision_id: str, caller: Caller) -> dict[str, Any]:
        """`{"prompt": text or None, "execution": {...} or None, "feedback": [...]}`.

        A prompt is shown to the key that sent it and to the admin key. A dead store knows of
        nothing.
        """
        await self.flush()
        key, text = await self._read(f"prompt:{decision_id}") or ("", None)
        return {
            "prompt": text if caller.admin or key == caller.name else None,
            "execution": await self._read(f"execution:{decision_id}"),
            "feedback": await self._read(f"ratings:{decision_id}") or [],
        }

    async def _read(self, key: str) -> Any:
        try:
            data = await self._store.get(key)
            return None if data is None else orjson.loads(data)
        except (StoreFailed, ValueError) as failure:
            log.warning("what came of a decision is not read: %s", failure)
            return None


def _packed(completion: Completion) -> bytes:
    return orjson.dumps(
        {
            "target": completion.target,
            "cost_usd": completion.cost_usd,
            "latency_ms": completion.latency_ms,
            "finish_reason": completion.finish_reason,
            "phases_ms": completion.phases_ms and dict(completion.phases_ms),
            "attempts": [
                {
                    **attempt.public(),
                    "status": attempt.status,
                    "ttft_ms": attempt.ttft_ms,
                    "input_tokens": attempt.usage.input_tokens,
                    "output_tokens": attempt.usage.output_tokens,
                    "cached_tokens": attempt.usage.cached_tokens,
                    "signals": list(attempt.signals),
                }
                for attempt in completion.attempts
            ],
        }
    )
