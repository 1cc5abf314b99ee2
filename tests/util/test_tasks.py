"""Tasks that outlive their request, and work that repeats until it is cancelled."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llmrouter.util.tasks import Background, repeatedly


async def test_a_round_that_has_begun_is_finished_and_one_more_follows() -> None:
    """Cancelling in the middle of a round loses nothing of it."""
    begun = asyncio.Event()
    done: list[str] = []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.01)
        done.append("round")

    task = asyncio.ensure_future(repeatedly(work, 0.001))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["round", "round"]


async def test_a_failing_task_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """The error of a background task reaches the log under the task's name."""

    async def fail() -> None:
        raise ValueError("broken")

    background = Background()
    with caplog.at_level(logging.ERROR):
        assert background.start(fail(), "the work")
        await background.close()
    assert "the work" in caplog.text
    assert len(background) == 0


async def test_work_beyond_the_bound_is_dropped() -> None:
    """A full set refuses more work, and close ends what is left."""
    background = Background(limit=1)
    assert background.start(asyncio.sleep(60), "first")
    assert not background.start(asyncio.sleep(60), "second")
    await background.close(grace_s=0.0)
    assert len(background) == 0
