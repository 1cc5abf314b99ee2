"""Anthropic's Messages: `POST /messages`. Bodies: `anthropic_body`; replies: `anthropic_reply`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from llmrouter.domain.patterns import compile_bytes, compile_pattern
from llmrouter.domain.target import Target
from llmrouter.errors import LLMRouterError
from llmrouter.upstream.protocols.anthropic_body import built
from llmrouter.upstream.protocols.anthropic_reply import (
    MessagesDecoder,
    MessagesEncoder,
    MessagesReader,
    whole,
)
from llmrouter.upstream.protocols.exact_json import loads
from llmrouter.upstream.protocols.interface import (
    OWN_SIGNATURE,
    AnswerContext,
    Document,
    Losses,
    ParsedRequest,
    Piece,
    bad,
    dumped,
    event,
    json_of,
    mapping,
    objects,
    strings,
    text_of,
    wrong_type,
)
from llmrouter.upstream.response_parser import ParsedResponse, error_of

NAME: Final = "anthropic-messages"
CARRIED: Final = (
    "model",
    "messages",
    "system",
    "max_tokens",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "router",
)
"""Members of a body that have an inner form; the rest is dropped with a warning, or is NATIVE."""
NATIVE: Final = ("container", "mcp_servers", "prefill")
"""Members that only a target of this format understands; others are out for the request."""
SESSION: Final = ("metadata",)
"""Members that name the session and are not sent to targets of other formats."""
_THINKING: Final = ("thinking", "redacted_thinking")
_SESSION_ID: Final = compile_pattern(r"session_([0-9A-Za-z-]{8,})\s*\Z")
_ERRORS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_BUDGETS: Final = ((4096, "low"), (16384, "medium"))


class AnthropicMessages:
    """Messages."""

    name = NAME
    path = "/messages"
    telling = compile_bytes(rb'"type"\s*:\s*"(?:message_(?:start|delta|stop)|error)"')

    def parse(self, document: Document) -> ParsedRequest:
        """The request inside, and what it says of its session."""
        return _parsed(document)

    def build(self, document: Document, target: Target, losses: Losses) -> dict[str, Any]:
        """The body for a target that speaks Messages."""
        return built(document, target, losses)

    def strip(self, body: bytes) -> bytes:
        """The request without the thinking blocks in its history."""
        document = loads(body)
        for turn in document.get("messages", ()):
            if isinstance(turn.get("content"), list):
                kept = [b for b in turn["content"] if mapping(b).get("type") not in _THINKING]
                turn["content"] = kept or [{"type": "text", "text": "(thinking left out)"}]
        return orjson.dumps(document)

    def read(self, document: Document) -> ParsedResponse:
        """The facts of a message."""
        return MessagesReader().read(document)

    def reader(self) -> MessagesReader:
        """A reader; a stream tells its input tokens first and its output tokens last."""
        return MessagesReader()

    def error_of(self, document: Document) -> tuple[str, int | None] | None:
        """An error in place of an answer; its type stands for the status."""
        found = error_of(document)
        if found is None:
            return None
        kind = mapping(document.get("error")).get("type")
        status = next((s for s, name in _ERRORS.items() if name == kind), None)
        return found[0], status if found[1] is None else found[1]

    def pieces(self, document: Document) -> list[Piece]:
        """A message as pieces."""
        return MessagesDecoder().whole(document)

    def decoder(self) -> MessagesDecoder:
        """A decoder of events."""
        return MessagesDecoder()

    def encoder(self, context: AnswerContext) -> MessagesEncoder:
        """An encoder of events."""
        return MessagesEncoder(context)

    def whole(self, pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
        """A message."""
        return whole(pieces, context)

    def error(self, error: LLMRouterError, request_id: str) -> dict[str, Any]:
        """Anthropic's envelope."""
        kind = _ERRORS.get(error.status, "api_error" if error.status >= 500 else _ERRORS[400])
        inside = {"type": kind, "message": error.message}
        return {"type": "error", "error": inside, "request_id": request_id}

    def error_event(self, error: LLMRouterError, request_id: str) -> bytes:
        """The `error` event."""
        return event(self.error(error, request_id), "error")


def _parsed(document: Document) -> ParsedRequest:
    losses, needs = Losses(), set[str]()
    for name, value in document.items():
        if value is None:
            continue
        if name in NATIVE:
            needs.add(NAME)
        elif name not in CARRIED and name not in SESSION:
            losses.add(f"{name} dropped")
    inside: dict[str, Any] = {}
    for name in ("model", "stream", "max_tokens", "temperature", "top_p", "top_k", "router"):
        if document.get(name) is not None:
            inside[name] = document[name]
    if document.get("stop_sequences"):
        inside["stop"] = strings(document["stop_sequences"])
    reader = _Turns(losses, needs)
    turns = document.get("messages")
    if not isinstance(turns, list) or not turns:
        raise bad("messages", "must be a list of at least one turn", "missing_required_parameter")
    inside["messages"] = [*reader.system(document.get("system")), *reader.read(turns)]
    _read_tools(document, inside, losses, needs)
    _read_effort(document, inside)
    user = mapping(document.get("metadata")).get("user_id")
    session = _session(user) if isinstance(user, str) else None
    return ParsedRequest(
        inside, frozenset(needs), tuple(losses), session, reader.signed, reader.foreign
    )


def _session(user_id: str) -> str | None:
    """Claude Code's session: `user_…_session_<id>`, or a JSON object with `session_id`."""
    if user_id.startswith("{"):
        value = json_of(user_id).get("session_id")
        return value if isinstance(value, str) else None
    found = _SESSION_ID.search(user_id)
    return None if found is None else found[1]


def _read_effort(document: Document, inside: dict[str, Any]) -> None:
    thinking = mapping(document.get("thinking"))
    config = mapping(document.get("output_config"))
    effort = config.get("effort")
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        size = budget if isinstance(budget, int) else 0
        inside["reasoning_effort"] = next((e for most, e in _BUDGETS if size <= most), "high")
    elif thinking.get("type") == "adaptive" and isinstance(effort, str):
        inside["reasoning_effort"] = effort
    form = mapping(config.get("format"))
    if form.get("type") == "json_schema":
        named = {"name": "answer", "schema": form.get("schema") or {}, "strict": True}
        inside["response_format"] = {"type": "json_schema", "json_schema": named}


def _read_tools(
    document: Document, inside: dict[str, Any], losses: Losses, needs: set[str]
) -> None:
    tools, hosted = [], []
    for index, tool in enumerate(objects("tools", document.get("tools"))):
        if tool.get("type") not in (None, "custom"):
            hosted.append(tool)
            continue
        if not isinstance(tool.get("name"), str):
            raise wrong_type(f"tools[{index}].name", "a string")
        function = {
            "name": tool["name"],
            "parameters": tool.get("input_schema") or {"type": "object"},
        }
        if tool.get("description"):
            function["description"] = tool["description"]
        made: dict[str, Any] = {"type": "function", "function": function}
        if tool.get("cache_control"):
            made["cache_control"] = tool["cache_control"]
        tools.append(made)
    for tool in hosted:
        if tools:
            losses.add(f"tool {str(tool.get('type'))[:40]} dropped")
        else:
            needs.add(NAME)
    if tools:
        inside["tools"] = tools
    choice = mapping(document.get("tool_choice"))
    kind = choice.get("type")
    if kind == "tool":
        inside["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in ("any", "none", "auto") and tools:
        inside["tool_choice"] = "required" if kind == "any" else kind
    if choice.get("disable_parallel_tool_use") and tools:
        inside["parallel_tool_calls"] = False


class _Turns:
    """Turns of Messages as turns of chat; notes what it could not carry."""

    def __init__(self, losses: Losses, needs: set[str]) -> None:
        self._losses = losses
        self._needs = needs
        self.signed = False
        self.foreign = False

    def system(self, system: object) -> Iterator[dict[str, Any]]:
        """The system prompt, without what changes with every request of one client."""
        if isinstance(system, str) and system:
            yield {"role": "system", "content": system}
        elif isinstance(system, list):
            parts = self._parts("system", system)
            parts = [p for p in parts if not p.get("text", "").startswith("x-anthropic-billing")]
            if parts:
                yield {"role": "system", "content": parts}
        elif system:
            raise wrong_type("system", "a string or a list of text blocks")

    def read(self, turns: list[Any]) -> Iterator[dict[str, Any]]:
        """Every turn; a user turn's tool results come first, each as a turn of its own."""
        for index, turn in enumerate(turns):
            where = f"messages[{index}]"
            if not isinstance(turn, dict):
                raise wrong_type(where, "an object")
            role, content = turn.get("role"), turn.get("content")
            if role not in ("user", "assistant", "system"):
                raise bad(f"{where}.role", "must be user or assistant")
            if isinstance(content, str):
                yield {"role": role, "content": content}
            elif not isinstance(content, list):
                raise wrong_type(f"{where}.content", "a string or a list of blocks")
            elif role == "assistant":
                yield self._assistant(where, content)
            else:
                blocks = objects(f"{where}.content", content)
                results = [b for b in blocks if b.get("type") == "tool_result"]
                for block in results:
                    yield self._result(where, block)
                rest = [b for b in blocks if b.get("type") != "tool_result"]
                parts = self._parts(f"{where}.content", rest)
                if parts or not results:
                    yield {"role": role, "content": parts or ""}

    def _assistant(self, where: str, content: list[Any]) -> dict[str, Any]:
        said, calls = [], []
        for block in objects(f"{where}.content", content):
            kind = block.get("type")
            if kind in _THINKING:
                if str(block.get("signature", "")).startswith(OWN_SIGNATURE):
                    self.foreign = True
                else:
                    self.signed = True
                self._losses.add("thinking in the history dropped")
            elif kind == "tool_use":
                name, given = str(block.get("name")), block.get("input") or {}
                function = {"name": name, "arguments": dumped(given)}
                calls.append({"id": str(block.get("id")), "type": "function", "function": function})
            else:
                said.append(block)
        turn: dict[str, Any] = {"role": "assistant"}
        parts = self._parts(f"{where}.content", said)
        turn["content"] = (text_of(parts) if all(map(_is_text, parts)) else parts) or (
            None if calls else ""
        )
        if calls:
            turn["tool_calls"] = calls
        return turn

    def _result(self, where: str, block: dict[str, Any]) -> dict[str, Any]:
        content = block.get("content")
        if isinstance(content, list):
            content = self._parts(f"{where}.content", content)
            if all(map(_is_text, content)):
                content = text_of(content)
        turn = {
            "role": "tool",
            "tool_call_id": str(block.get("tool_use_id")),
            "content": content or "",
        }
        if block.get("is_error"):
            turn["is_error"] = True
        return turn

    def _parts(self, where: str, blocks: list[Any]) -> list[dict[str, Any]]:
        parts = []
        for block in objects(where, blocks):
            part = self._part(where, block)
            if part is None:
                continue
            if block.get("cache_control"):
                part["cache_control"] = block["cache_control"]
            parts.append(part)
        return parts

    def _part(self, where: str, block: dict[str, Any]) -> dict[str, Any] | None:
        kind, source = block.get("type"), mapping(block.get("source"))
        if kind == "text":
            if not isinstance(block.get("text"), str):
                raise wrong_type(f"{where}.text", "a string")
            return {"type": "text", "text": block["text"]}
        if kind == "image" and (url := _url(source)):
            return {"type": "image_url", "image_url": {"url": url}}
        if kind == "document":
            if block.get("citations"):
                self._losses.add("citations of documents dropped")
            if source.get("type") == "text":
                return {"type": "text", "text": str(source.get("data", ""))}
            if source.get("type") == "base64":
                name = str(block.get("title") or "document.pdf")
                return {"type": "file", "file": {"filename": name, "file_data": _url(source)}}
        if not isinstance(kind, str):
            raise wrong_type(f"{where}.type", "a string")
        self._needs.add(NAME)  # only a target of this format can make anything of it
        return None


def _url(source: Mapping[str, Any]) -> str | None:
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    url = source.get("url")
    return url if source.get("type") == "url" and isinstance(url, str) else None


def _is_text(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "text"
