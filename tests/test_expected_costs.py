"""On the real service, the choice charges what a request is expected to cost at each target."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.domain.utility import factor
from llmrouter.learning.online.live_costs import SAVE_AFTER, LiveCosts
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import ROUTING, written
from tests.test_bootstrap import Running, running

UNRULED = ROUTING.replace("task: math", "task: nothing")


async def learned(address: str) -> None:
    """Store what answers took: small writes 2,000 tokens, large 20."""
    store, costs = open_store(address), LiveCosts()
    for _ in range(SAVE_AFTER):
        for target, tokens in (("small", 2000), ("large", 20)):
            attempt = Attempt(target, "ok", "", 5.0, 0.001, Usage(10, tokens))
            costs.observe("Name a river.", Completion(target, (attempt,), 0.001, 5.0))
    await costs.save(store)
    await store.close()


async def penalties(up: Running) -> dict[str, float]:
    """What the utility of each target was charged, from its score and its probability."""
    decision = (await up.post("/route", prompt="Name a river."))[1]
    price = factor(0.5)
    return {
        one["target"]: (one["probability"] - one["score"] * (1 + price)) / price
        for one in decision["alternatives"]
    }


async def test_learned_costs_are_charged_by_the_router_llms_choice_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small is the cheaper one by its price, and the dearer one by what its answers take."""
    address = f"disk:{tmp_path / 'store'}"
    written(tmp_path / "prompts", routing=UNRULED)
    async with running(tmp_path, monkeypatch, store=address) as up:
        charged = await penalties(up)
    assert charged["small"] < charged["large"]
    await learned(address)
    async with running(tmp_path, monkeypatch, store=address) as up, asyncio.timeout(60):
        while (charged := await penalties(up))["small"] < charged["large"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
