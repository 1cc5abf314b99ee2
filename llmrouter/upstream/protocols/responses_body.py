"""A request inside as the body of OpenAI's Responses."""

from __future__ import annotations

from typing import Any, Final

from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.protocols.interface import Document, Losses, mapping, text_of

TAKES: Final = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "top_logprobs",
    "logprobs",
    "n",
)
"""The members of a request inside that a Responses body takes."""
_SAME: Final = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
)


def built(document: Document, target: Target, losses: Losses) -> dict[str, Any]:
    """The body. Raises UpstreamFailure `untranslatable` for what must not be left out."""
    for name, value in document.items():
        if name not in TAKES and name not in ("model", "router") and value is not None:
            losses.add(f"{name} dropped")
    if (document.get("n") or 1) != 1:
        raise UpstreamFailure("untranslatable", "n: Responses give one answer a request")
    body: dict[str, Any] = {
        "model": target.model,
        "input": _items(document["messages"], losses),
        "store": False,
    }
    for name in _SAME:
        if document.get(name) is not None:
            body[name] = document[name]
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    if limit:
        body["max_output_tokens"] = int(limit)
    if document.get("stream"):
        body["stream"] = True
    if document.get("logprobs"):
        body["include"] = ["message.output_text.logprobs"]
        if document.get("top_logprobs"):
            body["top_logprobs"] = document["top_logprobs"]
    effort = document.get("reasoning_effort")
    if isinstance(effort, str):
        body["reasoning"] = {"effort": "xhigh" if effort == "max" else effort}
    _put_format(document, body)
    _put_tools(document, body, losses)
    return body


def _put_format(document: Document, body: dict[str, Any]) -> None:
    text: dict[str, Any] = {}
    form = mapping(document.get("response_format"))
    if form.get("type") == "json_schema":
        named = mapping(form.get("json_schema"))
        text["format"] = {"type": "json_schema", "name": "answer", **named}
    elif form.get("type") == "json_object":
        text["format"] = {"type": "json_object"}
    if document.get("verbosity"):
        text["verbosity"] = document["verbosity"]
    if text:
        body["text"] = text


def _put_tools(document: Document, body: dict[str, Any], losses: Losses) -> None:
    tools = []
    functions = [{"type": "function", "function": f} for f in document.get("functions") or ()]
    for tool in [*(document.get("tools") or ()), *functions]:
        function = mapping(tool.get("function"))
        if not isinstance(function.get("name"), str):
            losses.add(f"tool {str(tool.get('type'))[:40]} dropped")
            continue
        if tool.get("cache_control"):
            losses.add("cache_control dropped")
        tools.append(
            {
                "type": "function",
                "name": function["name"],
                "description": function.get("description"),
                "parameters": function.get("parameters") or {"type": "object", "properties": {}},
                "strict": bool(function.get("strict")),
            }
        )
    if not tools:
        return
    body["tools"] = tools
    choice = document.get("tool_choice")
    if isinstance(choice, str):
        body["tool_choice"] = choice
    elif name := mapping(mapping(choice).get("function")).get("name"):
        body["tool_choice"] = {"type": "function", "name": name}


def _items(messages: list[dict[str, Any]], losses: Losses) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role in ("tool", "function"):
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": message.get("tool_call_id") or message.get("name"),
                    "output": _output(message, losses),
                }
            )
            continue
        if role == "assistant":
            if message.get("reasoning_content") or message.get("reasoning"):
                losses.add("reasoning in the history dropped")
            if text := text_of(content):
                items.append({"role": role, "content": text})
            items += [_call(call) for call in message.get("tool_calls") or ()]
        elif isinstance(content, list):
            parts = [_part(part, losses) for part in content]
            items.append({"role": role, "content": parts})
        else:
            items.append({"role": role, "content": content or ""})
    return items


def _output(message: dict[str, Any], losses: Losses) -> str | list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, list) and any(part.get("type") != "text" for part in content):
        return [_part(part, losses) for part in content]
    text = text_of(content)
    return f"Error: {text}" if message.get("is_error") else text


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = mapping(call.get("function"))
    return {
        "type": "function_call",
        "call_id": call.get("id"),
        "name": function.get("name"),
        "arguments": function.get("arguments") or "{}",
    }


def _part(part: dict[str, Any], losses: Losses) -> dict[str, Any]:
    kind = part.get("type")
    if part.get("cache_control"):
        losses.add("cache_control dropped")
    if kind == "text":
        return {"type": "input_text", "text": part.get("text") or ""}
    if kind == "image_url":
        image = part.get("image_url")
        if isinstance(image, str):
            return {"type": "input_image", "image_url": image, "detail": "auto"}
        named = mapping(image)
        detail = named.get("detail") or "auto"
        return {"type": "input_image", "image_url": named.get("url"), "detail": detail}
    if kind == "file":
        return {"type": "input_file", **mapping(part.get("file"))}
    raise UpstreamFailure("untranslatable", f"Responses cannot carry a part of type {kind!r}")
