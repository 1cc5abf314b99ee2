"""Anthropic's Messages, simulated: whole, streamed, with thinking, tools, errors and token counts.

Written by hand from the API's documentation, so that it can hold the service's own translation to
it: the same text, the same events, in the order and the shape that Anthropic's clients expect.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from llmrouter.simulator.replies import Reply, reply, text_of

SIGNATURE = "sim-signature-"
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read(body: bytes) -> dict[str, Any]:
    """A body of Messages. Raises ValueError where it is none."""
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the body is not an object")
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(document.get(name), kind) or not document[name]:
            raise ValueError(f"{name}: field required")
    for number, turn in enumerate(document["messages"]):
        for block in turn["content"] if isinstance(turn.get("content"), list) else ():
            if block.get("type") == "thinking" and SIGNATURE not in block.get("signature", ""):
                raise ValueError(f"messages.{number}: invalid `signature` in `thinking` block")
    return document


def as_chat(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the simulated model reads of it."""
    messages: list[dict[str, Any]] = []
    if document.get("system"):
        messages.append({"role": "system", "content": text_of({"content": document["system"]})})
    for turn in document["messages"]:
        content = turn.get("content")
        results = isinstance(content, list) and any(b.get("type") == "tool_result" for b in content)
        messages.append(
            {"role": "tool" if results else turn["role"], "content": text_of({"content": content})}
        )
    chat: dict[str, Any] = {"messages": messages, "max_tokens": document["max_tokens"]}
    chat["tools"] = [
        {"function": {"name": t["name"], "parameters": t["input_schema"]}}
        for t in document.get("tools") or ()
        if "input_schema" in t
    ]
    choice = document.get("tool_choice") or {}
    if choice.get("type") == "none":
        chat["tool_choice"] = "none"
    elif choice.get("type") == "tool":
        chat["tool_choice"] = {"function": {"name": choice["name"]}}
    form = (document.get("output_config") or {}).get("format")
    if form:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    return chat


def thinks(document: Mapping[str, Any]) -> bool:
    """Whether thinking was asked for."""
    return (document.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def answered(document: Mapping[str, Any]) -> Reply:
    """What the model says."""
    return reply(document["model"], as_chat(document))


def usage(document: Mapping[str, Any], answer: Reply) -> dict[str, Any]:
    """Token counts; what is marked with `cache_control` was read from the cache."""
    size = len(orjson.dumps([document["messages"], document.get("system")])) // 4
    cached = size // 2 if b'"cache_control"' in orjson.dumps(document.get("system")) else 0
    return {
        "input_tokens": size - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": len(answer.tokens) if answer.tool is None else 12,
        "service_tier": "standard",
    }


def whole(document: Mapping[str, Any], answer: Reply) -> dict[str, Any]:
    """A message."""
    content: list[dict[str, Any]] = []
    if thinks(document):
        content.append(
            {"type": "thinking", "thinking": "Simulated.", "signature": _signed(document)}
        )
    if answer.tool is None:
        content.append({"type": "text", "text": answer.text})
    else:
        given = orjson.loads(answer.tool[1])
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_{uuid.uuid4().hex[:16]}",
                "name": answer.tool[0],
                "input": given,
            }
        )
    return {
        "id": f"msg_sim_{uuid.uuid4().hex[:16]}",
        "type": "message",
        "role": "assistant",
        "model": document["model"],
        "content": content,
        "stop_reason": _STOP[answer.finish_reason],
        "stop_sequence": None,
        "usage": usage(document, answer),
    }


def _signed(document: Mapping[str, Any]) -> str:
    return SIGNATURE + str(document["model"])


def events(document: Mapping[str, Any], answer: Reply) -> Iterator[bytes]:
    """The events of a stream; the text goes out a token at a time."""
    made = whole(document, answer)
    started = {**made, "content": [], "stop_reason": None}
    started["usage"] = {**made["usage"], "output_tokens": 1}
    yield _event({"type": "message_start", "message": started})
    yield _event({"type": "ping"})
    for number, block in enumerate(made["content"]):
        yield from _block(number, block, answer)
    delta = {"stop_reason": made["stop_reason"], "stop_sequence": None}
    told = {"output_tokens": made["usage"]["output_tokens"]}
    yield _event({"type": "message_delta", "delta": delta, "usage": told})
    yield _event({"type": "message_stop"})


def _block(number: int, block: dict[str, Any], answer: Reply) -> Iterator[bytes]:
    def delta(**said: Any) -> bytes:
        return _event({"type": "content_block_delta", "index": number, "delta": said})

    kind = block["type"]
    empty = {"thinking": "", "signature": ""} if kind == "thinking" else {"text": ""}
    opened = {**block, "input": {}} if kind == "tool_use" else {"type": kind, **empty}
    yield _event({"type": "content_block_start", "index": number, "content_block": opened})
    if kind == "thinking":
        yield delta(type="thinking_delta", thinking=block["thinking"])
        yield delta(type="signature_delta", signature=block["signature"])
    elif kind == "text":
        for token in answer.tokens:
            yield delta(type="text_delta", text=token)
    else:
        text = orjson.dumps(block["input"]).decode()
        yield delta(type="input_json_delta", partial_json="")
        for at in range(0, len(text), 8):
            yield delta(type="input_json_delta", partial_json=text[at : at + 8])
    yield _event({"type": "content_block_stop", "index": number})


def _event(document: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), orjson.dumps(document))


def error(status: int, message: str) -> web.Response:
    """Anthropic's envelope."""
    inside = {"type": _KINDS.get(status, "api_error"), "message": message}
    return web.json_response(
        {"type": "error", "error": inside, "request_id": "req_sim"},
        status=status,
        headers={"x-simulated": "true"},
    )
