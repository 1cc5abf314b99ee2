"""OpenAI's Responses: `POST /responses`, without state. `responses_reply` reads and writes replies.

The service keeps no responses, so what refers to one that was kept is refused with what to send
instead. A body without `store` is fine: official clients leave it out.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from llmrouter.domain.patterns import compile_bytes
from llmrouter.domain.target import Target
from llmrouter.errors import LLMRouterError
from llmrouter.upstream.protocols.interface import (
    AnswerContext,
    Document,
    Losses,
    ParsedRequest,
    Piece,
    bad,
    event,
    mapping,
    objects,
    strings,
    text_of,
    wrong_type,
)
from llmrouter.upstream.protocols.responses_body import built
from llmrouter.upstream.protocols.responses_encoder import OWN_ITEM, ResponsesEncoder, whole
from llmrouter.upstream.protocols.responses_reply import ResponsesDecoder, ResponsesReader
from llmrouter.upstream.response_parser import ParsedResponse, error_of

NAME: Final = "openai-responses"
CARRIED: Final = (
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "stream",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "top_logprobs",
    "router",
)
"""Members of a body that have an inner form; the rest is dropped with a warning, or is NATIVE."""
NATIVE: Final = ("prompt", "context_management", "moderation")
"""Members that only a target of this format understands; others are out for the request."""
QUIET: Final = ("store", "include", "background", "previous_response_id", "truncation")
"""Members that mean nothing without state, or are a default when they get here."""
STATE: Final = {
    "previous_response_id": "send the whole conversation in `input` instead",
    "conversation": "send the whole conversation in `input` instead",
    "background": "leave it out and wait for the answer, or stream it",
    "store": "leave it out or send false, and send the whole conversation in `input`",
}
"""Members that need stored responses, and what to send instead."""
FREE_TEXT: Final = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a function that stands for a tool with free text."""
_SAME: Final = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "router",
)


class OpenAIResponses:
    """Responses."""

    name = NAME
    path = "/responses"
    telling = compile_bytes(
        rb'"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed|cancelled)|error)"'
    )

    def parse(self, document: Document) -> ParsedRequest:
        """The request inside. Raises BadRequest for what needs stored responses."""
        return _parsed(document)

    def build(self, document: Document, target: Target, losses: Losses) -> dict[str, Any]:
        """The body for a target that speaks Responses."""
        return built(document, target, losses)

    def strip(self, body: bytes) -> bytes:
        """The request without the reasoning items in its input."""
        document = orjson.loads(body)
        if isinstance(document.get("input"), list):
            document["input"] = [
                i for i in document["input"] if mapping(i).get("type") != "reasoning"
            ]
        return orjson.dumps(document)

    def read(self, document: Document) -> ParsedResponse:
        """The facts of a response."""
        return ResponsesReader().read(document)

    def reader(self) -> ResponsesReader:
        """A reader of events."""
        return ResponsesReader()

    def error_of(self, document: Document) -> tuple[str, int | None] | None:
        """An error in place of an answer, or the one of a response that failed."""
        if document.get("type") == "error":
            inner = mapping(document.get("error")) or document
            return error_of({"error": dict(inner)})
        if document.get("type") == "response.failed":
            return error_of(mapping(document.get("response"))) or ("the response failed", None)
        return error_of(document)

    def pieces(self, document: Document) -> list[Piece]:
        """A response as pieces."""
        return ResponsesDecoder().whole(document)

    def decoder(self) -> ResponsesDecoder:
        """A decoder of events."""
        return ResponsesDecoder()

    def encoder(self, context: AnswerContext) -> ResponsesEncoder:
        """An encoder of events."""
        return ResponsesEncoder(context)

    def whole(self, pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
        """A response."""
        return whole(pieces, context)

    def error(self, error: LLMRouterError, request_id: str) -> dict[str, Any]:
        """OpenAI's envelope."""
        inside = {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
        return {"error": inside, **error.details}

    def error_event(self, error: LLMRouterError, request_id: str) -> bytes:
        """The `error` event."""
        said = {"code": error.code or error.type, "message": error.message, "param": error.param}
        return event({"type": "error", "sequence_number": 0, **said}, "error")


def _parsed(document: Document) -> ParsedRequest:
    for name, instead in STATE.items():
        if document.get(name):
            message = f"is not supported, as no responses are kept here: {instead}"
            raise bad(name, message, "unsupported_parameter")
    losses, needs = Losses(), set[str]()
    for name, value in document.items():
        if value is None:
            continue
        if name in NATIVE:
            needs.add(NAME)
        elif name not in CARRIED and name not in QUIET:
            losses.add(f"{name} dropped")
    inside = {name: document[name] for name in _SAME if document.get(name) is not None}
    if document.get("max_output_tokens") is not None:
        inside["max_tokens"] = document["max_output_tokens"]
    if document.get("top_logprobs"):
        inside["logprobs"], inside["top_logprobs"] = True, document["top_logprobs"]
    items = _Items(losses, needs)
    system = document.get("instructions")
    if isinstance(system, str) and system:
        items.turns.append({"role": "system", "content": system})
    items.read(document.get("input"))
    inside["messages"] = items.turns
    _read_tools(document, inside, losses, needs)
    _read_format(document, inside)
    effort = mapping(document.get("reasoning")).get("effort")
    if isinstance(effort, str):
        inside["reasoning_effort"] = effort
    key = document.get("prompt_cache_key")
    session = key if isinstance(key, str) and key else None
    return ParsedRequest(
        inside, frozenset(needs), tuple(losses), session, items.signed, items.foreign
    )


def _read_format(document: Document, inside: dict[str, Any]) -> None:
    text = mapping(document.get("text"))
    form = mapping(text.get("format"))
    if form.get("type") == "json_schema":
        named = {k: form[k] for k in ("name", "schema", "strict", "description") if k in form}
        inside["response_format"] = {"type": "json_schema", "json_schema": named}
    elif form.get("type") == "json_object":
        inside["response_format"] = {"type": "json_object"}
    if isinstance(text.get("verbosity"), str):
        inside["verbosity"] = text["verbosity"]


def _read_tools(
    document: Document, inside: dict[str, Any], losses: Losses, needs: set[str]
) -> None:
    tools, hosted = [], []
    for index, tool in enumerate(objects("tools", document.get("tools"))):
        kind = tool.get("type")
        if kind not in ("function", "custom"):
            hosted.append(tool)
            continue
        if not isinstance(tool.get("name"), str):
            raise wrong_type(f"tools[{index}].name", "a string")
        function = {"name": tool["name"]}
        if tool.get("description"):
            function["description"] = tool["description"]
        if kind == "custom":
            function["parameters"] = FREE_TEXT
            if mapping(tool.get("format")).get("type") == "grammar":
                losses.add(f"grammar of tool {tool['name'][:40]} dropped")
        else:
            function["parameters"] = tool.get("parameters") or {"type": "object", "properties": {}}
            if tool.get("strict"):
                function["strict"] = True
        tools.append({"type": "function", "function": function})
    for tool in hosted:
        if tools:
            losses.add(f"tool {str(tool.get('type'))[:40]} dropped")
        else:
            needs.add(NAME)
    if tools:
        inside["tools"] = tools
    choice = document.get("tool_choice")
    if isinstance(choice, str) and tools:
        inside["tool_choice"] = choice
    elif mapping(choice).get("type") in ("function", "custom"):
        function = {"name": mapping(choice).get("name")}
        inside["tool_choice"] = {"type": "function", "function": function}
    elif choice is not None and not isinstance(choice, str):
        needs.add(NAME)


class _Items:
    """Input items as turns of chat; notes what it could not carry."""

    def __init__(self, losses: Losses, needs: set[str]) -> None:
        self._losses = losses
        self._needs = needs
        self.turns: list[dict[str, Any]] = []
        self.signed = False
        self.foreign = False

    def read(self, given: object) -> None:
        """The input: a text, or a list of items."""
        if isinstance(given, str) and given:
            self.turns.append({"role": "user", "content": given})
            return
        if given is not None and not isinstance(given, list):
            raise wrong_type("input", "a string or a list of items")
        if not given:
            raise bad("input", "must be a text or a list of items", "missing_required_parameter")
        for index, item in enumerate(objects("input", given)):
            self._item(f"input[{index}]", item)
        if not self.turns:
            self.turns.append({"role": "user", "content": ""})

    def _item(self, where: str, item: dict[str, Any]) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message":
            self._message(where, item)
        elif kind in ("function_call", "custom_tool_call"):
            arguments = item.get("arguments")
            if kind == "custom_tool_call":
                arguments = orjson.dumps({"input": item.get("input") or ""}).decode()
            self._call(item, str(arguments or "{}"))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            content = item.get("output")
            if isinstance(content, list):
                content = self._parts(where, content)
                if all(part["type"] == "text" for part in content):
                    content = text_of(content)
            self.turns.append(
                {
                    "role": "tool",
                    "tool_call_id": str(item.get("call_id")),
                    "content": content or "",
                }
            )
        elif kind == "reasoning":
            if str(item.get("id") or "").startswith(OWN_ITEM):
                self.foreign = True
            elif item.get("encrypted_content"):
                self.signed = True
            self._losses.add("reasoning in the history dropped")
        elif kind == "item_reference":
            message = "refers to an item that was never kept: send the item itself instead"
            raise bad(where, message, "unsupported_parameter")
        elif isinstance(kind, str):
            self._needs.add(NAME)  # only a target of this format can make anything of it
        else:
            raise wrong_type(f"{where}.type", "a string")

    def _message(self, where: str, item: dict[str, Any]) -> None:
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system", "developer"):
            raise bad(f"{where}.role", "must be user, assistant, system or developer")
        if not isinstance(content, str):
            content = self._parts(f"{where}.content", content)
            if all(part["type"] == "text" for part in content):
                content = text_of(content)
        self.turns.append({"role": role, "content": content})

    def _call(self, item: dict[str, Any], arguments: str) -> None:
        function = {"name": str(item.get("name")), "arguments": arguments}
        call = {"id": str(item.get("call_id")), "type": "function", "function": function}
        last = self.turns[-1] if self.turns else None
        if last is None or last["role"] != "assistant":
            last = {"role": "assistant", "content": None}
            self.turns.append(last)
        last.setdefault("tool_calls", []).append(call)

    def _parts(self, where: str, content: object) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for part in objects(where, content):
            kind = part.get("type")
            if kind in ("input_text", "output_text", "text", "summary_text"):
                if not isinstance(part.get("text"), str):
                    raise wrong_type(f"{where}.text", "a string")
                parts.append({"type": "text", "text": part["text"]})
            elif kind == "refusal":
                parts.append({"type": "text", "text": str(part.get("refusal") or "")})
            elif kind == "input_image" and isinstance(part.get("image_url"), str):
                image = {"url": part["image_url"]}
                if isinstance(part.get("detail"), str):
                    image["detail"] = part["detail"]
                parts.append({"type": "image_url", "image_url": image})
            elif kind == "input_file" and isinstance(part.get("file_data"), str):
                file = {k: part[k] for k in ("filename", "file_data") if k in part}
                parts.append({"type": "file", "file": file})
            elif kind == "input_audio":
                audio = mapping(part.get("input_audio"))
                parts.append({"type": "input_audio", "input_audio": dict(audio)})
            elif isinstance(kind, str):
                self._needs.add(NAME)
            else:
                raise wrong_type(f"{where}.type", "a string")
        return parts


def custom_tools(document: Document) -> frozenset[str]:
    """The names of the tools whose input is free text."""
    tools = document.get("tools")
    named = [t for t in tools if mapping(t).get("type") == "custom"] if tools else ()
    return frozenset(strings([t.get("name") for t in named]))
