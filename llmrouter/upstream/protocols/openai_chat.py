"""OpenAI's chat completions: `POST /chat/completions`. The inner form of a request has its shape.

So parsing changes nothing, and building takes out what the inner form has beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from llmrouter.domain.completion import Usage
from llmrouter.domain.patterns import compile_bytes
from llmrouter.domain.target import Target
from llmrouter.errors import LLMRouterError
from llmrouter.upstream.protocols.interface import (
    AnswerContext,
    Document,
    Losses,
    ParsedRequest,
    Piece,
    event,
    folded,
    mapping,
    text_of,
)
from llmrouter.upstream.response_parser import ParsedResponse, error_of, read

NAME: Final = "openai-chat"
DONE: Final = b"data: [DONE]\n\n"
TAKES: Final = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "stream",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "prompt_cache_key",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "logprobs",
    "top_logprobs",
)
"""The members of a request inside that a chat-completions body takes."""

_EFFORTS: Final[Mapping[str, str]] = {"max": "xhigh"}


class OpenAIChat:
    """Chat completions."""

    name = NAME
    path = "/chat/completions"
    telling = compile_bytes(
        rb'"(?:usage|finish_reason|error|refusal|x_groq|usageMetadata|timings'
        rb'|amazon-bedrock-invocationMetrics|meta)"\s*:\s*["{\[]|"eval_count"|data:\s*\[DONE\]'
    )

    def parse(self, document: Document) -> ParsedRequest:
        """The document as it is; `api` checks it."""
        key = document.get("prompt_cache_key")
        return ParsedRequest(dict(document), session=key if isinstance(key, str) else None)

    def build(self, document: Document, target: Target, losses: Losses) -> dict[str, Any]:
        """The inner form without what chat completions do not know."""
        body: dict[str, Any] = {"model": target.model}
        for name, value in document.items():
            if name in ("model", "router", "messages", "max_tokens") or value is None:
                continue
            if name in TAKES:
                body[name] = value
            else:
                losses.add(f"{name} dropped")
        limit = document.get("max_tokens")
        if limit is not None:
            known = "max_completion_tokens" if target.provider == "openai" else "max_tokens"
            body[known] = limit
        effort = document.get("reasoning_effort")
        if isinstance(effort, str) and effort in _EFFORTS:
            body["reasoning_effort"] = _EFFORTS[effort]
            losses.add(f"reasoning effort {effort} became {_EFFORTS[effort]}")
        body["messages"] = _messages(document["messages"], losses)
        if "tools" in body:
            body["tools"] = [_without_cache(tool, losses) for tool in body["tools"]]
        if body.get("stream"):
            body["stream_options"] = {"include_usage": True}
        return body

    def strip(self, body: bytes) -> bytes:
        """Chat history has no signed reasoning; nothing is taken out."""
        return body

    def read(self, document: Document) -> ParsedResponse:
        """The facts of a completion."""
        return read(document)

    def reader(self) -> OpenAIChat:
        """Every chunk speaks for itself, so the format is its own reader."""
        return self

    def error_of(self, document: Document) -> tuple[str, int | None] | None:
        """An `error` object in place of an answer."""
        return error_of(document)

    def pieces(self, document: Document) -> list[Piece]:
        """A completion as pieces; the first choice alone."""
        return self.decoder().feed(document)

    def decoder(self) -> ChatDecoder:
        """A decoder of chunks."""
        return ChatDecoder()

    def encoder(self, context: AnswerContext) -> ChatEncoder:
        """An encoder of chunks."""
        return ChatEncoder(context)

    def whole(self, pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
        """A completion."""
        return _whole(folded(pieces), context)

    def error(self, error: LLMRouterError, request_id: str) -> dict[str, Any]:
        """OpenAI's envelope, with what is known beside the error."""
        inside = {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
        return {"error": inside, **error.details}

    def error_event(self, error: LLMRouterError, request_id: str) -> bytes:
        """An error object as the last data."""
        return event(self.error(error, request_id))


def _messages(turns: list[dict[str, Any]], losses: Losses) -> list[dict[str, Any]]:
    """The turns; pictures in a tool's result follow it as a user turn, as tools return text."""
    messages: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for turn in turns:
        role, content = turn["role"], turn.get("content")
        if role != "tool" and pictures:
            messages.append({"role": "user", "content": pictures})
            pictures = []
        if role == "tool":
            if isinstance(content, list):
                pictures += [
                    _without_cache(part, losses) for part in content if part.get("type") != "text"
                ]
                content = text_of(content)
            if turn.get("is_error"):
                content = f"Error: {content}"
            messages.append(
                {"role": "tool", "tool_call_id": turn["tool_call_id"], "content": content or ""}
            )
            continue
        made = dict(turn)
        if role == "developer":
            made["role"] = "system"
        if isinstance(content, list):
            made["content"] = [_without_cache(part, losses) for part in content]
        messages.append(made)
    if pictures:
        messages.append({"role": "user", "content": pictures})
    return messages


def _without_cache(part: dict[str, Any], losses: Losses) -> dict[str, Any]:
    if "cache_control" not in part:
        return part
    losses.add("cache_control dropped")
    return {name: value for name, value in part.items() if name != "cache_control"}


class ChatDecoder:
    """Chunks, or a whole completion, to pieces."""

    def __init__(self) -> None:
        self._started = False
        self._calls: set[int] = set()

    def feed(self, document: Document) -> list[Piece]:
        """The pieces of one chunk."""
        pieces: list[Piece] = []
        if not self._started:
            self._started = True
            pieces.append(
                Piece("start", id=str(document.get("id") or ""), name=_name(document.get("model")))
            )
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        finish: object = None
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            said = choice.get("delta") or choice.get("message")
            if isinstance(said, dict):
                probabilities = mapping(choice.get("logprobs")).get("content")
                pieces.extend(self._said(said, probabilities))
            finish = choice.get("finish_reason")
        usage = document.get("usage")
        if isinstance(usage, dict) and (counts := read({"usage": usage}).usage) is not None:
            pieces.append(Piece("usage", usage=counts))
        if isinstance(finish, str):
            pieces.append(Piece("finish", finish))
        return pieces

    def _said(self, said: Mapping[str, Any], probabilities: object) -> Iterator[Piece]:
        thought = said.get("reasoning_content") or said.get("reasoning")
        if isinstance(thought, str) and thought:
            yield Piece("reasoning", thought)
        content = said.get("content")
        text = content if isinstance(content, str) else text_of(content)
        if text:
            known = probabilities if isinstance(probabilities, list) else []
            yield Piece("text", text, logprobs=known)
        refusal = said.get("refusal")
        if isinstance(refusal, str) and refusal:
            yield Piece("refusal", refusal)
        calls = said.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                number = call.get("index", place)
                yield from self._call(number if isinstance(number, int) else place, call)

    def _call(self, number: int, call: Mapping[str, Any]) -> Iterator[Piece]:
        function = mapping(call.get("function"))
        if number not in self._calls:
            self._calls.add(number)
            name = _name(function.get("name"))
            yield Piece("tool", index=number, id=str(call.get("id") or f"call_{number}"), name=name)
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            yield Piece("arguments", arguments, number)


class ChatEncoder:
    """Pieces to chunks."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._head: dict[str, Any] = {
            "id": "chatcmpl-llmrouter",
            "object": "chat.completion.chunk",
            "created": context.created,
            "model": context.target,
        }
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._ended = False

    def feed(self, pieces: Iterable[Piece]) -> bytes:
        """One chunk a piece; the finish reason and the usage wait for the end."""
        written = []
        for piece in pieces:
            if piece.kind == "finish":
                self._finish = piece.text
            elif piece.kind == "usage":
                self._usage = piece.usage
            else:
                if piece.kind == "start":
                    self._head["id"] = piece.id or self._head["id"]
                    self._head["model"] = piece.name or self._head["model"]
                written.append(self._chunk(_delta(piece), None, piece.logprobs))
        return b"".join(written)

    def end(self) -> bytes:
        """The last chunk, the usage where it was asked for, and `[DONE]`."""
        if self._ended:
            return b""
        self._ended = True
        last = self._chunk({}, self._finish or "stop")
        if self._context.include_usage:
            last += event({**self._head, "choices": [], "usage": _usage(self._usage or Usage())})
        return last + DONE

    def _chunk(
        self, delta: dict[str, Any], finish: str | None, logprobs: list[Any] | None = None
    ) -> bytes:
        told = _logprobs(logprobs)
        choice = {"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish}
        chunk = orjson.dumps({**self._head, "choices": [choice]})
        return b"data: %b\n\n" % chunk


def _logprobs(tokens: list[Any] | None) -> dict[str, Any] | None:
    return {"content": tokens, "refusal": None} if tokens else None


def _delta(piece: Piece) -> dict[str, Any]:
    if piece.kind == "start":
        return {"role": "assistant", "content": ""}
    if piece.kind == "text":
        return {"content": piece.text}
    if piece.kind == "reasoning":
        return {"reasoning_content": piece.text}
    if piece.kind == "refusal":
        return {"refusal": piece.text}
    if piece.kind == "tool":
        function = {"name": piece.name, "arguments": ""}
        call = {"index": piece.index, "id": piece.id, "type": "function", "function": function}
        return {"tool_calls": [call]}
    return {"tool_calls": [{"index": piece.index, "function": {"arguments": piece.text}}]}


def _whole(pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    head = {"id": "chatcmpl-llmrouter", "model": context.target}
    finish, usage, calls = "stop", Usage(), []
    tokens: list[Any] = []
    for piece in pieces:
        if piece.kind == "start":
            head = {"id": piece.id or head["id"], "model": piece.name or head["model"]}
        elif piece.kind == "text":
            message["content"] = (message["content"] or "") + piece.text
            tokens += piece.logprobs
        elif piece.kind == "reasoning":
            message["reasoning_content"] = message.get("reasoning_content", "") + piece.text
        elif piece.kind == "refusal":
            message["refusal"] = piece.text
        elif piece.kind == "tool":
            function = {"name": piece.name, "arguments": piece.text or "{}"}
            calls.append({"id": piece.id, "type": "function", "function": function})
        elif piece.kind == "finish":
            finish = piece.text
        elif piece.usage is not None:
            usage = piece.usage
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None and message["refusal"] is None:
        message["content"] = ""
    known = _logprobs(tokens)
    choice = {"index": 0, "message": message, "logprobs": known, "finish_reason": finish}
    return {
        **head,
        "object": "chat.completion",
        "created": context.created,
        "choices": [choice],
        "usage": _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""
