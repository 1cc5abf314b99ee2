"""Replies of OpenAI's Responses, read and decoded, whole and streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from llmrouter.upstream.protocols.interface import Document, Piece, mapping
from llmrouter.upstream.response_parser import ParsedResponse, written_in
from llmrouter.upstream.usage_parser import usage_in, usage_of

_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_CALLS: Final = ("function_call", "custom_tool_call")
_DELTAS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}
_ARGUMENTS: Final = (
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
)


def _finish(response: Mapping[str, Any]) -> str | None:
    """Why a response ended, in chat completions' words; None while it has not."""
    status = response.get("status")
    if status == "incomplete":
        reason = mapping(response.get("incomplete_details")).get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    if status not in ("completed", None):
        return None
    items = response.get("output")
    called = any(mapping(i).get("type") in _CALLS for i in items) if items else False
    return "tool_calls" if called else "stop"


class ResponsesReader:
    """Reads a response, or the events of a stream; every event speaks for itself."""

    def read(self, document: Document) -> ParsedResponse:
        """One body's or event's facts."""
        kind = document.get("type")
        if kind is None or document.get("object") == "response":
            return self._response(document)
        response = document.get("response")
        if isinstance(response, dict):
            reading = self._response(response)
            reading.done = kind in _ENDS
            reading.text, reading.written = "", 0  # it was told before
            if not reading.done:
                reading.finish_reason, reading.has_content = None, False
            return reading
        if kind in _DELTAS:
            said = document.get("delta")
            text = str(said or "")
            plain = kind == "response.output_text.delta"
            refused = kind == "response.refusal.delta"
            return ParsedResponse(
                text=text if plain else "",
                refusal=refused,
                has_content=bool(text),
                written=written_in(text),
            )
        if kind == "response.output_item.added":
            item = mapping(document.get("item")).get("type")
            return ParsedResponse(has_content=item not in ("message", "reasoning", None))
        return ParsedResponse()

    def _response(self, response: Mapping[str, Any]) -> ParsedResponse:
        model, name = response.get("model"), response.get("id")
        items = response.get("output")
        items = [i for i in items if isinstance(i, dict)] if isinstance(items, list) else []
        texts, refused, has_content = [], False, False
        for item in items:
            has_content = has_content or item.get("type") not in ("message", "reasoning")
            for part in item.get("content") or () if item.get("type") == "message" else ():
                texts.append(str(mapping(part).get("text") or ""))
                refused = refused or mapping(part).get("type") == "refusal"
        text = "".join(texts)
        return ParsedResponse(
            text=text,
            finish_reason=_finish(response),
            model=model if isinstance(model, str) else None,
            response_id=name if isinstance(name, str) else None,
            usage=usage_in(response),
            written=written_in(items),
            refusal=refused,
            has_content=has_content or bool(text) or refused,
            choices=1,
        )


class ResponsesDecoder:
    """Events, or a whole response, to pieces."""

    def __init__(self) -> None:
        self._calls: dict[object, int] = {}
        self._custom: dict[object, list[str]] = {}

    def whole(self, response: Document) -> list[Piece]:
        """The pieces of a response."""
        pieces = self._start(response)
        for number, item in enumerate(response.get("output") or ()):
            kind = mapping(item).get("type")
            if kind == "message":
                for part in item.get("content") or ():
                    refused = mapping(part).get("type") == "refusal"
                    text = mapping(part).get("refusal" if refused else "text")
                    piece = Piece("refusal" if refused else "text", str(text or ""))
                    piece.logprobs = _logprobs(mapping(part))
                    pieces.append(piece)
            elif kind == "reasoning":
                said = [*(item.get("summary") or ()), *(item.get("content") or ())]
                thought = "\n\n".join(str(mapping(s).get("text") or "") for s in said)
                pieces.append(Piece("reasoning", thought))
            elif kind in _CALLS:
                pieces += self._open(number, item)
                text = item.get("arguments") if kind == "function_call" else _wrapped(item)
                pieces.append(Piece("arguments", str(text or ""), self._calls[number]))
        return pieces + self._end(response)

    def feed(self, document: Document) -> list[Piece]:
        """The pieces of one event."""
        kind, number = document.get("type"), document.get("output_index")
        if kind == "response.created":
            return self._start(mapping(document.get("response")))
        if kind in _DELTAS:
            text = str(document.get("delta") or "")
            piece = Piece(_DELTAS[kind], text, logprobs=_logprobs(document))  # type: ignore[arg-type] # kinds
            return [piece] if text else []
        if kind == "response.output_item.added":
            item = mapping(document.get("item"))
            return self._open(number, item) if item.get("type") in _CALLS else []
        if kind in _ARGUMENTS and number in self._calls:
            text = str(document.get("delta") or "")
            if number in self._custom:  # free text becomes JSON once it is whole
                self._custom[number].append(text)
                return []
            return [Piece("arguments", text, self._calls[number])] if text else []
        if kind == "response.output_item.done" and number in self._custom:
            wrapped = orjson.dumps({"input": "".join(self._custom.pop(number))}).decode()
            return [Piece("arguments", wrapped, self._calls[number])]
        return self._end(mapping(document.get("response"))) if kind in _ENDS else []

    @staticmethod
    def _start(response: Mapping[str, Any]) -> list[Piece]:
        name, model = response.get("id"), response.get("model")
        return [Piece("start", id=str(name or ""), name=str(model or ""))]

    def _open(self, number: object, item: Mapping[str, Any]) -> list[Piece]:
        index = self._calls[number] = len(self._calls)
        if item.get("type") == "custom_tool_call":
            self._custom[number] = []
        call_id, name = str(item.get("call_id") or ""), str(item.get("name") or "")
        return [Piece("tool", index=index, id=call_id, name=name)]

    @staticmethod
    def _end(response: Mapping[str, Any]) -> list[Piece]:
        pieces = []
        usage = usage_of(mapping(response.get("usage")))
        if usage is not None:
            pieces.append(Piece("usage", usage=usage))
        if (finish := _finish(response)) is not None:
            pieces.append(Piece("finish", finish))
        return pieces


def _logprobs(said: Mapping[str, Any]) -> list[Any]:
    """The log-probabilities of a text's tokens; chat completions have the same shape."""
    tokens = said.get("logprobs")
    return [*tokens] if isinstance(tokens, list) else []


def _wrapped(item: Mapping[str, Any]) -> str:
    return orjson.dumps({"input": item.get("input") or ""}).decode()
