"""Posting to a router LLM's server: by the fast path and by aiohttp's session."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream import router_http
from llmrouter.upstream.router_http import RouterHttp, ServerRefused, joined


async def _answer(request: web.Request) -> web.Response:
    body = await request.read()
    match request.path:
        case "/echo":
            return web.Response(body=body, headers={"X-Sent": request.headers.get("X-Sent", "")})
        case "/packed":
            return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
        case "/broken":
            return web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"})
        case _:
            return web.Response(status=307, headers={"Location": "/echo"}, body=b"elsewhere")


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    """A server that answers with what it was sent."""
    app = web.Application()
    app.router.add_post("/{path}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(params=[True, False], ids=["fast", "session"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[RouterHttp]:
    """Both ways to post."""
    one = RouterHttp(fast=request.param)
    yield one
    await one.close()


async def test_a_body_comes_back_whole_packed_or_not(http: RouterHttp, base_url: str) -> None:
    """A server that compresses although it was asked not to is understood."""
    for path in ("echo", "packed", "echo"):
        assert await http.post(f"{base_url}/{path}", {"X-Sent": "1"}, b"{}" * 100) == b"{}" * 100


async def test_another_status_is_a_refusal_with_body_and_headers(
    http: RouterHttp, base_url: str
) -> None:
    """A redirect is not followed."""
    with pytest.raises(ServerRefused) as caught:
        await http.post(f"{base_url}/moved", {}, b"{}")
    assert (caught.value.status, caught.value.body) == (307, b"elsewhere")
    assert caught.value.headers["Location"] == "/echo"


async def test_what_cannot_be_read_has_a_kind(
    http: RouterHttp, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken compression and too long an answer are malformed; no address is misconfigured."""
    kinds = []
    monkeypatch.setattr(router_http, "MAX_BYTES", 100)
    for url, body in (
        (f"{base_url}/broken", b"{}"),
        (f"{base_url}/echo", b"x" * 101),
        ("ftp://127.0.0.1/v1", b"{}"),
        ("http://127.0.0.1:9/v1", b"{}"),
    ):
        with pytest.raises(RouterLLMFailed) as caught:
            await http.post(url, {}, body)
        kinds.append(caught.value.kind)
    assert kinds == ["malformed", "malformed", "misconfigured", "connect"]


def test_a_path_goes_before_the_query_of_a_base_url() -> None:
    """Azure's addresses carry a version behind the path."""
    assert joined("https://a.test/v1/", "/decisions") == "https://a.test/v1/decisions"
    assert joined("https://a.test/v1?v=2", "/x") == "https://a.test/v1/x?v=2"
