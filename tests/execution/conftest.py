"""A faulty upstream, a relay in front of it and what an executor needs, per test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from llmrouter.domain.catalog import Cascade, Fallback
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.reply import ReplyEvent
from llmrouter.execution.executor import Execution, Executor, ExecutorOptions
from llmrouter.execution.plan import Order
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.relay import Relay, RelayLimits
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_request, a_target
from tests.faulty import FaultyUpstream

FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
NO_REPEAT = Fallback(retries=0)
LIMITS = RelayLimits(connect_s=1.0, first_byte_s=0.15, idle_s=0.15)


@dataclass
class Bench:
    """An executor on a real socket, and everything that watches it."""

    upstream: FaultyUpstream
    relay: Relay
    observer: RecordingObserver
    health: TargetHealth
    make: Callable[..., Executor]

    def order(
        self,
        *modes: str,
        stream: bool = False,
        deadline_ms: float | None = None,
        targets: dict[str, dict[str, Any]] | None = None,
        request: Any = None,
        cascade: bool = False,
        cascade_settings: Cascade | None = None,
        escalate: int = 0,
        **catalog: Any,
    ) -> Order:
        """An order whose targets are called after what their upstream does, in that order."""
        made = [
            a_target(
                mode,
                **{
                    "base_url": self.upstream.url(mode),
                    "timeout_s": 0.3,
                    **(targets or {}).get(mode, {}),
                },
            )
            for mode in modes
        ]
        return Order(
            request or a_request(**({"stream": True} if stream else {})),
            a_decision(modes[0], *modes[1:], cascade=cascade),
            a_catalog(*made, cascade=cascade_settings or Cascade(), **catalog),
            Deadline.after_ms(deadline_ms),
            escalate=escalate,
        )

    def run(self, *modes: str, executor: Executor | None = None, **how: Any) -> Execution:
        """An execution of such an order."""
        return (executor or self.make()).run(self.order(*modes, **how))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Checks at the end that no task, span, slot or connection is left."""
    before = asyncio.all_tasks()
    observer, health = RecordingObserver(), TargetHealth(threshold=10**9)
    async with FaultyUpstream() as upstream:
        relay = Relay(limits=LIMITS, env={"KEY": "sk-1"}.get)
        made: list[Executor] = []

        def make(**options: Any) -> Executor:
            executor = Executor(
                relay, observer, health, ExecutorOptions(jitter=lambda: 0.01, **options)
            )
            made.append(executor)
            return executor

        yield Bench(upstream, relay, observer, health, make)
        assert all(span.ended for span in observer.spans)
        for executor in made:
            limits = executor.options.limits
            assert not any(limits.running(mode) or limits.waiting(mode) for mode in ("ok", "hang"))
        session = relay._session
        if session is not None:
            connector = session.connector
            assert isinstance(connector, aiohttp.TCPConnector)
            assert not connector._acquired
        await relay.close()
        for _ in range(200):
            if not upstream.open:
                break
            await asyncio.sleep(0.01)
        assert upstream.open == 0
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not leaked


async def collect(execution: Execution) -> list[ReplyEvent]:
    """Everything an execution yields."""
    return [event async for event in execution]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")
