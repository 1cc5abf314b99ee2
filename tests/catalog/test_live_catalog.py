"""Edits on a real disk reach a running service, and broken ones do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from llmrouter.catalog.editor import target_edit, target_path
from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.errors import CatalogInvalid, NotFound, PreconditionFailed
from tests.catalog.prompts_dir import LARGE, ROUTING, SMALL, written


@contextlib.asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[CatalogHolder]:
    """A holder that watches its directory."""
    holder = CatalogHolder(directory)
    task = asyncio.get_running_loop().create_task(holder.watch())
    try:
        await asyncio.sleep(0.2)
        yield holder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something to hold; fails the test when it never does."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - a file on disk sets no event
            await asyncio.sleep(0.01)


async def test_a_saved_edit_serves(tmp_path: Path) -> None:
    """A file saved while the service runs takes effect, whole, and callbacks hear of it."""
    async with watched(written(tmp_path)) as holder:
        heard: list[str] = []
        holder.on_change.append(lambda catalog: heard.append(catalog.version))
        before = holder.current
        (tmp_path / "catalog" / "small.md").write_text(SMALL.replace("8000", "9000"))
        await until(lambda: holder.current.targets["small"].context_window == 9000)
        assert before.targets["small"].context_window == 8000
        assert heard[-1] == holder.current.version


async def test_a_broken_edit_keeps_the_last_good_catalog(tmp_path: Path) -> None:
    """A broken save is shown as a problem; mending it clears the problem."""
    async with watched(written(tmp_path)) as holder:
        good = holder.current
        (tmp_path / "routing.yaml").write_text("default: nobody\n")
        await until(lambda: bool(holder.problems))
        assert holder.current is good
        assert "nobody" in str(holder.problems[0])
        (tmp_path / "routing.yaml").write_text(ROUTING.replace("default: small", "default: large"))
        await until(lambda: holder.current.default == "large")
        assert holder.problems == ()


async def test_a_broken_edit_that_is_undone_clears_its_problem(tmp_path: Path) -> None:
    """Going back to the very text that serves is no problem any more."""
    holder = CatalogHolder(written(tmp_path))
    (tmp_path / "routing.yaml").write_text("default: nobody\n")
    await holder.reload()
    assert holder.problems
    (tmp_path / "routing.yaml").write_text(ROUTING)
    await holder.reload()
    assert holder.problems == ()


async def test_a_half_edited_directory_is_never_served(tmp_path: Path) -> None:
    """Renaming a target serves only once every mention of it has followed."""
    async with watched(written(tmp_path)) as holder:
        good = holder.current
        (tmp_path / "catalog" / "large.md").rename(tmp_path / "catalog" / "huge.md")
        await until(lambda: bool(holder.problems))
        assert holder.current is good
        (tmp_path / "routing.yaml").write_text(ROUTING.replace("large", "huge"))
        await until(lambda: "huge" in holder.current.targets)
        assert "large" not in holder.current.targets


async def test_the_directory_may_be_replaced(tmp_path: Path) -> None:
    """A directory that is moved away and comes back is watched again."""
    directory = tmp_path / "prompts"
    written(directory)
    async with watched(directory) as holder:
        directory.rename(tmp_path / "old")
        await until(lambda: bool(holder.problems))
        written(directory, small=SMALL.replace("8000", "7000"))
        await until(lambda: holder.current.targets["small"].context_window == 7000)
        (directory / "catalog" / "small.md").write_text(SMALL.replace("8000", "6000"))
        await until(lambda: holder.current.targets["small"].context_window == 6000)


async def test_a_callback_that_fails_stops_nothing(tmp_path: Path) -> None:
    """One failing listener keeps neither the others nor later edits from being heard."""
    holder = CatalogHolder(written(tmp_path))
    heard: list[int] = []

    def fails(_: object) -> None:
        raise RuntimeError("listener")

    holder.on_change += [fails, lambda catalog: heard.append(len(catalog.targets))]
    (tmp_path / "catalog" / "third.md").write_text(LARGE)
    await holder.reload()
    assert heard == [3]


async def test_an_edit_serves_when_it_returns_and_is_undone(tmp_path: Path) -> None:
    """Listeners hear of both, and what is on disk is what serves."""
    holder = CatalogHolder(written(tmp_path))
    heard: list[int] = []
    holder.on_change.append(lambda now: heard.append(now.targets["small"].context_window))
    fresh = await holder.save(target_edit("small", SMALL.replace("8000", "9000")))
    assert holder.current is fresh.catalog
    assert await holder.read(target_path("small")) == SMALL.replace("8000", "9000")
    assert [saved.text for saved in await holder.history(target_path("small"))] == [SMALL]
    await holder.undo(target_edit("small", None))
    assert await holder.read(target_path("small")) == SMALL
    assert heard == [9000, 8000]
    with pytest.raises(NotFound):
        await holder.read(target_path("nobody"))


async def test_an_editor_may_go_by_the_catalog_that_serves(tmp_path: Path) -> None:
    """Its version is as good as the file's own tag, until anything that decides has changed."""
    holder = CatalogHolder(written(tmp_path))
    seen = frozenset({holder.current.version})
    await holder.save(target_edit("small", SMALL.replace("8000", "9000"), seen))
    with pytest.raises(PreconditionFailed):
        await holder.save(target_edit("large", LARGE.replace("8000", "9000"), seen))


async def test_a_write_that_does_not_fit_keeps_the_catalog(tmp_path: Path) -> None:
    """What served goes on serving."""
    holder = CatalogHolder(written(tmp_path))
    good = holder.current
    with pytest.raises(CatalogInvalid):
        await holder.save(target_edit("small", SMALL.replace("8000", "many")))
    assert holder.current is good


async def test_writes_at_the_same_time_all_stay(tmp_path: Path) -> None:
    """Concurrent writes of different targets lose none of them, of two holders either."""
    holders = CatalogHolder(written(tmp_path)), CatalogHolder(tmp_path)
    await asyncio.gather(*(holders[n % 2].save(target_edit(f"t{n}", LARGE)) for n in range(8)))
    await holders[0].reload()
    assert {f"t{number}" for number in range(8)} <= set(holders[0].current.targets)


def test_a_holder_needs_a_valid_start(tmp_path: Path) -> None:
    """There is no service without a first good catalog."""
    with pytest.raises(CatalogInvalid):
        CatalogHolder(tmp_path)
