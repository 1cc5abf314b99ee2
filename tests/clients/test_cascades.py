"""Cascades and bills are the same behind every door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients.conftest import serving
from tests.upstream.protocols.written import documents

HARD = "Prove the theorem and derive its asymptotic complexity; why is the invariant optimal?"
PATHS: dict[str, dict[str, Any]] = {
    "/v1/messages": {"max_tokens": 90, "messages": [{"role": "user", "content": HARD}]},
    "/v1/responses": {"input": HARD},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": HARD}]},
}


def routing(order: str) -> str:
    """Nothing that says "likely wrong" is accepted, as the simulator's weak models do."""
    accept = r"{checks: [{regex: '^\[simulated [^,\]]*\]'}]}"
    return f"default: chat\ncascade:\n  order: [{order}]\n  accept: {accept}\n"


@pytest.fixture(params=["chat, claude, resp", "claude, resp, chat", "resp, chat, claude"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a service whose cascade starts at each format in turn."""
    async with (
        serving(tmp_path, monkeypatch, routing=routing(request.param)) as base,
        aiohttp.ClientSession(base) as session,
    ):
        yield session


@pytest.mark.parametrize("path", PATHS)
async def test_a_cascade_reads_answers_of_every_format(
    client: aiohttp.ClientSession, path: str
) -> None:
    """Weak answers are rejected whatever format they are in, and the last one is answered."""
    body = {**PATHS[path], "model": "auto", "router": {"strategy": "cascade"}}
    async with client.post(path, json=body) as response:
        whole = await response.read()
        assert response.status == 200, whole
        headers = response.headers
    assert b"simulated" in whole
    if b"likely wrong" in whole:  # nothing better was there: every step was tried
        assert headers["x-llmrouter-attempts"] == "3"
    async with client.post(path, json={**body, "stream": True}) as response:
        told = await response.read()
        assert response.status == 200
    assert documents(told)
    async with client.get("/stats") as response:
        assert (await response.json())["decisions"] >= 2


@pytest.mark.parametrize("path", PATHS)
async def test_every_door_is_billed(client: aiohttp.ClientSession, path: str) -> None:
    """What a target reported is what the account says, whoever asked in which format."""
    before = await spent(client)
    for model in ("chat", "claude", "resp"):
        async with client.post(path, json={**PATHS[path], "model": model}) as response:
            assert response.status == 200
        now = await spent(client)
        assert now > before
        before = now


async def spent(client: aiohttp.ClientSession) -> float:
    """USD of all attempts so far, by the service's own metrics."""
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("llmrouter_downstream_spend") and "_created" not in line
    )
