"""Replies as OpenAI's Responses, whole and streamed.

A stream opens an item, its parts, adds to them and closes both, each event naming the item, and
repeats at the end of a part, of an item and of the response what it had said. Every event has a
sequence number. A whole response is what the last event of a stream holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from llmrouter.domain.completion import Usage
from llmrouter.upstream.protocols.interface import AnswerContext, Piece, event, json_of

OWN_ITEM: Final = "rs_llmrouter_"
"""How the id of a reasoning item begins that this service carried over from another format."""
_ECHOED: Final = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
"""Members of a request that its response repeats."""
_DEFAULTS: Final[dict[str, Any]] = {
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


def usage_for(usage: Usage) -> dict[str, Any]:
    """Token counts as Responses tell them."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


@dataclass(slots=True)
class _Item:
    """An output item being written."""

    number: int
    kind: str
    id: str
    text: str = ""
    name: str = ""
    call_id: str = ""
    part: str = "output_text"
    logprobs: list[Any] = field(default_factory=list)
    done: bool = False


@dataclass(slots=True)
class _Written:
    """What has been written of a response."""

    id: str = "resp_llmrouter"
    model: str = ""
    items: list[_Item] = field(default_factory=list)
    finish: str = "stop"
    usage: Usage | None = None


class ResponsesEncoder:
    """Pieces to events."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._response = _Written(model=context.target)
        self._created = context.created
        self._calls: dict[int, _Item] = {}
        self._open: _Item | None = None  # the message or reasoning that text is added to
        self._sequence = 0
        self._started = self._ended = False

    def feed(self, pieces: Iterable[Piece]) -> bytes:
        """The events of these pieces."""
        return b"".join(self._one(piece) for piece in pieces)

    def end(self) -> bytes:
        """Close what is open, then the response."""
        if self._ended:
            return b""
        self._ended = True
        written = [self._start(Piece("start")), self._close()]
        written += [self._done(item) for item in self._calls.values() if not item.done]
        status = self.status
        written.append(self._event(f"response.{status}", response=self.response(status)))
        return b"".join(written)

    @property
    def status(self) -> str:
        """How the response ended."""
        cut = self._response.finish in ("length", "content_filter")
        return "incomplete" if cut else "completed"

    def response(self, status: str) -> dict[str, Any]:
        """The response as far as it is written."""
        said, asked = self._response, self._context.echoed
        echoed = {name: asked.get(name) for name in _ECHOED}
        ended = status != "in_progress"
        reason = "content_filter" if said.finish == "content_filter" else "max_output_tokens"
        return {
            **echoed,
            **{name: value for name, value in _DEFAULTS.items() if echoed.get(name) is None},
            "id": said.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "model": said.model,
            "output": [_item(item, "completed") for item in said.items] if ended else [],
            "previous_response_id": None,
            "store": False,
            "usage": usage_for(said.usage or Usage()) if ended else None,
        }

    def _one(self, piece: Piece) -> bytes:
        if piece.kind == "start":
            return self._start(piece)
        if piece.kind == "usage":
            self._response.usage = piece.usage
            return b""
        if piece.kind == "finish":
            self._response.finish = piece.text
            return b""
        begun = self._start(Piece("start"))
        if piece.kind == "tool":
            kind = "custom_tool_call" if self._custom(piece.name) else "function_call"
            item = self._add(kind, "ctc" if kind == "custom_tool_call" else "fc")
            item.name, item.call_id = piece.name, piece.id
            self._calls[piece.index] = item
            return begun + self._close() + self._added(item)
        if piece.kind == "arguments":
            item = self._calls[piece.index]
            item.text += piece.text
            if item.kind == "custom_tool_call":
                return begun
            return begun + self._delta("response.function_call_arguments.delta", item, piece.text)
        return begun + self._text(piece)

    def _custom(self, name: str) -> bool:
        return name in self._context.custom_tools

    def _text(self, piece: Piece) -> bytes:
        part = {"text": "output_text", "refusal": "refusal"}.get(piece.kind, "summary")
        written = b""
        if self._open is None or self._open.part != part:
            written = self._close()
            kind = "reasoning" if part == "summary" else "message"
            item = self._open = self._add(kind, OWN_ITEM[:-1] if kind == "reasoning" else "msg")
            item.part = part
            written += self._added(item) + self._part("added", item, "")
        item = self._open
        item.text += piece.text
        if part == "summary":
            name = "response.reasoning_summary_text.delta"
            return written + self._delta(name, item, piece.text, summary_index=0)
        item.logprobs += piece.logprobs
        more = {"logprobs": piece.logprobs} if part == "output_text" else {}
        name = f"response.{part}.delta"
        return written + self._delta(name, item, piece.text, content_index=0, **more)

    def _start(self, piece: Piece) -> bytes:
        if self._started:
            return b""
        self._started = True
        name = piece.id or "llmrouter"
        self._response.id = name if name.startswith("resp_") else f"resp_{name}"
        self._response.model = piece.name or self._response.model
        opened = self.response("in_progress")
        return self._event("response.created", response=opened) + self._event(
            "response.in_progress", response=opened
        )

    def _add(self, kind: str, prefix: str) -> _Item:
        number = len(self._response.items)
        item = _Item(number, kind, f"{prefix}_{self._response.id.removeprefix('resp_')}_{number}")
        self._response.items.append(item)
        return item

    def _added(self, item: _Item) -> bytes:
        opened = _item(item, "in_progress")
        return self._event("response.output_item.added", output_index=item.number, item=opened)

    def _delta(self, name: str, item: _Item, text: str, **more: object) -> bytes:
        place = {"item_id": item.id, "output_index": item.number}
        return self._event(name, **place, **more, delta=text)

    def _part(self, when: str, item: _Item, text: str) -> bytes:
        place = {"item_id": item.id, "output_index": item.number}
        if item.part == "summary":
            part = {"type": "summary_text", "text": text}
            name = f"response.reasoning_summary_part.{when}"
            return self._event(name, **place, summary_index=0, part=part)
        part = _part(item.part, text, item.logprobs)
        return self._event(f"response.content_part.{when}", **place, content_index=0, part=part)

    def _close(self) -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        place = {"item_id": item.id, "output_index": item.number}
        if item.part == "summary":
            told = self._event(
                "response.reasoning_summary_text.done", **place, summary_index=0, text=item.text
            )
        elif item.part == "refusal":
            told = self._event("response.refusal.done", **place, content_index=0, refusal=item.text)
        else:
            told = self._event(
                "response.output_text.done",
                **place,
                content_index=0,
                text=item.text,
                logprobs=item.logprobs,
            )
        return told + self._part("done", item, item.text) + self._done(item)

    def _done(self, item: _Item) -> bytes:
        item.done = True
        told = b""
        place = {"item_id": item.id, "output_index": item.number}
        if item.kind == "function_call":
            told = self._event(
                "response.function_call_arguments.done",
                **place,
                arguments=item.text or "{}",
            )
        elif item.kind == "custom_tool_call":
            text = free_text(item.text)
            told = self._event("response.custom_tool_call_input.delta", **place, delta=text)
            told += self._event("response.custom_tool_call_input.done", **place, input=text)
        whole = _item(item, "completed")
        return told + self._event("response.output_item.done", output_index=item.number, item=whole)

    def _event(self, name: str, /, **more: object) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return event({"type": name, "sequence_number": number, **more}, name)


class _Silent(ResponsesEncoder):
    """Keeps what is written and makes no events of it."""

    def _event(self, name: str, /, **more: object) -> bytes:
        return b""


def whole(pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
    """A response."""
    encoder = _Silent(context)
    encoder.feed(pieces)
    encoder.end()
    return encoder.response(encoder.status)


def _item(item: _Item, status: str) -> dict[str, Any]:
    """An output item; one in progress has nothing in it yet."""
    ended = status != "in_progress"
    made: dict[str, Any] = {"id": item.id, "type": item.kind, "status": status}
    if item.kind == "message":
        made["role"] = "assistant"
        made["content"] = [_part(item.part, item.text, item.logprobs)] if ended else []
    elif item.kind == "reasoning":
        made["summary"] = [{"type": "summary_text", "text": item.text}] if ended else []
    else:
        made |= {"call_id": item.call_id, "name": item.name}
        if item.kind == "function_call":
            made["arguments"] = (item.text or "{}") if ended else ""
        else:
            made["input"] = free_text(item.text) if ended else ""
    return made


def _part(kind: str, text: str, logprobs: list[Any]) -> dict[str, Any]:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def free_text(arguments: str) -> str:
    """The free text in the arguments of a function that stands for a tool with free text."""
    value = json_of(arguments).get("input")
    return value if isinstance(value, str) else arguments
