"""What the running service says of itself: today against last week, and a strategy alongside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmrouter.journal.journal import Journal
from llmrouter.store.factory import open_store
from llmrouter.usage.totals import usage_totals
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


async def test_one_keys_ratings_of_one_decision_count_once_and_the_last_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In figures, today's account, metrics, the decision's story and the journal."""
    async with running(tmp_path, monkeypatch) as up:
        _, body, _ = await up.post("/complete", prompt="Say something about stones.")
        name, target = body["router"]["decision_id"], body["router"]["target"]

        async def rate(score: float) -> None:
            assert (await up.post("/feedback", decision_id=name, score=score))[0] == 202

        await asyncio.gather(*(rate(-1.0) for _ in range(40)))
        await rate(0.5)
        _, story = await up.get(f"/decisions/{name}")
        assert [one["score"] for one in story["feedback"]] == [0.5]
        async with asyncio.timeout(60):
            rated: dict[str, Any] = {}
            while rated.get("quality") != 0.75:
                await asyncio.sleep(0.01)
                _, stats = await up.get("/stats")
                lines = stats["today_and_last_week"].get("general", {})
                rated = lines.get(target, {}).get("now", {})
        assert rated["rated"] == 1
        shown = stats["tasks"]["general"][target]
        assert (shown["ratings"], shown["quality"]) == (1, 0.75)
        _, metrics = await up.get("/metrics")
        labels = f'{{target="{target}",task="general"}}'
        found = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
        assert float(found[f"llmrouter_feedback_total{labels}"]) == 1
        praise, blame = (
            float(found[f"llmrouter_feedback_{side}_total{labels}"]) for side in ("praise", "blame")
        )
        assert praise - blame == 0.5
        assert float(found[f"llmrouter_feedback_score{labels}"]) == 0.5
    store = open_store(f"disk:{tmp_path / 'store'}")
    entries = await Journal(store).tail(1000)
    await store.close()
    (account,) = usage_totals(entries, 0.0, 1e12).values()
    assert (account.rated, account.quality) == (1, 0.75)
