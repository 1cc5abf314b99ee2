"""What the running service says of itself: today against last week, and a strategy alongside."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmrouter.journal.journal import Journal
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import ROUTING, written
from tests.test_bootstrap import Running, running


async def shadowed(up: Running) -> dict[str, object]:
    """The cascade's figures, once its comparison behind the request is done."""
    found: dict[str, object] = {}
    async with asyncio.timeout(60):
        while not found:
            await asyncio.sleep(0.01)
            _, stats = await up.get("/stats")
            found = stats["shadow"].get("cascade", {})
    return found


async def test_a_shadow_shows_in_stats_metrics_and_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cascade would start at small; what the router LLM chose is beside it, and served."""
    address = f"disk:{tmp_path / 'store'}"
    written(tmp_path / "prompts", routing=ROUTING + "learned: {shadow: cascade}\n")
    async with running(tmp_path, monkeypatch, store=address) as up:
        _, decided, _ = await up.post("/route", prompt="Say something about rain.")
        assert decided["source"] == "llm"
        found = await shadowed(up)
        assert found["requests"] == 1
        agreed = decided["target"] == "small"
        assert found["outcomes"] == {"agreed" if agreed else "disagreed": 1}
        assert found["live_usd_per_request"] == pytest.approx(decided["estimate"]["cost_usd"])
        assert found["estimated_quality"] is None, "nothing is learned yet"
        _, metrics = await up.get("/metrics")
        assert 'llmrouter_shadow_choice_usd_total{choice="live",strategy="cascade"}' in metrics
    store = open_store(address)
    entries = [entry for entry in await Journal(store).tail(100) if entry["kind"] == "shadow"]
    await store.close()
    assert [(one["strategy"], one["shadow"], one["target"]) for one in entries] == [
        ("cascade", "small", decided["target"])
    ]


async def test_accounts_outlive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, what the router LLM took for them, and what callers said of them."""
    for count in (1, 2):
        async with running(tmp_path, monkeypatch) as up:
            _, body, _ = await up.post("/complete", prompt=f"Say something about stone {count}.")
            await up.post("/feedback", decision_id=body["router"]["decision_id"], score=1)
            async with asyncio.timeout(60):
                requests = 0
                while requests < count:
                    await asyncio.sleep(0.01)
                    _, stats = await up.get("/stats")
                    lines = stats["today_and_last_week"].get("general", {}).values()
                    requests = sum(line["now"]["requests"] for line in lines)
            assert requests == count
            spent = sum(line["now"]["router_usd"] for line in lines)
            assert spent > 0
            assert sum(line["now"]["rated"] for line in lines) == count
            assert all(line["before"]["requests"] == 0 for line in lines)
