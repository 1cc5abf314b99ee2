"""The service in front of the simulator, with a target for each wire format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from llmrouter.simulator.app import SimOptions, create_app
from tests.catalog.prompts_dir import SMALL, written

TARGETS = {
    "chat": "protocol: openai-chat",
    "claude": "protocol: anthropic-messages\nauth: x-api-key",
    "resp": "protocol: openai-responses",
    "vectors": "capabilities: [embeddings]",
    "legacy": "capabilities: [completions, decisions, systemone]",
}


def target(name: str, wire: str) -> str:
    """A catalog file; every target of conversations can do everything."""
    front = SMALL.replace("small-1", f"{name}-1").replace("context_window: 8000", f"{wire}")
    front = front.replace("max_output: 2000", "context_window: 200000\nmax_output: 32000")
    able = "capabilities: [tools, json_schema, vision, reasoning, files]"
    return front.replace("capabilities: [tools]\n", "" if "capabilities" in wire else f"{able}\n")


def prompts(directory: Path, routing: str) -> Path:
    """A prompts directory whose targets speak every format."""
    found = written(directory, routing=routing)
    for path in (found / "catalog").iterdir():
        path.unlink()
    for name, wire in TARGETS.items():
        (found / "catalog" / f"{name}.md").write_text(target(name, wire))
    return found


@asynccontextmanager
async def serving(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    routing: str = "default: chat\n",
    **over: object,
) -> AsyncIterator[str]:
    """The address of a running service."""
    async with TestServer(create_app(SimOptions(latency_scale=0))) as simulator:
        monkeypatch.setenv("LLMROUTER_DEMO_UPSTREAM", str(simulator.make_url("/v1")))
        given = {"prompts": prompts(tmp_path / "prompts", routing), "port": 0, **over}
        store = f"disk:{tmp_path / 'store'}"
        settings = Settings(store=store, _env_file=None, **given)  # type: ignore[arg-type]
        async with service(settings) as built, TestServer(built.app) as server:
            yield str(server.make_url("/")).rstrip("/")


@pytest.fixture
async def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of a running service."""
    async with serving(tmp_path, monkeypatch) as address:
        yield address
