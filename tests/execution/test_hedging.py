"""Two attempts side by side: the first to commit wins, the other is let go."""

from __future__ import annotations

import asyncio

import pytest

from llmrouter.domain.catalog import Fallback
from llmrouter.errors import UpstreamFailed
from tests.execution.conftest import FORMS, LONG, Bench, collect, until
from tests.faulty import completion

HEDGE = Fallback(hedge=True, retries=0)


@FORMS
async def test_the_second_wins_when_the_first_is_slow(bench: Bench, stream: bool) -> None:
    """The loser's connection is closed upstream, and it is on the account as cancelled."""
    execution = bench.run("hang", "ok", stream=stream, fallback=HEDGE, targets=LONG)
    await collect(execution)

    assert execution.target == "ok"
    assert execution.completion is not None
    outcomes = {a.target: a.outcome for a in execution.completion.attempts}
    assert outcomes == {"hang": "cancelled", "ok": "ok"}
    assert execution.completion.attempts[0].cost_estimated
    await until(lambda: bench.upstream.left == 1)
    assert ("hedges", 1, {"target": "hang"}) in bench.observer.counts


@FORMS
async def test_a_prompt_first_is_never_hedged(bench: Bench, stream: bool) -> None:
    """A target that answers within its usual time costs one request."""
    executor = bench.make()
    for _ in range(8):
        executor._context.pace.note("ok", stream, 2000.0)
    execution = bench.run("ok", "ok2", stream=stream, executor=executor, fallback=HEDGE)
    await collect(execution)
    assert execution.target == "ok"
    assert bench.upstream.hits("ok2") == 0


async def test_a_first_that_fails_leaves_the_race_to_the_second(bench: Bench) -> None:
    """A failed hedge is a failed attempt, no more."""
    execution = bench.run("hang", "s500", "ok", fallback=HEDGE)
    body = (await collect(execution))[0].data
    assert body == completion()
    assert execution.completion is not None
    outcomes = [(a.target, a.outcome) for a in execution.completion.attempts]
    assert ("s500", "failed") in outcomes
    assert outcomes[-1] == ("ok", "ok")


async def test_when_both_fail_the_course_goes_on_to_its_end(bench: Bench) -> None:
    """Two failures and nobody left is the usual 502."""
    with pytest.raises(UpstreamFailed, match="s503"):
        await bench.run("s500", "s503", fallback=HEDGE).open()


async def test_leaving_lets_go_of_both(bench: Bench) -> None:
    """A caller who leaves during the race frees both upstream connections."""
    execution = bench.run("hang", "loris", fallback=HEDGE, targets=LONG)
    waiting = asyncio.ensure_future(execution.open())
    await until(lambda: len(bench.upstream.seen) == 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: bench.upstream.left == 2)
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["cancelled", "cancelled"]
    assert {a.reason for a in execution.completion.attempts} == {"the caller left"}
