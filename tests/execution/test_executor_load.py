"""What an execution holds: let go of when its caller leaves, bounded when many come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmrouter.domain.chat import RouterOptions
from llmrouter.domain.target import Price
from llmrouter.errors import LLMRouterError, Overloaded
from llmrouter.execution.concurrency import ConcurrencyLimiter
from llmrouter.execution.executor import Execution
from tests.execution.conftest import FORMS, LONG, NO_REPEAT, Bench, collect, until
from tests.fakes import a_request
from tests.faulty import FLOOD_BYTES, FLOOD_EVENT, completion


@FORMS
async def test_a_caller_who_leaves_is_seen_upstream_at_once(bench: Bench, stream: bool) -> None:
    """Cancelling closes the upstream connection, is on the account, and leaks nothing."""
    execution = bench.run("hang", stream=stream, targets=LONG)
    waiting = asyncio.ensure_future(execution.open())
    await until(lambda: bench.upstream.seen)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: bench.upstream.left == 1)
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["cancelled"]
    assert execution.completion.attempts[0].cost_estimated


async def test_leaving_in_the_middle_of_a_stream_is_seen_upstream_at_once(bench: Bench) -> None:
    """`aclose` after some events lets go of the upstream and closes the account."""
    execution = await bench.run("drip", stream=True).open()
    for _ in range(3):
        await anext(execution)
    await execution.aclose()
    await execution.aclose()
    await until(lambda: bench.upstream.left == 1)
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["cancelled"]
    with pytest.raises(StopAsyncIteration):
        await anext(execution)


async def test_a_slow_reader_is_not_outrun(bench: Bench) -> None:
    """Nobody reads, so the upstream stalls after what sockets hold; reading on still works."""
    execution = await bench.run("flood", stream=True).open()
    seen = bench.upstream.seen[0]
    before = -1
    while seen.sent != before:
        before = seen.sent
        await asyncio.sleep(0.1)
    assert before < FLOOD_BYTES / 2
    received = sum([len((await anext(execution)).data) for _ in range(before // FLOOD_EVENT)])
    await until(lambda: seen.sent > before)
    assert received > before / 2
    await execution.aclose()


async def test_saturated_targets_hand_over_and_then_say_503(bench: Bench) -> None:
    """A full queue sends the request on; when every target is full, it is told so at once."""
    executor = bench.make(limits=ConcurrencyLimiter(concurrent=1, queue=0))
    held = await bench.run("drip", stream=True, executor=executor).open()
    moved = bench.run("drip", "ok", stream=True, executor=executor)
    await collect(moved)
    assert moved.target == "ok"
    with pytest.raises(Overloaded) as caught:
        await bench.run("drip", stream=True, executor=executor, fallback=NO_REPEAT).open()
    assert caught.value.retry_after_s is not None
    await held.aclose()


async def test_a_queue_passes_its_slot_on(bench: Bench) -> None:
    """Ten requests through one slot all get their answer."""
    executor = bench.make(limits=ConcurrencyLimiter(concurrent=1, queue=16))
    runs = [bench.run("ok", executor=executor) for _ in range(10)]
    bodies = await asyncio.gather(*(collect(run) for run in runs))
    assert [events[0].data for events in bodies] == [completion()] * 10


@FORMS
async def test_the_finished_hook_hears_of_every_end(bench: Bench, stream: bool) -> None:
    """Answered, failed and cancelled executions are all told of, once."""
    heard: list[Execution] = []
    executor = bench.make(finished=heard.append)
    await collect(bench.run("ok", stream=stream, executor=executor))
    with pytest.raises(LLMRouterError):
        await bench.run("s500", stream=stream, executor=executor, fallback=NO_REPEAT).open()
    assert [one.target for one in heard] == ["ok", None]
    assert len(bench.observer.completions) == 1


async def test_max_cost_leaves_out_what_could_pass_it(bench: Bench) -> None:
    """A fallback that may cost too much is not tried; the chosen target is."""
    request = a_request(options=RouterOptions(max_cost_usd=0.001))
    dear: dict[str, Any] = {"ok": {"price": Price(1000.0, 1000.0)}}
    execution = bench.run("s500", "ok", "ok2", request=request, targets=dear)
    await collect(execution)
    assert execution.target == "ok2"
