"""Many faulty requests leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os

from llmrouter.domain.catalog import Fallback
from llmrouter.errors import LLMRouterError
from llmrouter.execution.executor import Executor
from tests.execution.conftest import Bench

FAULTS = [
    "reset", "html", "nothing", "array", "error_200", "bad_utf8", "redirect", "busy", "s401",
    "s400", "s500", "long", "json_for_stream", "truncated", "error_mid", "cut", "drip", "blank",
]  # fmt: skip
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "400"))


async def faulty(bench: Bench, executor: Executor, number: int) -> None:
    """One request that meets a fault, in one form or the other; some callers leave."""
    fault = FAULTS[number % len(FAULTS)]
    stream = number % 2 == 0 or fault == "drip"
    execution = bench.run(
        fault, executor=executor, stream=stream, fallback=Fallback(retries=0, hedge=number % 3 == 0)
    )
    try:
        await execution.open()
        async for _ in execution:
            if fault == "drip":
                break
    except LLMRouterError:
        pass
    finally:
        await execution.aclose()
    assert execution.completion is not None


async def some(bench: Bench, executor: Executor, count: int) -> int:
    """So many faulty requests, a few at once; returns how many objects are left after."""
    for start in range(0, count, 10):
        async with asyncio.TaskGroup() as group:
            for number in range(start, start + 10):
                group.create_task(faulty(bench, executor, number))
        bench.observer.spans.clear()
        bench.observer.attempts.clear()
        bench.observer.completions.clear()
        bench.observer.counts.clear()
        bench.upstream.seen.clear()
    await asyncio.sleep(0.05)
    gc.collect()
    return len(gc.get_objects())


async def test_faulty_requests_leave_nothing_behind(bench: Bench) -> None:
    """No object more a request, no task, no socket (the fixture looks for those)."""
    executor = bench.make()
    before = await some(bench, executor, 100)
    after = await some(bench, executor, REQUESTS)
    assert after - before < REQUESTS / 4
