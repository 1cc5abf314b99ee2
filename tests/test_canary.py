"""A canary from start to end, on a running service of two workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmrouter.catalog.canary.live_canary import LiveCanary
from llmrouter.catalog.loader import load, read_directory
from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Feedback
from llmrouter.errors import BadRequest, CatalogInvalid, NotFound
from llmrouter.store.memory import MemoryStore
from tests.catalog.prompts_dir import ROUTING, files, written
from tests.fakes import a_decision
from tests.served import Process, process

RULES = ROUTING.split("router:")[0]
EDITED = RULES.replace("default: small", "default: large")


class Worker:
    """A worker's canary, and the traffic it sees."""

    def __init__(self, store: MemoryStore, directory: Path) -> None:
        self.directory = directory
        self.canary = LiveCanary(store, directory, lambda catalog: catalog)
        self.current = load(directory)

    def serve(self, session: str, score: float | None = None) -> str:
        """One request of a session, graded or not. Its arm."""
        _, arm = self.canary.choose(self.current, session)
        decision = a_decision("small", decision_id=f"d-{session}", about={"arm": arm})
        attempts = (Attempt("small", "ok", "", 10.0, 0.001),)
        self.canary.completed(decision, Completion("small", attempts, 0.001, 10.0, "stop"))
        if score is not None:
            self.canary.observe_feedback(decision, Feedback(decision.decision_id, score))
            self.canary.observe_feedback(decision, Feedback(decision.decision_id, score))
        return arm


@pytest.fixture
def workers(tmp_path: Path) -> tuple[Worker, Worker]:
    """Two workers of one service."""
    store, directory = MemoryStore(), written(tmp_path, routing=RULES)
    return Worker(store, directory), Worker(store, directory)


async def test_a_session_stays_in_its_arm_on_every_worker(workers: tuple[Worker, Worker]) -> None:
    """About the share of the sessions gets the edited catalog."""
    first, second = workers
    await first.canary.start(files(routing=EDITED), 0.2)
    await second.canary.refresh()
    arms = [first.serve(f"s{n}") for n in range(2000)]
    assert arms == [second.serve(f"s{n}") for n in range(2000)]
    assert 300 < arms.count("canary") < 500
    chosen = {first.canary.choose(first.current, f"s{n}")[0].default for n in range(100)}
    assert chosen == {"small", "large"}


async def test_a_worse_canary_rolls_back_by_itself(workers: tuple[Worker, Worker]) -> None:
    """From what both workers saw together; grades of one decision count once."""
    first, second = workers
    await first.canary.start(files(routing=EDITED), 0.3)
    await second.canary.refresh()
    for n in range(400):
        worker = workers[n % 2]
        bad = worker.canary.choose(worker.current, f"s{n}")[1] == "canary" and n % 3
        worker.serve(f"s{n}", -1.0 if bad else 1.0)
    await first.canary.refresh()
    await second.canary.refresh()
    for worker in workers:
        said = await worker.canary.status()
        assert (said["status"], said["verdict"]) == ("rolled back", "worse")
        assert said["reasons"][0].startswith("grades: ")
        assert not worker.canary.active
        assert sum(arm["graded"] for arm in said["arms"].values()) == 400


async def test_promoting_makes_its_files_the_directory(workers: tuple[Worker, Worker]) -> None:
    """Edited, added and removed ones; the other worker sees that it is over."""
    first, second = workers
    edited = files(routing=EDITED)
    del edited["catalog/small.md"]
    edited["routing.yaml"] = "default: large\n"
    del edited["router.md"]
    await first.canary.start(edited, 0.1)
    await second.canary.promote()
    assert read_directory(first.directory, {})[0] == edited
    assert (await first.canary.status())["status"] == "promoted"
    assert not first.canary.active


async def test_a_restart_goes_on_where_it_was(workers: tuple[Worker, Worker]) -> None:
    """State and sums are in the store."""
    first, second = workers
    await first.canary.start(files(routing=EDITED), 0.5)
    for n in range(20):
        first.serve(f"s{n}", 1.0)
    await first.canary.refresh()
    await second.canary.refresh()
    assert second.canary.active
    arms = (await second.canary.status())["arms"]
    assert sum(arm["graded"] for arm in arms.values()) == 20


async def test_what_cannot_be_started_says_why(workers: tuple[Worker, Worker]) -> None:
    """A broken catalog, a share out of range, a second canary; and nothing to end."""
    canary = workers[0].canary
    with pytest.raises(CatalogInvalid, match=r"routing\.yaml:1"):
        await canary.start(files(routing="default: nobody\n"), 0.1)
    with pytest.raises(BadRequest, match="share"):
        await canary.start(files(), 0.9)
    with pytest.raises(NotFound):
        await canary.stop()
    await canary.start(files(), 0.1)
    with pytest.raises(BadRequest, match="already"):
        await canary.start(files(), 0.1)
    assert (await canary.stop())["status"] == "stopped"


async def call(served: Process, method: str, path: str, body: Any = None) -> Any:
    """An answer over a connection of its own."""
    async with (
        aiohttp.ClientSession(served.base) as session,
        session.request(method, path, json=body) as answer,
    ):
        assert answer.status in (200, 201, 202), await answer.text()
        return await answer.json(content_type=None) if answer.status != 202 else None


async def test_two_workers_start_grade_tell_the_story_and_promote(tmp_path: Path) -> None:
    """Over HTTP: decisions name their arm, feedback reaches the story, the edit serves at last."""
    written(tmp_path / "prompts", routing=RULES)
    with process(tmp_path, "demo", workers=2) as served:
        await call(served, "POST", "/canary", {"files": files(routing=EDITED), "share": 0.5})
        await asyncio.sleep(1.0)
        targets: dict[str, str] = {}
        for number in range(24):
            body = {"prompt": "What is it?", "router": {"session": f"s{number % 12}"}}
            answer = await call(served, "POST", "/complete", body)
            name = answer["router"]["decision_id"]
            assert targets.setdefault(f"s{number % 12}", answer["router"]["target"])
            assert targets[f"s{number % 12}"] == answer["router"]["target"]
            await call(served, "POST", "/feedback", {"decision_id": name, "score": 1})
        assert set(targets.values()) == {"small", "large"}
        for _ in range(40):
            said = await call(served, "GET", "/canary")
            if sum(arm["graded"] for arm in said["arms"].values()) == 24:
                break
            await asyncio.sleep(0.25)
        assert said["verdict"] == "not yet known"
        assert sum(arm["graded"] for arm in said["arms"].values()) == 24
        for _ in range(20):
            story = await call(served, "GET", f"/decisions/{name}")
            if story["feedback"]:
                break
            await asyncio.sleep(0.1)
        assert story["feedback"][0]["score"] == 1
        assert story["execution"]["attempts"][0]["input_tokens"] > 0
        assert story["about"]["arm"] in ("canary", "current")
        await call(served, "POST", "/canary/promote")
        for _ in range(40):
            now = {(await call(served, "GET", "/catalog"))["default"] for _ in range(6)}
            if now == {"large"}:
                break
            await asyncio.sleep(0.25)
        assert now == {"large"}
