"""OpenAI's Responses, simulated: whole and streamed, with reasoning, tools and errors.

Written by hand from the API's documentation, for the same reason as `messages`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import orjson

from llmrouter.simulator.replies import Reply, reply, text_of

FREE_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
"""The parameters of a tool that takes free text, as the simulated model sees them."""


def read(body: bytes) -> dict[str, Any]:
    """A body of Responses. Raises ValueError where it is none."""
    document = orjson.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise ValueError("model must be a name")
    if not document.get("input") or not isinstance(document["input"], str | list):
        raise ValueError("input must be a text or a list of items")
    return document


def as_chat(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the simulated model reads of it."""
    messages: list[dict[str, Any]] = []
    if document.get("instructions"):
        messages.append({"role": "system", "content": document["instructions"]})
    if isinstance(document["input"], str):
        messages.append({"role": "user", "content": document["input"]})
    else:
        for item in document["input"]:
            if "role" in item:
                messages.append({"role": item["role"], "content": text_of(item)})
            elif str(item.get("type")).endswith("_output"):
                messages.append({"role": "tool", "content": str(item.get("output"))})
    chat: dict[str, Any] = {"messages": messages or [{"role": "user", "content": ""}]}
    if document.get("max_output_tokens"):
        chat["max_tokens"] = document["max_output_tokens"]
    chat["tools"] = [
        {"function": t if "parameters" in t else {"name": t.get("name"), "parameters": FREE_TEXT}}
        for t in document.get("tools") or ()
        if "parameters" in t or t.get("type") == "custom"
    ]
    choice = document.get("tool_choice")
    if choice == "none":
        chat["tool_choice"] = "none"
    elif isinstance(choice, dict):
        chat["tool_choice"] = {"function": {"name": choice.get("name")}}
    form = (document.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    return chat


def answered(document: Mapping[str, Any]) -> Reply:
    """What the model says."""
    return reply(document["model"], as_chat(document))


def whole(document: Mapping[str, Any], answer: Reply) -> dict[str, Any]:
    """A response."""
    mark = uuid.uuid4().hex[:16]
    output: list[dict[str, Any]] = []
    if (document.get("reasoning") or {}).get("effort") not in (None, "none"):
        said = [{"type": "summary_text", "text": "Simulated."}]
        output.append(
            {"id": f"rs_{mark}", "type": "reasoning", "summary": said, "encrypted_content": "sim"}
        )
    status = "incomplete" if answer.finish_reason == "length" else "completed"
    if answer.tool is None:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{mark}", "type": "message", "status": status, "role": "assistant"}
        output.append({**message, "content": [part]})
    else:
        name, arguments = answer.tool
        call = {"id": f"fc_{mark}", "status": status, "call_id": f"call_{mark}", "name": name}
        if any(t.get("type") == "custom" and t["name"] == name for t in document.get("tools", ())):
            given = {"type": "custom_tool_call", "input": orjson.loads(arguments)["input"]}
        else:
            given = {"type": "function_call", "arguments": arguments}
        output.append({**call, **given})
    asked = len(orjson.dumps(document["input"])) // 4
    written = len(answer.tokens) if answer.tool is None else 12
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": f"resp_{mark}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": cut,
        "instructions": document.get("instructions"),
        "metadata": document.get("metadata") or {},
        "model": document["model"],
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": document.get("reasoning") or {"effort": None, "summary": None},
        "store": document.get("store", True),
        "temperature": document.get("temperature", 1.0),
        "text": document.get("text") or {"format": {"type": "text"}},
        "tool_choice": document.get("tool_choice", "auto"),
        "tools": document.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + written,
        },
    }


def events(document: Mapping[str, Any], answer: Reply) -> Iterator[bytes]:
    """The events of a stream."""
    made = whole(document, answer)
    numbers = count()

    def event(name: str, **said: Any) -> bytes:
        data = orjson.dumps({"type": name, "sequence_number": next(numbers), **said})
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)

    begun = {**made, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for number, item in enumerate(made["output"]):
        place = {"item_id": item["id"], "output_index": number}
        opened = {**item, "status": "in_progress"}
        for name in ("content", "summary"):
            if name in item:
                opened[name] = []
        if "arguments" in item or "input" in item:
            opened["arguments" if "arguments" in item else "input"] = ""
        yield event("response.output_item.added", output_index=number, item=opened)
        if item["type"] == "message":
            part = item["content"][0]
            at = {**place, "content_index": 0}
            yield event("response.content_part.added", **at, part={**part, "text": ""})
            for token in answer.tokens:
                yield event("response.output_text.delta", **at, delta=token, logprobs=[])
            yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **at, part=part)
        elif item["type"] == "reasoning":
            part, at = item["summary"][0], {**place, "summary_index": 0}
            yield event("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            yield event("response.reasoning_summary_text.delta", **at, delta=part["text"])
            yield event("response.reasoning_summary_text.done", **at, text=part["text"])
            yield event("response.reasoning_summary_part.done", **at, part=part)
        else:
            kind = "arguments" if "arguments" in item else "input"
            name = "function_call_arguments" if kind == "arguments" else "custom_tool_call_input"
            text = item[kind]
            for start in range(0, len(text), 8):
                piece = text[start : start + 8]
                yield event(f"response.{name}.delta", **place, delta=piece)
            yield event(f"response.{name}.done", **place, **{kind: text})
        yield event("response.output_item.done", output_index=number, item=item)
    yield event(f"response.{made['status']}", response=made)
