"""Coding agents against the running service: sessions, tool loops, signed thinking, side tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients.conftest import serving

TOOL = {"name": "run", "input_schema": {"type": "object", "properties": {}}}
USER_ID = "user_ab12_account__session_0d6f3c1e-7a44-4b5e-9f55-000000000001"
CLAUDE_CODE = {"User-Agent": "claude-cli/2.3.1 (external, cli)"}


@pytest.fixture
async def session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a service whose rules send long turns elsewhere than short ones."""
    rules = """\
rules:
  - name: side
    when: {side_task: [title, topic, suggestion, summary, probe]}
    route: chat
"""
    routing = f"default: claude\n{rules}"
    async with (
        serving(tmp_path, monkeypatch, routing=routing) as base,
        aiohttp.ClientSession(base) as client,
    ):
        yield client


def turn(text: str) -> dict[str, Any]:
    """A user turn."""
    return {"role": "user", "content": text}


async def send(
    client: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[Any, Any]:
    """The message and the headers of an answer."""
    async with client.post("/v1/messages", json=body, headers=headers) as response:
        document = await response.json()
        assert response.status == 200, document
        return document, response.headers


async def test_a_tool_loop_stays_where_it_began(session: aiohttp.ClientSession) -> None:
    """The result of a call goes to the target that made it, though `auto` would choose another."""
    body: dict[str, Any] = {"model": "auto", "max_tokens": 50, "tools": [TOOL]}
    body["messages"] = [turn("List the files.")]
    first, headers = await send(session, {**body, "router": {"allow": ["resp"]}})
    assert headers["x-llmrouter-target"] == "resp"
    call = next(block for block in first["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a.txt"}
    body["messages"] += [
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    _, headers = await send(session, body)
    assert headers["x-llmrouter-target"] == "resp"
    assert headers["x-llmrouter-source"] == "session"


@pytest.mark.parametrize(
    ("named", "headers"),
    [
        ({"metadata": {"user_id": USER_ID}}, {}),
        ({"metadata": {"user_id": '{"device_id":"d","session_id":"s-1"}'}}, {}),
        ({}, {"x-claude-code-session-id": "s-2"}),
        ({}, {"session_id": "s-3"}),
    ],
    ids=["user_id", "user_id as JSON", "Claude Code's header", "Codex's header"],
)
async def test_a_named_session_stays_on_its_target(
    session: aiohttp.ClientSession, named: dict[str, Any], headers: dict[str, str]
) -> None:
    """The next turn stays although its system prompt changed; another session is decided afresh."""
    body: dict[str, Any] = {"model": "auto", "max_tokens": 50, **named}
    opening = [turn("Refactor the parser.")]
    _, told = await send(
        session,
        {**body, "system": "One", "messages": opening, "router": {"allow": ["resp"]}},
        headers,
    )
    assert told["x-llmrouter-target"] == "resp"
    more = [*opening, {"role": "assistant", "content": "Done."}, turn("Now the tests.")]
    _, told = await send(session, {**body, "system": "Two", "messages": more}, headers)
    assert (told["x-llmrouter-target"], told["x-llmrouter-source"]) == ("resp", "session")
    alone = {"model": "auto", "max_tokens": 50, "system": "Two", "messages": more}
    _, told = await send(session, alone)
    assert told["x-llmrouter-target"] == "claude"


async def test_signed_thinking_stays_with_who_signed_it_or_is_taken_out(
    session: aiohttp.ClientSession,
) -> None:
    """Pinned to another target of the same format, the history goes without its thinking."""
    body: dict[str, Any] = {"max_tokens": 2000, "thinking": {"type": "adaptive"}}
    opening = [turn("Think about it.")]
    first, _ = await send(session, {**body, "model": "claude", "messages": opening})
    assert first["content"][0]["type"] == "thinking"
    more = [*opening, {"role": "assistant", "content": first["content"]}, turn("And again.")]
    _, told = await send(session, {**body, "model": "auto", "messages": more})
    assert told["x-llmrouter-target"] == "claude"
    assert "x-llmrouter-warnings" not in told
    _, told = await send(session, {**body, "model": "chat", "messages": more})
    assert "thinking in the history dropped" in told["x-llmrouter-warnings"]


async def test_thinking_that_a_target_turns_down_is_taken_out(
    session: aiohttp.ClientSession,
) -> None:
    """A signature of somebody else costs one refused attempt, not the request."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "somebody-elses"},
        {"type": "text", "text": "Done."},
    ]
    messages = [turn("Do it."), {"role": "assistant", "content": content}, turn("Again.")]
    _, told = await send(session, {"model": "claude", "max_tokens": 50, "messages": messages})
    assert told["x-llmrouter-attempts"] == "2"
    assert "reasoning in the history dropped" in told["x-llmrouter-warnings"]


async def test_reasoning_carried_over_from_another_format_never_reaches_a_provider(
    session: aiohttp.ClientSession,
) -> None:
    """It comes back under this service's own signature, which is taken out before it is relayed."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "llmrouter:chat"},
        {"type": "text", "text": "Done."},
    ]
    messages = [turn("Do it."), {"role": "assistant", "content": content}, turn("Again.")]
    _, told = await send(session, {"model": "claude", "max_tokens": 50, "messages": messages})
    assert "x-llmrouter-attempts" not in told


@pytest.mark.parametrize(
    "asked",
    [
        {"system": "Generate a concise, sentence-case title (3-7 words) that captures the topic."},
        {"system": "Analyze if this message indicates a new conversation topic. If it does, …"},
        {"messages": [turn("Please write a 5-10 word title for the following conversation:\n…")]},
        {"messages": [turn("quota")]},
    ],
    ids=["title", "topic", "title in the turn", "probe"],
)
async def test_what_agents_ask_on_the_side_goes_where_the_rule_says(
    session: aiohttp.ClientSession, asked: dict[str, Any]
) -> None:
    """Titles and topics are recognised by their words and routed by the rule."""
    body = {"model": "auto", "max_tokens": 50, "messages": [turn("Fix the parser.")], **asked}
    _, told = await send(session, body)
    assert (told["x-llmrouter-target"], told["x-llmrouter-source"]) == ("chat", "rules")


async def test_claude_code_is_answered_under_the_name_it_asked_for(
    session: aiohttp.ClientSession,
) -> None:
    """Others see the model that answered; whole and streamed."""
    body = {"model": "claude", "max_tokens": 50, "messages": [turn("Hello there, friend.")]}
    shown, _ = await send(session, body, CLAUDE_CODE)
    assert shown["model"] == "claude"
    shown, _ = await send(session, body)
    assert shown["model"] == "claude-1"
    async with session.post(
        "/v1/messages", json={**body, "stream": True}, headers=CLAUDE_CODE
    ) as response:
        text = await response.text()
    assert '"model":"claude",' in text.replace('"model": ', '"model":')
    assert '"claude-1"' not in text
