"""The same format in and out is relayed byte for byte: 200 bodies of recorded shapes a format.

Each body has what clients and providers really send and a parser would not give back: cache marks,
signed thinking, vendor fields, white space, escapes, numbers beyond 64 bits, odd event framing.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from tests.clients.conftest import prompts

COUNT = 200
TARGET = {"chat/completions": "chat", "messages": "claude", "responses": "resp"}
TEXTS = (
    "Grüße, 你好 \U0001f642",
    'a "quoted" \\ path\n',
    "x" * 300,
    "</tag> \u2028 end",
    "data: [DONE]",
)


class Recorder:
    """An upstream that answers what it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.answer = b""
        self.streams = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep and answer."""
        self.sent = await request.read()
        kind = "text/event-stream" if self.streams else "application/json"
        return web.Response(body=self.answer, headers={"Content-Type": kind})


@pytest.fixture
async def relayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[aiohttp.ClientSession, Recorder]]:
    """A client of the service, and the upstream behind it."""
    recorder, app = Recorder(), web.Application()
    app.router.add_post("/{tail:.*}", recorder.handle)
    async with TestServer(app) as upstream:
        monkeypatch.setenv("LLMROUTER_DEMO_UPSTREAM", str(upstream.make_url("/v1")))
        settings = Settings(
            prompts=prompts(tmp_path / "prompts", "default: chat\n"),
            store=f"disk:{tmp_path / 'store'}",
            port=0,
            _env_file=None,
        )
        async with (
            service(settings) as built,
            TestServer(built.app) as server,
            aiohttp.ClientSession(str(server.make_url("/"))) as client,
        ):
            yield client, recorder


def dressed(rng: random.Random, document: dict[str, Any]) -> str:
    """JSON text as some client or provider would write it."""
    members = list(document.items())
    rng.shuffle(members)
    indent, space = rng.choice([None, None, 2]), rng.choice([(",", ":"), (", ", ": ")])
    text = json.dumps(
        dict(members), ensure_ascii=rng.random() < 0.5, indent=indent, separators=space
    )
    return text.replace('"@big"', "123456789012345678901234567890").replace('"@float"', "1.0")


def vendor(rng: random.Random) -> dict[str, Any]:
    """Fields that no documentation knows."""
    known = {"x_big": "@big", "x_float": "@float", "x_null": None, "x_list": [[], {}, "@float"]}
    return {name: value for name, value in known.items() if rng.random() < 0.5}


def asked(rng: random.Random, path: str, stream: bool) -> dict[str, Any]:
    """A request of one format."""
    text = rng.choice(TEXTS)
    body: dict[str, Any] = {"model": "@model", "stream": stream, **vendor(rng)}
    schema = {"type": "object", "properties": {"model": {"type": "string"}}}
    if path == "messages":
        mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        thought = {"type": "thinking", "thinking": text, "signature": "c2lnbmF0dXJl+/=="}
        call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"model": text}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text, **mark}
        body |= {"max_tokens": 64, "system": [{"type": "text", "text": text, **mark}]}
        body["tools"] = [{"name": "f", "input_schema": schema, **mark}]
        body["messages"] = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "ok"}, call]},
            {"role": "user", "content": [result]},
        ]
    elif path == "responses":
        reasoning = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "encrypted_content": "gAAA==",
        }
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1.0}'}
        output = {"type": "function_call_output", "call_id": "c", "output": text}
        body |= {"instructions": text, "include": ["reasoning.encrypted_content"], "store": False}
        body["tools"] = [{"type": "function", "name": "f", "parameters": schema, "strict": None}]
        body["input"] = [{"role": "user", "content": text}, reasoning, call, output]
    else:
        body["messages"] = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        body |= {"stream_options": {"include_usage": True}} if stream else {}
    return body


def answered(rng: random.Random, path: str) -> dict[str, Any]:
    """A whole answer of one format."""
    text = rng.choice(TEXTS)
    if path == "messages":
        block = {"type": "thinking", "thinking": text, "signature": "c2ln+/=="}
        usage = {"input_tokens": 3, "cache_read_input_tokens": 9, "output_tokens": 2}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1-20990101"}
        content = [block, {"type": "text", "text": text, "citations": None}]
        told = {"content": content, "stop_reason": "end_turn", "stop_sequence": None}
        return {**head, **told, "usage": usage, **vendor(rng)}
    if path == "responses":
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        head = {"id": "resp_1", "object": "response", "status": "completed", "model": "resp-1"}
        return {**head, "output": [item], "usage": usage, **vendor(rng)}
    message = {"role": "assistant", "content": text, "reasoning_content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "choices": [choice], **vendor(rng)}


def events(rng: random.Random, path: str) -> bytes:
    """A stream of one format, framed as some server would."""
    text = rng.choice(TEXTS)
    if path == "messages":
        started = {**answered(rng, path), "content": [], "stop_reason": None}
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": text}
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        documents: list[dict[str, Any]] = [
            {"type": "message_start", "message": started},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": delta, **vendor(rng)},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
    elif path == "responses":
        whole = answered(rng, path)
        begun = {**whole, "status": "in_progress", "output": []}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        documents = [
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {"type": "response.output_text.delta", "sequence_number": 1, "delta": text, **place},
            {"type": "response.completed", "sequence_number": 2, "response": whole},
        ]
    else:
        head = {"id": "c", "object": "chat.completion.chunk", **vendor(rng)}
        documents = [
            {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {**head, "choices": [{"index": 0, "delta": {"content": text}}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**head, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        ]
    line = rng.choice(["\n", "\r\n"])
    written = []
    for document in documents:
        if rng.random() < 0.2:
            written.append(f": keep-alive{line}{line}")
        named = f"event: {document['type']}{line}" if "type" in document else ""
        data = dressed(rng, document).replace("\n", f"{line}data: ")
        written.append(f"{named}data: {data}{line}{line}")
    if path == "chat/completions":
        written.append(f"data: [DONE]{line}{line}")
    return "".join(written).encode()


@pytest.mark.parametrize("path", TARGET)
async def test_requests_and_answers_are_relayed_byte_for_byte(
    relayed: tuple[aiohttp.ClientSession, Recorder], path: str
) -> None:
    """Only the model's name differs on the way there, and nothing on the way back."""
    client, recorder = relayed
    rng, name = random.Random(f"13 {path}"), TARGET[path]
    for number in range(COUNT):
        stream = recorder.streams = number % 2 == 1
        text = dressed(rng, asked(rng, path, stream))
        recorder.answer = (
            events(rng, path) if stream else dressed(rng, answered(rng, path)).encode()
        )
        body = text.replace('"@model"', f'"{name}"').encode()
        async with client.post(
            f"/v1/{path}", data=body, headers={"Content-Type": "application/json"}
        ) as response:
            told = await response.read()
        assert response.status == 200, told
        assert recorder.sent == text.replace('"@model"', f'"{name}-1"').encode()
        assert told == recorder.answer
        assert "x-llmrouter-warnings" not in response.headers
