"""Two workers and a restart: figures, decisions and metrics are the service's, not a process's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.served import Process, process

REQUESTS = 40


async def get(served: Process, path: str) -> Any:
    """An answer over a connection of its own, so that any worker may give it."""
    async with aiohttp.ClientSession(served.base) as session, session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json() if "json" in answer.content_type else await answer.text()


async def settled(served: Process, path: str, wanted: Any, read: Any) -> None:
    """Wait until ten answers in a row show what is wanted: whichever worker gives them."""
    seen: list[Any] = []
    for _ in range(60):
        seen = [read(await get(served, path)) for _ in range(10)]
        if all(one == wanted for one in seen):
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"{path}: {seen}, not {wanted}")


def decided(page: str) -> float:
    """Decisions on a metrics page."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "llmrouter_decisions_total"
    )


def ids(page: Any) -> list[str]:
    """The decisions of a page."""
    return sorted(one["decision_id"] for one in page["decisions"])


async def ask(served: Process, count: int) -> list[str]:
    """Complete requests, each over a connection of its own. Their decisions' ids."""
    ids = []
    for number in range(count):
        async with aiohttp.ClientSession(served.base) as session:
            body = {"prompt": f"Add {number} and {number}"}
            async with session.post("/complete", json=body) as answer:
                assert answer.status == 200, await answer.text()
                ids.append((await answer.json())["router"]["decision_id"])
    return ids


async def test_every_worker_shows_the_same_also_after_a_restart(tmp_path: Path) -> None:
    """Decisions, spend and metrics add up over both workers; a restart forgets none."""
    with process(tmp_path, "demo", workers=2) as served:
        asked = await ask(served, REQUESTS)
        await settled(served, "/stats", REQUESTS, lambda shown: shown["decisions"])
        spent = (await get(served, "/stats"))["spend_usd"]
        assert spent > 0
        await settled(served, "/metrics", float(REQUESTS), decided)
        await settled(served, "/decisions?limit=100", sorted(asked), ids)
        failed = await get(served, "/decisions?outcome=failed")
        assert failed["decisions"] == []
        series = await get(served, "/stats/series?window=hour")
        assert sum(point["decisions"] for point in series["points"]) == REQUESTS
        assert sum(p["spend_usd"] for p in series["points"]) > 0
    with process(tmp_path, "demo", workers=2) as served:
        await settled(served, "/stats", REQUESTS, lambda shown: shown["decisions"])
        again = await get(served, "/stats")
        assert abs(again["spend_usd"] - spent) < 1e-12
        await settled(served, "/decisions?limit=100", sorted(asked), ids)
        story = await get(served, f"/decisions/{asked[0]}")
        assert story["execution"]["attempts"][0]["outcome"] == "ok"
        assert story["about"]["input_tokens"] > 0
        await ask(served, 5)
        await settled(served, "/stats", REQUESTS + 5, lambda shown: shown["decisions"])
        today = again["today_and_last_week"]
        assert sum(t["now"]["requests"] for task in today.values() for t in task.values()) > 0
