"""A running simulator and OpenAI's own client pointed at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openai import AsyncOpenAI

from llmrouter.simulator.app import SimOptions, create_app


@pytest.fixture
async def sim() -> AsyncIterator[TestClient]:  # type: ignore[type-arg]  # generic in some versions only
    """The simulator without delays, on a free port."""
    async with TestClient(TestServer(create_app(SimOptions(latency_scale=0)))) as client:
        yield client


@pytest.fixture
async def openai(sim: TestClient) -> AsyncIterator[AsyncOpenAI]:  # type: ignore[type-arg]  # as above
    """OpenAI's client, without retries."""
    base = str(sim.make_url("/v1"))
    async with AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
        yield client
