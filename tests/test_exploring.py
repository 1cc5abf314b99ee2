"""Exploration on the real service: a new target gets its chance, within its budget."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from llmrouter.journal.journal import Journal
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import FitSettings, fit
from llmrouter.learning.online.snapshot import Snapshot, publish
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.test_bootstrap import Running, running

UNRULED = ROUTING.replace("task: math", "task: nothing")
EXPLORING = UNRULED + (
    "learned: {explore_rate: 1, explore_budget_usd_per_day: 0.02, target_agreement: 0.999}\n"
)
# Dearer than both, so that the router LLM, to which they are much the same, seldom picks it.
MINI = SMALL.replace("small-1", "mini-1").replace("0.25,", "2.5,").replace("2.0}", "3.0}")
QUICK = FitSettings(
    width=16, vocabulary=500, trees=10, lists=8, capacity=400,
    network=NetworkSettings(members=2, hidden=16, epochs=30),
)  # fmt: skip


async def learned(address: str) -> None:
    """Store a model to which small is good at sums, and large at poems."""
    dice = random.Random(1)
    examples = []
    for number in range(120):
        sums = number % 2 == 0
        text = f"{'Add' if sums else 'Sing of'} {dice.randrange(90)} and {dice.randrange(90)}."
        examples.append(Example(text, {"small": float(sums), "large": float(not sums)}))
    store = open_store(address)
    await publish(store, Snapshot(fit(examples, QUICK).model, 120).to_bytes())
    await store.close()


async def explored(up: Running, number: int) -> dict[str, object]:
    """One decision as the console shows it."""
    await up.post("/route", prompt=f"Add {number} and 5.")
    _, shown = await up.get("/decisions?limit=1")
    newest: dict[str, object] = shown["decisions"][0]
    return newest


async def test_what_the_cache_answers_is_explored_as_often_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt, two hundred times: the router LLM is asked once, the journal has the odds."""
    address = f"disk:{tmp_path / 'store'}"
    written(tmp_path / "prompts", routing=UNRULED + "learned: {explore_rate: 0.3, audit_rate: 0}\n")
    async with running(tmp_path, monkeypatch, store=address) as up:
        said = [(await up.post("/route", prompt="Name a river."))[1] for _ in range(200)]
        _, metrics = await up.get("/metrics")
    calls = re.search(r'llmrouter_router_calls_total\{outcome="ok"\} (\d+)', metrics)
    assert calls is not None
    assert int(calls.group(1)) <= 3, "one for the request, one for each target's text"
    store = open_store(address)
    kept = [entry for entry in await Journal(store).tail(1000) if entry["kind"] == "decision"]
    await store.close()
    assert [entry["decision_id"] for entry in kept] == [one["decision_id"] for one in said]
    explored = [one["reason"].startswith("exploring") for one in said]
    assert 30 < sum(explored) < 90  # 60 are expected, within five deviations
    chosen = {one["target"] for one, other in zip(said, explored, strict=True) if not other}
    assert len(chosen) == 1
    for entry, other in zip(kept, explored, strict=True):
        assert entry["propensity"] == pytest.approx(0.3 if other else 0.7)
        assert (entry["target"] in chosen) is not other


async def test_a_new_target_is_explored_first_and_no_further_than_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a known target is chosen it is tried more than the other, until the day's dollars are
    out.
    """
    address = f"disk:{tmp_path / 'store'}"
    await learned(address)
    written(tmp_path / "prompts", routing=EXPLORING)
    async with running(tmp_path, monkeypatch, store=address, admin_key="sk-admin") as up:
        put = up.client.put(
            "/catalog/mini", data=MINI, headers={
                "content-type": "text/markdown", "authorization": "Bearer sk-admin",
            },
        )  # fmt: skip
        async with put as response:
            assert response.status == 200
        decisions = [await explored(up, number) for number in range(60)]
        _, metrics = await up.get("/metrics")
    spent = 0.0
    tried: list[object] = []
    for one in decisions:
        assert isinstance(one["propensity"], float)
        assert isinstance(one["estimate"], dict)
        if one["source"] == "learned":
            reason = str(one["reason"])
            assert reason.startswith(f"exploring: '{one['target']}'")
            if "chosen was 'mini'" not in reason:
                assert (one["propensity"] > 0.5) is (one["target"] == "mini"), reason
            tried.append(one["target"])
            spent += one["estimate"]["cost_usd"]
        else:
            assert one["propensity"] == 1.0
    stopped = [one["source"] for one in decisions[len(tried) :]]
    assert stopped
    assert "learned" not in stopped  # once the budget is spent nobody is explored any more
    assert 0.01 < spent <= 0.02
    assert f'llmrouter_explored_total{{target="mini"}} {tried.count("mini")}' in metrics
