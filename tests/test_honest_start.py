"""A service that lacks something says what, once, and does not claim to be ready."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from tests.catalog.prompts_dir import LARGE, written
from tests.served import free_port, process
from tests.test_cli import Shell

KEYLESS = LARGE.replace("api_key_env: EXAMPLE_KEY\n", "")


async def test_a_target_without_its_key_is_out_with_that_reason(tmp_path: Path) -> None:
    """Decisions say so, and the other target serves."""
    prompts = written(tmp_path / "prompts", large=KEYLESS)
    settings = Settings(prompts=prompts, store="memory:")
    async with service(settings, {}) as built, TestClient(TestServer(built.app)) as client:
        answer = await client.post("/route", json={"prompt": "Write a long poem about it."})
        decision = await answer.json()
        assert decision["target"] == "large"
        assert decision["excluded"] == [{"target": "small", "reason": "its API key is not set"}]
        ready = await client.get("/readyz")
        assert ready.status == 200
        body = await ready.json()
        assert body["catalog"]["usable"] == 1
        assert body["catalog"]["unusable"] == decision["excluded"]


async def test_no_usable_target_is_not_ready(tmp_path: Path) -> None:
    """And a request is a 422 that lists each target with its reason."""
    settings = Settings(prompts=written(tmp_path / "prompts"), store="memory:")
    async with service(settings, {}) as built, TestClient(TestServer(built.app)) as client:
        ready = await client.get("/readyz")
        assert ready.status == 503
        assert (await ready.json())["status"] == "no target can serve"
        answer = await client.post("/route", json={"prompt": "Hello"})
        assert answer.status == 422
        assert "small: its API key is not set" in (await answer.json())["error"]["message"]


async def test_serve_says_who_can_serve(tmp_path: Path) -> None:
    """One line for all that can, one for each that cannot, with the variable to set."""
    written(tmp_path / "prompts", large=KEYLESS)
    with process(tmp_path, "serve", EXAMPLE_KEY="") as served:
        said = served.log.read_text()
    assert "can serve: large\n" in said
    assert said.count("small cannot serve: EXAMPLE_KEY is not set") == 1


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("redis", "LLMROUTER_STORE"),
        ("redis://:not a port", "LLMROUTER_STORE"),
        ("disk:/dev/null/here", "LLMROUTER_STORE"),
    ],
)
def test_a_wrong_store_ends_the_start_with_one_line(store: str, said: str, tmp_path: Path) -> None:
    """Exit 2, and no stack trace."""
    shell = Shell(tmp_path)
    done = shell.run("serve", "--port", "0", LLMROUTER_STORE=store)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if said in line]
    assert len(errors) == 1
    assert "Traceback" not in done.err


async def test_a_dead_redis_is_one_line_and_no_obstacle(tmp_path: Path) -> None:
    """Requests are answered meanwhile; the log does not repeat itself every second."""
    dead = f"redis://127.0.0.1:{free_port()}/0"
    with process(tmp_path, "demo", LLMROUTER_STORE=dead) as served:
        async with aiohttp.ClientSession(served.base) as session:
            end = time.monotonic() + 4.0
            while time.monotonic() < end:
                async with session.post("/route", json={"prompt": "Hello there"}) as answer:
                    assert answer.status == 200
        said = served.log.read_text()
    assert said.count("ConnectionError") <= 2, "the store's own line, and the first caller's"
