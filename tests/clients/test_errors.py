"""Errors in the caller's own format: refusals, broken streams, keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from llmrouter.upstream.protocols.registry import BY_NAME
from tests.clients.conftest import prompts
from tests.upstream.protocols.written import documents, streamed, text_reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODIES: dict[str, dict[str, Any]] = {
    "messages": {"max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"input": "hi"},
    "chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
}
SPEAKS = {"chat": "openai-chat", "claude": "anthropic-messages", "resp": "openai-responses"}
PAIRS = [(path, model) for path in BODIES for model in SPEAKS]


@asynccontextmanager
async def before(
    handler: Handler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **over: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the service before this upstream."""
    app = web.Application()
    app.router.add_post("/{tail:.*}", handler)
    async with TestServer(app) as upstream:
        monkeypatch.setenv("LLMROUTER_DEMO_UPSTREAM", str(upstream.make_url("/v1")))
        given = {"store": f"disk:{tmp_path / 'store'}", "port": 0, **over}
        directory = prompts(tmp_path / "prompts", "default: chat\n")
        settings = Settings(prompts=directory, _env_file=None, **given)
        async with (
            service(settings) as built,
            TestServer(built.app) as server,
            aiohttp.ClientSession(str(server.make_url("/"))) as client,
        ):
            yield client


def is_own(path: str, error: dict[str, Any]) -> bool:
    """Whether an error is in the envelope of the path's clients."""
    inside = error["error"]
    if path == "messages":
        return error["type"] == "error" and set(inside) == {"type", "message"}
    return set(inside) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("path", "model"), PAIRS)
async def test_a_refusal_is_told_in_the_callers_envelope(
    path: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the upstream's own bytes where it speaks the same format, else in its words."""
    openai = {
        "message": "no such thing",
        "type": "invalid_request_error",
        "param": "x",
        "code": None,
    }
    theirs: dict[str, Any] = {"error": openai}
    if model == "claude":
        inside = {"type": "invalid_request_error", "message": "no such thing"}
        theirs = {"type": "error", "error": inside, "request_id": "req_theirs"}
    said = orjson.dumps(theirs, option=orjson.OPT_INDENT_2)

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, body=said, content_type="application/json")

    async with before(refuse, tmp_path, monkeypatch) as client:
        async with client.post(f"/v1/{path}", json={**BODIES[path], "model": model}) as response:
            body = await response.read()
        assert response.status == 400
        assert "no such thing" in body.decode()
        assert is_own(path, orjson.loads(body))
        same = {"messages": "claude", "responses": "resp", "chat/completions": "chat"}[path]
        assert (body == said) == (model == same)


@pytest.mark.parametrize(("path", "model"), PAIRS)
async def test_a_stream_that_breaks_off_ends_with_the_callers_error_event(
    path: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some text the connection is gone: one well-formed error, and no end marker."""
    spoken = SPEAKS[model]
    stream = streamed(spoken, text_reply("word " * 40))

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(stream[: len(stream) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    body = {**BODIES[path], "model": model, "stream": True}
    async with before(cut, tmp_path, monkeypatch) as client:
        async with client.post(f"/v1/{path}", json=body) as response:
            told = await response.read()
        assert response.status == 200
        last = documents(told)[-1]
        if path == "responses":
            assert last["type"] == "error"
            assert last["message"]
        else:
            assert is_own(path, last)
        assert b"[DONE]" not in told
        assert b"message_stop" not in told
        assert b"response.completed" not in told


@pytest.mark.parametrize("path", BODIES)
async def test_the_key_may_come_in_either_header(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bearer and `x-api-key` on every path; without one, 401 in the path's own envelope."""

    async def never(_: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    keys = "one:secret-key-1"
    async with before(never, tmp_path, monkeypatch, api_keys=keys) as client:
        for headers, status in (
            ({}, 401),
            ({"x-api-key": "secret-key-1"}, 404),
            ({"Authorization": "Bearer secret-key-1"}, 404),
        ):
            body = {**BODIES[path], "model": "nowhere"}
            async with client.post(f"/v1/{path}", json=body, headers=headers) as response:
                assert response.status == status
                assert is_own(path, await response.json())


def test_every_status_has_a_type_of_anthropics() -> None:
    """Clients tell errors apart by it."""
    from llmrouter.errors import DeadlineExceeded, Overloaded, RateLimited, UpstreamFailed

    messages = BY_NAME["anthropic-messages"]
    kinds = {
        type(error).__name__: messages.error(error, "r")["error"]["type"]
        for error in (
            DeadlineExceeded("x"),
            Overloaded("x"),
            RateLimited("x"),
            UpstreamFailed("x"),
        )
    }
    assert kinds == {
        "DeadlineExceeded": "timeout_error",
        "Overloaded": "overloaded_error",
        "RateLimited": "rate_limit_error",
        "UpstreamFailed": "api_error",
    }
