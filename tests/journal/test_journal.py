"""The journal: what is kept of a request, what never is, and what a broken store costs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from llmrouter.domain.chat import ANONYMOUS, Caller, RouterOptions
from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Audit, Decision, Feedback, RoutingContext, ShadowComparison
from llmrouter.domain.features import Features, Traits
from llmrouter.errors import StoreFailed
from llmrouter.journal.journal import LOG_NAME, Journal, JournalOptions
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_decision, a_request

SECRET = "the password is swordfish"


class Down(MemoryStore):
    """A store whose log is down."""

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Fails."""
        raise StoreFailed("down")


def context(text: str = SECRET, caller: Caller = ANONYMOUS) -> RoutingContext:
    """A question that holds a secret in its prompt and system prompt."""
    features = Features(
        "f" * 32, "c" * 32, text, f"system: {text}", 20, 50, frozenset({"tools"}), 2, True, False,
        read_traits=lambda: Traits("code", "de", 5, True, False, False),
    )  # fmt: skip
    return RoutingContext(a_request(text), features, a_catalog(), ("small", "large"), caller=caller)


def noted(journal: Journal, **over: Any) -> Decision:
    """A decision, its outcome and a rating with a comment, all noted."""
    decision = a_decision(**over)
    attempts = (
        Attempt(
            "small",
            "rejected",
            "schema: no",
            5.0,
            0.001,
            status=200,
            confidence=0.4,
            signals=("schema",),
        ),
        Attempt("large", "ok", "", 9.0, 0.01, status=200),
    )
    journal.decided(decision, context())
    journal.completed(decision, Completion("large", attempts, 0.011, 14.0, "stop"))
    journal.observe_feedback(decision, Feedback("d-1", -0.5, "large", SECRET, "app", 7.0))
    return decision


async def raw(store: MemoryStore) -> bytes:
    """Every byte that was written."""
    return b"\n".join(await store.tail(LOG_NAME, 10_000))


async def test_decision_outcome_and_feedback_come_back_in_order() -> None:
    """With what a replay and a report need, joined by the decision's id."""
    journal = Journal(MemoryStore())
    noted(journal, tenant="t", created_at=5.0, propensity=0.5, router_cost_usd=0.002)
    decision, outcome, feedback = await journal.tail(10)
    assert decision == {
        "kind": "decision", "at": 5.0, "decision_id": "d-1", "tenant": "t", "key": "anonymous",
        "source": "rules", "target": "small", "task": "general", "confidence": 0.9,
        "propensity": 0.5, "fingerprint": "f" * 32, "catalog_version": "v1",
        "eligible": ["small", "large"], "estimate_usd": 0.0001, "router_usd": 0.002,
        "asked": {},
        "features": {
            "input_tokens": 20, "output_tokens": 50, "asked_output": False, "needs": ["tools"],
            "turns": 2, "tools": True, "task": "code", "words": 5, "code": True, "math": False,
            "language": "de",
        },
    }  # fmt: skip
    assert (outcome["kind"], outcome["decision_id"], outcome["target"]) == (
        "outcome", "d-1", "large",
    )  # fmt: skip
    assert (outcome["cost_usd"], outcome["latency_ms"], outcome["tenant"]) == (0.011, 14.0, "t")
    told = ("target", "outcome", "confidence", "signals")
    assert [tuple(a[name] for name in told) for a in outcome["attempts"]] == [
        ("small", "rejected", 0.4, ["schema"]),
        ("large", "ok", None, []),
    ]
    assert feedback["at"] == 7.0
    assert (feedback["kind"], feedback["score"], feedback["preferred"], feedback["key"]) == (
        "feedback", -0.5, "large", "app",
    )  # fmt: skip


@pytest.mark.parametrize(("again", "kind"), [(False, "audit"), (True, "again")])
async def test_what_the_router_llm_said_behind_a_request_is_kept(again: bool, kind: str) -> None:
    """With what it took: a report without it would call learned answers free."""
    journal = Journal(MemoryStore())
    journal.audited(Audit("t", "math", "f" * 32, "small", "large", False, 0.002, again))
    (entry,) = await journal.tail(10)
    assert entry.pop("at") > 0
    assert entry == {
        "kind": kind, "tenant": "t", "task": "math", "fingerprint": "f" * 32,
        "target": "small", "named": "large", "agreed": False, "router_usd": 0.002,
    }  # fmt: skip


async def test_nothing_of_a_prompt_is_written_unasked() -> None:
    """Neither prompt, system prompt nor comment, in any form."""
    store = MemoryStore()
    journal = Journal(store)
    noted(journal)
    await journal.flush()
    written = await raw(store)
    assert written
    assert b"swordfish" not in written


async def test_what_limited_the_choice_is_kept() -> None:
    """A request can be decided again without its words: only what was said is written."""
    journal = Journal(MemoryStore())
    options = RouterOptions(
        tier="pro", deny=("small",), max_cost_usd=0.5, quality=0.0, strategy="rules", session="me"
    )
    limited = replace(
        context(caller=Caller("app", allow=frozenset({"small", "large"}))),
        request=a_request(options=options, model="large"),
    )
    journal.decided(a_decision(), limited)
    (entry,) = await journal.tail(1)
    assert entry["asked"] == {
        "model": "large", "tier": "pro", "deny": ["small"], "max_cost_usd": 0.5, "quality": 0.0,
        "strategy": "rules", "key_allow": ["large", "small"],
    }  # fmt: skip


async def test_the_operator_may_ask_for_prompts() -> None:
    """Then the last turn, the whole request and the comment are there for replay."""
    journal = Journal(MemoryStore(), JournalOptions(record_prompts=True))
    noted(journal)
    decision, _, feedback = await journal.tail(10)
    assert decision["prompt"] == SECRET
    assert orjson.loads(decision["request"])["messages"][0]["content"] == SECRET
    assert feedback["comment"] == SECRET


async def test_recorded_prompts_are_each_its_own() -> None:
    """Two requests with one decision's facts keep their own words."""
    journal = Journal(MemoryStore(), JournalOptions(record_prompts=True))
    decision = a_decision()
    journal.decided(decision, context("one"))
    journal.decided(decision, context("two"))
    assert [entry["prompt"] for entry in await journal.tail(10)] == ["one", "two"]


async def test_a_full_buffer_drops_and_counts() -> None:
    """A store that is slow costs entries, never memory."""
    journal = Journal(MemoryStore(), JournalOptions(buffered=2))
    noted(journal)
    assert journal.dropped == 1
    assert len(await journal.tail(10)) == 2


async def test_a_store_that_is_down_drops_counts_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Noting goes on."""
    journal = Journal(Down())
    noted(journal)
    with caplog.at_level(logging.WARNING):
        await journal.flush()
    assert journal.dropped == 3
    assert "3 journal entries not kept: down" in caplog.text


async def test_batches_come_back_as_one_log() -> None:
    """However they were cut, the newest entries come, oldest first."""
    journal = Journal(MemoryStore(), JournalOptions(batch=4))
    for number in range(10):
        journal.decided(a_decision(decision_id=f"d-{number}"), context())
    tail = await journal.tail(7)
    assert [entry["decision_id"] for entry in tail] == [f"d-{n}" for n in range(3, 10)]
    assert len(await journal.tail(100)) == 10


async def test_the_log_is_bounded() -> None:
    """`keep` batches stay."""
    journal = Journal(MemoryStore(), JournalOptions(batch=1, keep=3))
    for number in range(5):
        journal.decided(a_decision(decision_id=f"d-{number}"), context())
    assert [e["decision_id"] for e in await journal.tail(100)] == ["d-2", "d-3", "d-4"]


async def test_it_writes_by_itself_and_once_more_at_the_end() -> None:
    """What came right before the end is not lost with the process."""
    store = MemoryStore()
    journal = Journal(store, JournalOptions(flush_s=0.001))
    running = asyncio.ensure_future(journal.run())
    journal.decided(a_decision(decision_id="first"), context())
    async with asyncio.timeout(60):
        while b"first" not in await raw(store):  # noqa: ASYNC110 - a store has no event
            await asyncio.sleep(0.001)
    journal.decided(a_decision(decision_id="last"), context())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert b"last" in await raw(store)


async def test_a_shadow_is_written_down_without_the_request_s_words() -> None:
    """With what the report needs: both choices, both costs, both estimates, its own cost."""
    store = MemoryStore()
    journal = Journal(store)
    journal.shadowed(
        ShadowComparison(
            "llm", "disagreed", "acme", "code", "small", 0.25, 0.5, "large", 0.75, 0.9, 0.125
        )
    )
    (entry,) = await journal.tail(10)
    assert entry.pop("at") > 0
    assert entry == {
        "kind": "shadow",
        "tenant": "acme",
        "task": "code",
        "target": "small",
        "strategy": "llm",
        "outcome": "disagreed",
        "shadow": "large",
        "live_usd": 0.25,
        "shadow_usd": 0.75,
        "live_quality": 0.5,
        "shadow_quality": 0.9,
        "router_usd": 0.125,
    }
