"""Replies of Anthropic's Messages: reading, decoding and encoding, whole and streamed.

A stream names its parts by number and sends one after the other: `message_start`, then for each
content block a start, its deltas and a stop, then `message_delta` with the reason and the output
tokens, then `message_stop`. Chat servers may interleave the arguments of several tool calls; the
encoder streams the first open call and holds the others until it is their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmrouter.domain.completion import Usage
from llmrouter.upstream.protocols.interface import (
    OWN_SIGNATURE,
    AnswerContext,
    Document,
    Piece,
    dumped,
    event,
    folded,
    json_of,
    mapping,
)
from llmrouter.upstream.response_parser import ParsedResponse, written_in
from llmrouter.upstream.usage_parser import usage_of as read_usage

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Stop reasons in chat completions' words."""
_STOP: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def usage_of(usage: Mapping[str, Any], before: Usage | None = None) -> Usage | None:
    """Token counts; input that was read from or written to the cache is counted apart from it.

    `before` is what the stream said earlier: its end may tell the output alone.
    """
    found = read_usage(usage)
    if found is None or before is None:
        return found or before
    return before.joined(found)


def usage_for(usage: Usage) -> dict[str, Any]:
    """Token counts as Messages tells them."""
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }


class MessagesReader:
    """Reads a message, or the events of one stream."""

    def __init__(self) -> None:
        self._usage: Usage | None = None

    def read(self, document: Document) -> ParsedResponse:
        """One body's or event's facts."""
        kind = document.get("type")
        if kind in ("message", "message_start"):
            return self._message(document if kind == "message" else mapping(document["message"]))
        reading = ParsedResponse(done=kind == "message_stop")
        if kind == "content_block_delta":
            delta = mapping(document.get("delta"))
            if delta.get("type") == "text_delta":
                reading.text = str(delta.get("text") or "")
            reading.has_content = delta.get("type") != "signature_delta"
            reading.written = written_in(delta)
        elif kind == "content_block_start":
            block = mapping(document.get("content_block"))
            reading.has_content = block.get("type") not in ("text", "thinking", None)
            reading.calls_tools = block.get("type") == "tool_use"
        elif kind == "message_delta":
            self._end(reading, mapping(document.get("delta")))
            reading.usage = self._usage = usage_of(mapping(document.get("usage")), self._usage)
        return reading

    def _message(self, message: Mapping[str, Any]) -> ParsedResponse:
        model, name = message.get("model"), message.get("id")
        content = message.get("content")
        blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
        self._usage = usage_of(mapping(message.get("usage")), None)
        reading = ParsedResponse(
            text="".join(str(b.get("text") or "") for b in blocks if b.get("type") == "text"),
            model=model if isinstance(model, str) else None,
            response_id=name if isinstance(name, str) else None,
            usage=self._usage,
            written=written_in(blocks),
            has_content=any(b.get("text") if b.get("type") == "text" else True for b in blocks),
            choices=1,
            calls_tools=any(b.get("type") == "tool_use" for b in blocks),
        )
        self._end(reading, message)
        return reading

    @staticmethod
    def _end(reading: ParsedResponse, said: Mapping[str, Any]) -> None:
        reason = said.get("stop_reason")
        if isinstance(reason, str):
            reading.finish_reason = FINISH.get(reason, reason)
            reading.refusal = reason == "refusal"


class MessagesDecoder:
    """Events, or a whole message, to pieces."""

    def __init__(self) -> None:
        self._reader = MessagesReader()
        self._calls: dict[object, int] = {}

    def whole(self, message: Document) -> list[Piece]:
        """The pieces of a message."""
        pieces = self._start(message)
        for number, block in enumerate(message.get("content") or ()):
            pieces += self._open(number, mapping(block))
            if mapping(block).get("type") == "tool_use":
                text = dumped(block.get("input") or {})
                pieces.append(Piece("arguments", text, self._calls[number]))
        return pieces + self._end(self._reader.read(message))

    def feed(self, document: Document) -> list[Piece]:
        """The pieces of one event."""
        kind = document.get("type")
        reading = self._reader.read(document)
        if kind == "message_start":
            return self._start(mapping(document.get("message")))
        if kind == "content_block_start":
            return self._open(document.get("index"), mapping(document.get("content_block")))
        if kind == "content_block_delta":
            return self._delta(document.get("index"), mapping(document.get("delta")))
        return self._end(reading) if kind == "message_delta" else []

    def _start(self, message: Mapping[str, Any]) -> list[Piece]:
        name, model = message.get("id"), message.get("model")
        return [Piece("start", id=str(name or ""), name=str(model or ""))]

    def _open(self, number: object, block: Mapping[str, Any]) -> list[Piece]:
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            return [Piece("text", str(block["text"]))]
        if kind == "thinking" and block.get("thinking"):
            return [Piece("reasoning", str(block["thinking"]))]
        if kind == "tool_use":
            index = self._calls[number] = len(self._calls)
            name = str(block.get("name") or "")
            return [Piece("tool", index=index, id=str(block.get("id") or ""), name=name)]
        return []

    def _delta(self, number: object, delta: Mapping[str, Any]) -> list[Piece]:
        kind = delta.get("type")
        if kind == "text_delta" and delta.get("text"):
            return [Piece("text", str(delta["text"]))]
        if kind == "thinking_delta" and delta.get("thinking"):
            return [Piece("reasoning", str(delta["thinking"]))]
        if kind == "input_json_delta" and delta.get("partial_json") and number in self._calls:
            return [Piece("arguments", str(delta["partial_json"]), self._calls[number])]
        return []

    @staticmethod
    def _end(reading: ParsedResponse) -> list[Piece]:
        pieces = []
        if reading.usage is not None:
            pieces.append(Piece("usage", usage=reading.usage))
        if reading.finish_reason is not None:
            pieces.append(Piece("finish", reading.finish_reason))
        return pieces


class MessagesEncoder:
    """Pieces to events."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._number = -1  # of the content block that is open or was last
        self._open: str | None = None  # its type, or None between blocks
        self._call = -1  # the tool call that is open
        self._held: dict[int, list[Piece]] = {}  # of calls that wait for their turn
        self._started = self._ended = False
        self._usage: Usage | None = None
        self._finish = "stop"
        self._chars = 0

    def feed(self, pieces: Iterable[Piece]) -> bytes:
        """The events of these pieces."""
        return b"".join(self._one(piece) for piece in pieces)

    def end(self) -> bytes:
        """The calls that were held, the reason, and `message_stop`."""
        if self._ended:
            return b""
        self._ended = True
        written = [self._start(Piece("start"))]
        for pieces in self._held.values():
            written.append(self._close())
            written += [self._write(piece) for piece in pieces]
        written.append(self._close())
        usage = self._usage or Usage(output_tokens=-(-self._chars // 4), estimated=True)
        delta = {"stop_reason": _STOP.get(self._finish, "end_turn"), "stop_sequence": None}
        last = {"type": "message_delta", "delta": delta, "usage": usage_for(usage)}
        written.append(event(last, "message_delta"))
        written.append(event({"type": "message_stop"}, "message_stop"))
        return b"".join(written)

    def _one(self, piece: Piece) -> bytes:
        if piece.kind == "start":
            return self._start(piece)
        if piece.kind == "usage":
            self._usage = piece.usage
            return b""
        if piece.kind == "finish":
            self._finish = piece.text
            return b""
        if self._waits(piece):
            return b""
        return self._start(Piece("start")) + self._write(piece)

    def _waits(self, piece: Piece) -> bool:
        """Whether a piece is held because a tool call that it is not of is being written."""
        of = piece.index if piece.kind in ("tool", "arguments") else -1
        if self._call in (-1, of):
            return False
        self._held.setdefault(of, []).append(piece)
        return True

    def _start(self, piece: Piece) -> bytes:
        if self._started:
            return b""
        self._started = True
        message = {
            **_head(piece, self._context),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_for(Usage()),
        }
        return event({"type": "message_start", "message": message}, "message_start")

    def _write(self, piece: Piece) -> bytes:
        self._chars += len(piece.text)
        if piece.kind == "tool":
            self._call = piece.index
            block = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
            return self._close() + self._begin("tool_use", block)
        if piece.kind == "arguments":
            return self._delta({"type": "input_json_delta", "partial_json": piece.text})
        if piece.kind == "reasoning":
            return self._into("thinking") + self._delta(
                {"type": "thinking_delta", "thinking": piece.text}
            )
        return self._into("text") + self._delta({"type": "text_delta", "text": piece.text})

    def _into(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        block: dict[str, Any] = {"type": kind, kind: ""}
        if kind == "thinking":
            block["signature"] = ""
        return self._close() + self._begin(kind, block)

    def _begin(self, kind: str, block: dict[str, Any]) -> bytes:
        self._number += 1
        self._open = kind
        opened = {"type": "content_block_start", "index": self._number, "content_block": block}
        return event(opened, "content_block_start")

    def _delta(self, delta: dict[str, Any]) -> bytes:
        written = {"type": "content_block_delta", "index": self._number, "delta": delta}
        return event(written, "content_block_delta")

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        signed = b""
        if self._open == "thinking":
            signature = OWN_SIGNATURE + self._context.target
            signed = self._delta({"type": "signature_delta", "signature": signature})
        self._open = None
        stopped = {"type": "content_block_stop", "index": self._number}
        return signed + event(stopped, "content_block_stop")


def whole(pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
    """A message."""
    content: list[dict[str, Any]] = []
    head, finish, usage = _head(Piece("start"), context), "stop", Usage()
    for piece in folded(pieces):
        if piece.kind == "start":
            head = _head(piece, context)
        elif piece.kind in ("text", "refusal"):
            content.append({"type": "text", "text": piece.text})
        elif piece.kind == "reasoning":
            signature = OWN_SIGNATURE + context.target
            content.append({"type": "thinking", "thinking": piece.text, "signature": signature})
        elif piece.kind == "tool":
            given = json_of(piece.text)
            content.append({"type": "tool_use", "id": piece.id, "name": piece.name, "input": given})
        elif piece.kind == "finish":
            finish = piece.text
        elif piece.usage is not None:
            usage = piece.usage
    return {
        **head,
        "content": content,
        "stop_reason": _STOP.get(finish, "end_turn"),
        "stop_sequence": None,
        "usage": usage_for(usage),
    }


def _head(piece: Piece, context: AnswerContext) -> dict[str, Any]:
    name = piece.id or "llmrouter"
    return {
        "id": name if name.startswith("msg_") else f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": piece.name or context.target,
    }
