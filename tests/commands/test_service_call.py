"""Calls of the running service by commands: where it is, and what it says."""

from __future__ import annotations

import asyncio

import pytest
import typer
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.commands.service_call import base_url, call


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"HOST": "::", "BASE_PATH": "/llm/"}, "http://[::1]:8080/llm"),
    ],
)
def test_the_service_is_where_the_settings_say(
    settings: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that is listened on everywhere is called on this machine."""
    for name in ("HOST", "PORT", "BASE_PATH"):
        monkeypatch.delenv(f"LLMROUTER_{name}", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"LLMROUTER_{name}", value)
    assert base_url(None) == url


def test_an_address_without_a_scheme_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to write."""
    with pytest.raises(typer.Exit) as refused:
        base_url("localhost:8080")
    assert refused.value.exit_code == 2
    assert "http://host:port" in capsys.readouterr().err


async def test_it_calls_with_the_admin_key_and_tells_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal and a missing service are one line and exit code 1."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer hunter2":
            return web.json_response({"error": {"message": "no key"}}, status=401)
        return web.json_response({"got": await request.json()})

    app = web.Application()
    app.router.add_post("/llm/canary", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/llm/"))
        monkeypatch.setenv("LLMROUTER_ADMIN_KEY", "hunter2")
        assert await asyncio.to_thread(call, url, "POST", "/canary", {"a": 1}) == {"got": {"a": 1}}
        monkeypatch.delenv("LLMROUTER_ADMIN_KEY")
        with pytest.raises(typer.Exit) as refused:
            await asyncio.to_thread(call, url, "POST", "/canary")
    with pytest.raises(typer.Exit):
        await asyncio.to_thread(call, url, "GET", "/canary")
    assert refused.value.exit_code == 1
    assert capsys.readouterr().err.splitlines()[0] == "llmrouter: no key"
