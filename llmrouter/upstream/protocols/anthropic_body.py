"""A request inside as the body of Anthropic's Messages."""

from __future__ import annotations

from typing import Any, Final

from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.protocols.interface import (
    Document,
    Losses,
    json_of,
    mapping,
    strings,
    text_of,
)

TAKES: Final = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "n",
)
"""The members of a request inside that a Messages body takes."""
DEFAULT_MAX_TOKENS: Final = 8192
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_JSON = "Answer with one JSON object and nothing else."
_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")


def built(document: Document, target: Target, losses: Losses) -> dict[str, Any]:
    """The body. Raises UpstreamFailure `untranslatable` for what must not be left out."""
    for name, value in document.items():
        if name not in TAKES and name not in ("model", "router") and value is not None:
            losses.add(f"{name} dropped")
    if (document.get("n") or 1) != 1:
        raise UpstreamFailure("untranslatable", "n: Messages gives one answer a request")
    turns, system = _turns(document["messages"], losses)
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": int(limit) if limit else target.max_output or DEFAULT_MAX_TOKENS,
        "messages": turns,
    }
    if document.get("stream"):
        body["stream"] = True
    form = mapping(document.get("response_format"))
    if form.get("type") == "json_object":
        system.append({"type": "text", "text": _JSON})
        losses.add("response_format json_object became an instruction")
    elif form.get("type") == "json_schema":
        schema = mapping(form.get("json_schema")).get("schema") or {}
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if system:
        plain = len(system) == 1 and "cache_control" not in system[0]
        body["system"] = system[0]["text"] if plain else system
    if stop := strings(document.get("stop")):
        body["stop_sequences"] = stop
    _put_tools(document, body, losses)
    _put_effort(document, body, losses)
    _put_sampling(document, body, losses)
    return body


def _put_sampling(document: Document, body: dict[str, Any], losses: Losses) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = document.get(name)
        if value is None:
            continue
        if "thinking" in body and name != "top_p":
            losses.add(f"{name} dropped")  # the API allows none while it thinks
        elif name == "temperature" and value > 1:
            body[name] = 1
            losses.add("temperature above 1 became 1")
        else:
            body[name] = value


def _put_effort(document: Document, body: dict[str, Any], losses: Losses) -> None:
    effort = document.get("reasoning_effort")
    if effort in (None, "none", "minimal"):
        return
    forced = mapping(body.get("tool_choice")).get("type") in ("any", "tool")
    last = [turn for turn in body["messages"][-2:] if turn["role"] == "assistant"]
    looping = any(b["type"] == "tool_use" for turn in last for b in _blocks(turn["content"]))
    if forced or looping:  # the API refuses to think then, without the thinking that came before
        losses.add("reasoning_effort dropped")
        return
    body["thinking"] = {"type": "adaptive"}
    if known := _EFFORTS.get(str(effort)):
        body.setdefault("output_config", {})["effort"] = known


def _put_tools(document: Document, body: dict[str, Any], losses: Losses) -> None:
    tools = []
    functions = [{"type": "function", "function": f} for f in document.get("functions") or ()]
    for tool in [*(document.get("tools") or ()), *functions]:
        function = mapping(tool.get("function"))
        if not isinstance(function.get("name"), str):
            losses.add(f"tool {str(tool.get('type'))[:40]} dropped")
            continue
        made: dict[str, Any] = {
            "name": function["name"],
            "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        }
        if function.get("description"):
            made["description"] = function["description"]
        if function.get("strict"):
            made["strict"] = True
        if tool.get("cache_control"):
            made["cache_control"] = tool["cache_control"]
        tools.append(made)
    if not tools:
        return
    body["tools"] = tools
    choice = document.get("tool_choice")
    put: dict[str, Any] = {}
    if choice in ("auto", "none"):
        put = {"type": choice}
    elif choice == "required":
        put = {"type": "any"}
    elif name := mapping(mapping(choice).get("function")).get("name"):
        put = {"type": "tool", "name": name}
    if document.get("parallel_tool_calls") is False and put.get("type") != "none":
        put = {**(put or {"type": "auto"}), "disable_parallel_tool_use": True}
    if put:
        body["tool_choice"] = put


def _turns(
    messages: list[dict[str, Any]], losses: Losses
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The turns, neighbours of one role joined, and the system prompt's blocks."""
    turns: list[dict[str, Any]] = []
    system: list[dict[str, Any]] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            if turns:
                losses.add("system turns moved to the front")
            system += [b for b in _content(content, losses) if b["type"] == "text"]
            continue
        if role in ("tool", "function"):
            role, blocks = "user", [_result(message, losses)]
        else:
            blocks = _content(content, losses)
            blocks += [_call(c) for c in message.get("tool_calls") or ()]
            if message.get("reasoning_content") or message.get("reasoning"):
                losses.add("reasoning in the history dropped")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = [*_blocks(turns[-1]["content"]), *blocks]
        elif blocks:
            turns.append({"role": role, "content": _compact(blocks)})
    return turns, system


def _compact(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    only = blocks[0] if len(blocks) == 1 else {}
    return only["text"] if set(only) == {"type", "text"} else blocks


def _blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = mapping(call.get("function"))
    return {
        "type": "tool_use",
        "id": call.get("id"),
        "name": function.get("name"),
        "input": json_of(function.get("arguments")),
    }


def _result(message: dict[str, Any], losses: Losses) -> dict[str, Any]:
    blocks = _content(message.get("content"), losses)
    if all(block["type"] == "text" for block in blocks):
        content: object = text_of(message.get("content"))
    else:
        content = blocks
    made = {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id") or message.get("name"),
        "content": content,
    }
    if message.get("is_error"):
        made["is_error"] = True
    return made


def _content(content: object, losses: Losses) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = []
    for part in content if isinstance(content, list) else ():
        block = _block(part, losses)
        if block is not None:
            if part.get("cache_control"):
                block["cache_control"] = part["cache_control"]
            blocks.append(block)
    return blocks


def _block(part: dict[str, Any], losses: Losses) -> dict[str, Any] | None:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part["text"]} if part.get("text") else None
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    if kind == "image_url":
        image = part.get("image_url")
        url = image if isinstance(image, str) else mapping(image).get("url")
        source = _source(str(url))
        if source.get("media_type", _TYPES[0]) in _TYPES:
            return {"type": "image", "source": source}
    if kind == "file":
        file = mapping(part.get("file"))
        source = _source(str(file.get("file_data") or ""))
        if source.get("media_type") == "application/pdf":
            title = {"title": file["filename"]} if file.get("filename") else {}
            return {"type": "document", "source": source, **title}
    raise UpstreamFailure("untranslatable", f"Messages cannot carry a part of type {kind!r}")


def _source(url: str) -> dict[str, Any]:
    head, mark, data = url.partition(";base64,")
    if head.startswith("data:") and mark:
        return {"type": "base64", "media_type": head[5:].partition(";")[0], "data": data}
    return {"type": "url", "url": url}
