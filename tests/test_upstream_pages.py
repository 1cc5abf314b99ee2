"""What an upstream says is never a page in the caller's browser, whatever door it comes through."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest
from aiohttp import web

from tests.catalog.prompts_dir import SMALL, written
from tests.test_bootstrap import running

PAGE = b"<html><script>fetch('/decisions')</script></html>"
KINDS = ("text/html", "image/svg+xml", "application/xhtml+xml", "text/html; application/json")
SAFE = {"application/json", "text/event-stream", "text/plain"}
HI = [{"role": "user", "content": "hi"}]
DOORS = {
    "/route": {"messages": HI},
    "/complete": {"messages": HI},
    "/v1/chat/completions": {"messages": HI},
    "/v1/messages": {"messages": HI, "max_tokens": 9},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/completions": {"prompt": "hi"},
    "/v1/decisions": {"input": "hi"},
    "/v1/systemone": {"input": "hi"},
}
PASSED = "capabilities: [chat, tools, embeddings, completions, decisions, systemone]"


async def test_no_page_of_an_upstream_comes_through_any_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals, failures and answers of every wire format, whole and streamed."""
    prompts = written(tmp_path / "prompts")
    for name in ("openai-chat", "anthropic-messages", "openai-responses"):
        text = SMALL.replace("capabilities: [tools]", f"{PASSED}\nprotocol: {name}")
        (prompts / "catalog" / f"{name}.md").write_text(text.replace("small-1", f"m-{name}"))
    (prompts / "routing.yaml").write_text("default: small\nfallback: {retries: 0}\n")
    (prompts / "router.md").unlink()
    said, asked = {"status": 400, "kind": ""}, []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(
            status=int(said["status"]), body=PAGE, headers={"Content-Type": str(said["kind"])}
        )

    hostile = web.Application()
    hostile.router.add_route("*", "/{path:.*}", page)
    kinds = cycle(KINDS)
    async with running(tmp_path, monkeypatch, upstream=hostile) as up:
        for status in (400, 200, 500):
            for model in ("openai-chat", "anthropic-messages", "openai-responses"):
                for door, body in DOORS.items():
                    for stream in (False, True):
                        said.update(status=status, kind=next(kinds))
                        sent = {"model": model, "stream": stream, **body}
                        async with up.client.post(door, json=sent) as answer:
                            text = await answer.read()
                        case = status, model, door, stream, said["kind"]
                        assert answer.content_type in SAFE, case
                        if PAGE in text:
                            assert answer.headers["X-Content-Type-Options"] == "nosniff", case
    assert len(asked) > 50
