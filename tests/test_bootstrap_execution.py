"""What is wired behind execution: circuits in the metrics, confidence that learns and is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.test_bootstrap import Running, running

CASCADE = """cascade:
  order: [small, large]
  accept: {min_confidence: 0.1, min_margin: 0.0, checks: [{max_chars: 1}]}
"""
SURE = SMALL.replace("capabilities: [", "capabilities: [logprobs, ")
assert SURE != SMALL


async def shown(up: Running, wanted: str) -> str:
    """The metrics, once they show what is wanted."""
    async with asyncio.timeout(20):
        while True:
            _, text = await up.get("/metrics")
            if wanted in text:
                return str(text)
            await asyncio.sleep(0.05)


async def test_the_circuit_of_the_router_llms_server_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators see it beside the targets' own."""
    async with running(tmp_path, monkeypatch) as up:
        await up.post("/route", prompt="Say something about the tide.")
        text = await shown(up, "llmrouter_router_breaker_state{")
    assert 'state="closed"} 1.0' in text.split("llmrouter_router_breaker_state{")[1]


async def test_confidence_is_learned_from_outcomes_and_feedback_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks count at once, feedback once it is in, and both are there after a restart."""
    prompts = written(tmp_path / "prompts", routing=ROUTING.split("rules:")[0] + CASCADE)
    (prompts / "catalog" / "small.md").write_text(SURE, encoding="utf-8")
    evidence = 'llmrouter_confidence_evidence{measure="margin",target="small"} '
    async with running(tmp_path, monkeypatch) as up:
        about = {"strategy": "cascade", "deny": ["large"]}
        _, body, _ = await up.post("/complete", prompt="Why is the sky blue?", router=about)
        (attempt,) = body["router"]["attempts"]
        assert (attempt["target"], attempt["outcome"]) == ("small", "rejected")
        assert 0.0 < attempt["confidence"] < 1.0
        await shown(up, f"{evidence}1.0")
        await up.post("/feedback", decision_id=body["router"]["decision_id"], score=-1)
        await shown(up, f"{evidence}3.0")
    async with running(tmp_path, monkeypatch) as up:
        await shown(up, f"{evidence}3.0")


async def test_a_retry_climbs_in_another_worker_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a cascade started is in the store: another process on it starts one step higher."""
    routing = ROUTING.split("rules:")[0] + "cascade:\n  order: [small, large]\n"
    written(tmp_path / "prompts", routing=routing)
    about = {"strategy": "cascade", "session": "s1"}
    tried = []
    for _ in range(2):
        async with running(tmp_path, monkeypatch) as up:
            _, body, _ = await up.post("/complete", prompt="Why is the sky blue?", router=about)
            tried.append(body["router"]["attempts"][0]["target"])
    assert tried == ["small", "large"]
