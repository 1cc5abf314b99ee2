"""Limits where they are hard: two worker processes, one real store, everyone at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.catalog.prompts_dir import ROUTING, written
from tests.contract import test_store_contract
from tests.served import process

redis_url = test_store_contract.redis_url

RULES_ONLY = ROUTING.split("router:")[0] + "rules: []\n"
REQUESTS = 40
BUDGET = 0.05
KEYS = "few:few-key-0123456789,poor:poor-key-0123456789"
LIMITS = f"few requests={REQUESTS}/h; poor spend_usd={BUDGET}/d"
FEW = {"x-api-key": "few-key-0123456789"}
POOR = {"x-api-key": "poor-key-0123456789"}


class Upstream:
    """Uses as many tokens as it may, or refuses; `cost_usd` is what it charges a request."""

    cost_usd = 10 * 0.25e-6 + 1000 * 2.0e-6

    def __init__(self) -> None:
        self.refuses = False
        self.answered = 0

    async def answer(self, request: web.Request) -> web.Response:
        """One completion."""
        body = await request.json()
        await asyncio.sleep(0.01)
        if self.refuses:
            return web.json_response({"error": {"message": "no such tool"}}, status=400)
        self.answered += 1
        message = {"role": "assistant", "content": "done"}
        return web.json_response(
            {
                "id": "c",
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": body["max_tokens"]},
            }
        )


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    """It, and its address."""
    held = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", held.answer)
    async with TestServer(app) as server:
        yield held, str(server.make_url("/v1"))


async def burst(base: str, path: str, key: dict[str, str], count: int) -> list[tuple[int, Any]]:
    """Status and headers of so many requests at once, each on a connection of its own."""
    body = {"prompt": "hi", "max_tokens": 1000}

    async def one() -> tuple[int, Any]:
        async with session.post(base + path, json=body, headers=key) as response:
            await response.read()
            return response.status, response.headers

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(one() for _ in range(count)))


async def given(base: str, holds: Callable[[int, Any], bool]) -> None:
    """Wait until one answer holds: accounts are settled behind the replies, in two processes."""
    async with asyncio.timeout(60):
        while not holds(*(await burst(base, "/complete", POOR, 1))[0]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("store", ["disk", "redis"])
async def test_two_workers_on_one_store_keep_limits_exactly(
    store: str, tmp_path: Path, upstream: tuple[Upstream, str], request: pytest.FixtureRequest
) -> None:
    """Not one request and not one cent more than allowed; what failed is given back whole."""
    written(tmp_path / "prompts", routing=RULES_ONLY)
    held, base_url = upstream
    over = {"LLMROUTER_API_KEYS": KEYS, "LLMROUTER_KEY_LIMITS": LIMITS}
    if store == "redis":
        over["LLMROUTER_STORE"] = request.getfixturevalue("redis_url")
    over["LLMROUTER_DEMO_UPSTREAM"] = base_url
    with process(tmp_path, "serve", workers=2, **over) as started:
        answers = await burst(started.base, "/route", FEW, 5 * REQUESTS)
        assert Counter(status for status, _ in answers) == {200: REQUESTS, 429: 4 * REQUESTS}
        left = [int(h["x-ratelimit-remaining-requests"]) for _, h in answers]
        assert (min(left), max(left) < REQUESTS) == (0, True)
        assert all(1 <= int(h["Retry-After"]) <= 3780 for s, h in answers if s == 429)

        held.refuses = True
        for _ in range(2):
            refused = await burst(started.base, "/complete", POOR, 40)
            assert {status for status, _ in refused} <= {400, 429}
        held.refuses = False
        await given(started.base, lambda status, _: status == 200)
        for _ in range(4):
            statuses = Counter(s for s, _ in await burst(started.base, "/complete", POOR, 40))
            assert set(statuses) <= {200, 429}
            assert held.answered * held.cost_usd <= BUDGET
        one_more = 1.1 * held.cost_usd  # an estimate is a little above the truth
        assert held.answered * held.cost_usd > BUDGET - one_more
        rest = pytest.approx(BUDGET - held.answered * held.cost_usd, abs=2e-6)
        await given(
            started.base,
            lambda status, headers: (
                status == 429 and float(headers["x-ratelimit-remaining-spend-usd"]) == rest
            ),
        )
    assert "Traceback" not in started.log.read_text()
