"""Previews in a process of their own, on what a store really recorded."""

from __future__ import annotations

import asyncio
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from llmrouter import preview
from llmrouter.catalog.loader import load
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Source
from llmrouter.errors import CatalogInvalid, DeadlineExceeded, LLMRouterError, Overloaded
from llmrouter.preview import INVALID, Order, Place, Previewer, worked_out
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.evaluation.journaled import journaled

OTHER = {"routing.yaml": ROUTING.replace("task: math", "task: question_answering")}


@dataclass(frozen=True)
class Serving:
    """A catalog that does not change."""

    current: Catalog


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    """A directory, and a store that recorded one sum and one question."""
    address = f"disk:{tmp_path / 'store'}"
    store = open_store(address, shared=True)
    bodies = [{"prompt": "What is 12 * 13?"}, {"prompt": "Who was Ada Lovelace?"}]
    await journaled(bodies, record=True, store=store, source=Source.LLM)
    await store.close()
    return Place(written(tmp_path / "prompts"), address)


def previewer(place: Place) -> Previewer:
    """A previewer of what is in the directory."""
    return Previewer(Serving(load(place.directory)), place)


async def test_an_edit_is_previewed_and_nothing_is_written(place: Place) -> None:
    """The report is on the recorded requests; the loop runs on meanwhile."""
    before = {path: path.read_bytes() for path in place.directory.rglob("*") if path.is_file()}
    report = orjson.loads(await previewer(place).preview(OTHER, 10))
    assert [change["where"] for change in report["changes"]] == ["rule sums"]
    assert (report["replayed"], report["told"], report["moved"]) == (2, 2, 2)
    assert {(move["before"], move["after"]) for move in report["moves"]} == {
        ("large", "small"), ("small", "large"),
    }  # fmt: skip
    after = {path: path.read_bytes() for path in place.directory.rglob("*") if path.is_file()}
    assert after == before


async def test_what_serves_is_compared_not_what_lies_on_disk(place: Place) -> None:
    """A broken file on disk is mended by the edit; the last good catalog is what it changes."""
    looks = previewer(place)
    (place.directory / "catalog" / "small.md").write_text("broken")
    with pytest.raises(CatalogInvalid):
        await looks.preview(OTHER, 1)
    mended = {"catalog/small.md": SMALL.replace("8000", "9000")}
    report = orjson.loads(await looks.preview(mended, 1))
    assert [change["text"] for change in report["changes"]] == [
        "target small: context_window 8000 → 9000"
    ]


async def test_an_edit_that_cannot_serve_has_its_problems_by_line(place: Place) -> None:
    """As the edit itself would be refused."""
    with pytest.raises(CatalogInvalid) as refused:
        await previewer(place).preview({"catalog/small.md": SMALL.replace("8000", "many")}, 1)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (f"{place.directory}/catalog/small.md", 7)


async def test_one_preview_runs_at_a_time(place: Place) -> None:
    """The next is asked to come again, and may when the first is done or has left."""
    looks = previewer(place)
    first = asyncio.ensure_future(looks.preview(OTHER, 1))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await looks.preview(OTHER, 1)
    assert refused.value.retry_after_s
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await looks.preview(OTHER, 1)


async def test_a_preview_that_takes_too_long_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the caller hears of it."""
    monkeypatch.setattr(preview, "LIMIT_S", 0.01)
    with pytest.raises(DeadlineExceeded):
        await previewer(place).preview(OTHER, 1)


async def test_a_process_that_fails_says_so_in_the_log_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its insides are nothing for callers."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LLMRouterError) as failed:
        await previewer(place).preview(OTHER, 1)
    assert (failed.value.status, failed.value.code) == (500, "preview_failed")
    assert "a preview failed" in caplog.text


def test_the_process_answers_an_order_with_a_report_or_with_problems(tmp_path: Path) -> None:
    """What it is told survives the pipe; a store in memory has recorded nothing."""
    directory = written(tmp_path)
    order = Order(load(directory), Place(directory, "memory:"), OTHER, 10)
    code, out = worked_out(pickle.loads(pickle.dumps(order)))  # noqa: S301
    assert (code, orjson.loads(out)["recorded"]) == (0, 0)
    broken = Order(order.before, order.place, {"catalog/large.md": None}, 10)
    code, out = worked_out(broken)
    assert code == INVALID
    assert all("large" in message for _, _, message in orjson.loads(out))
