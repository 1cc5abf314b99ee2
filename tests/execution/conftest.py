"""A faulty upstream, a relay in front of it and what an executor needs, per test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmrouter.domain.catalog import Acceptance, Cascade, Fallback
from llmrouter.domain.completion import ResponseEvent, UpstreamRequest
from llmrouter.domain.deadline import Deadline
from llmrouter.execution.cascade.verification import Verifier
from llmrouter.execution.executor import Execution, Executor, ExecutorOptions
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.upstream.client import Reply, UpstreamClient, UpstreamLimits
from llmrouter.upstream.health import TargetHealth
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_request, a_target
from tests.faulty import FaultyUpstream

FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
NO_REPEAT = Fallback(retries=0)
PATIENT = UpstreamLimits(connect_s=30.0)
SILENT = frozenset({"hang", "hang_role", "loris", "too_short"})  # never get to a first token
BREAK_OFF = frozenset({"hang_mid", "loris_mid"})  # fall silent after it
LONG = {name: {"timeout_s": 30.0} for name in (*SILENT, *BREAK_OFF)}


class Patience:
    """A relay that waits long for a connection: a busy machine changes no outcome."""

    def __init__(self) -> None:
        self.relay = UpstreamClient(limits=PATIENT, env={"KEY": "sk-1"}.get)

    def send(self, call: UpstreamRequest) -> Reply:
        """Through the relay."""
        return self.relay.send(call)

    async def close(self) -> None:
        """Close it, which must hold no connection any more."""
        connector = self.relay._transport._connector  # type: ignore[attr-defined] # of either transport
        assert connector is None or not connector._acquired
        await self.relay.close()


@dataclass
class Bench:
    """An executor on a real socket, and everything that watches it."""

    upstream: FaultyUpstream
    relay: Patience
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
    ) -> ExecutionRequest:
        """An order whose targets are called after what their upstream does, in that order."""
        made = [
            a_target(
                mode,
                **{
                    "base_url": self.upstream.url(mode),
                    "timeout_s": 0.3 if waits_for_ever(mode, stream) else 30.0,
                    "stall_timeout_s": 0.5 if mode in BREAK_OFF else 30.0,
                    **(targets or {}).get(mode, {}),
                },
            )
            for mode in modes
        ]
        return ExecutionRequest(
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
        relay = Patience()
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
        await relay.close()
        await until(lambda: upstream.open == 0)
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not leaked


def waits_for_ever(mode: str, stream: bool) -> bool:
    """Whether an attempt never gets to its commit point; only such a one may be cut short."""
    return mode in SILENT or (mode in BREAK_OFF and not stream)


async def collect(execution: Execution) -> list[ResponseEvent]:
    """Everything an execution yields."""
    return [event async for event in execution]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - sockets and other tasks set no event
            await asyncio.sleep(0.005)


def climb(
    bench: Bench, *modes: str, accept: Acceptance, verifier: Verifier | None = None, **how: Any
) -> Execution:
    """A cascade over these upstreams."""
    executor = bench.make(**({"verifier": verifier} if verifier else {}))
    settings = Cascade(order=modes, accept=accept, reserve_ms=how.pop("reserve_ms", 0.0))
    return bench.run(
        *modes, executor=executor, cascade=True, **{"cascade_settings": settings, **how}
    )
