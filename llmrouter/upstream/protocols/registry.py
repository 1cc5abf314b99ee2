"""Every wire format by its name, and the way between two of them.

A new format is one file and one line in FORMATS or PASS_ONLY.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import ResponseEvent
from llmrouter.domain.interfaces import Rewritten
from llmrouter.domain.patterns import compile_bytes
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.protocols.anthropic_messages import AnthropicMessages
from llmrouter.upstream.protocols.exact_json import has_long_numbers, loads
from llmrouter.upstream.protocols.interface import (
    AnswerContext,
    Losses,
    TranslatedFormat,
    WireFormat,
    mapping,
)
from llmrouter.upstream.protocols.openai_chat import OpenAIChat
from llmrouter.upstream.protocols.openai_responses import OpenAIResponses, custom_tools
from llmrouter.upstream.protocols.passed import COMPLETIONS, DECISIONS, EMBEDDINGS, SYSTEMONE
from llmrouter.upstream.response_parser import parsed
from llmrouter.upstream.sse_decoder import data_of

FORMATS: Final[tuple[TranslatedFormat, ...]] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
)
PASS_ONLY: Final[tuple[WireFormat, ...]] = (EMBEDDINGS, COMPLETIONS, DECISIONS, SYSTEMONE)
BY_NAME: Final[Mapping[str, WireFormat]] = {f.name: f for f in (*FORMATS, *PASS_ONLY)}
_TRANSLATED: Final[Mapping[str, TranslatedFormat]] = {f.name: f for f in FORMATS}
EVENT_STREAM: Final = "text/event-stream"
_UNCARRIED: Final = compile_bytes(rb'"(citations|annotations|audio|images)"\s*:\s*(?:\[\s*["{]|\{)')
"""Members of an answer that no other format is given; in a stream they come after the headers."""


def rewritten(request: ChatRequest, target: Target, *, strip: bool) -> Rewritten | None:
    """Implements `Rewriter`."""
    wire = request.wire
    source, spoken = _TRANSLATED.get(wire.protocol), _TRANSLATED[target.protocol]
    if source is None or source is spoken:
        if not strip:
            return None
        body = BY_NAME[wire.protocol].strip(request.body)
        return Rewritten(body, wire.protocol, ("reasoning in the history dropped",))
    if target.protocol != wire.protocol and wire.protocol in wire.needs:
        raise UpstreamFailure("untranslatable", f"only a target that speaks {wire.protocol} can")
    losses = Losses(dict.fromkeys(wire.losses))
    document = request.document
    if request.bare_prompt:
        messages = [{"role": "user", "content": request.messages[0].text}]
        document = {name: v for name, v in document.items() if name != "prompt"}
        document["messages"] = messages
    body = orjson.dumps(spoken.build(document, target, losses))
    translation = Translation(source, spoken, _context(request, target))
    return Rewritten(body, spoken.name, tuple(losses), translation)


def _context(request: ChatRequest, target: Target) -> AnswerContext:
    asked = mapping(request.document.get("stream_options")).get("include_usage") is True
    if request.wire.protocol != OpenAIResponses.name:
        return AnswerContext(include_usage=asked, target=target.id)
    members = request.wire.members
    return AnswerContext(members, asked, custom_tools(members), target.id)


class Translation:
    """Replies of one format in another."""

    def __init__(
        self, source: TranslatedFormat, spoken: TranslatedFormat, context: AnswerContext
    ) -> None:
        self._source = source
        self._spoken = spoken
        self._context = context
        self._losses = Losses()

    def whole(self, body: bytes) -> bytes:
        """A whole reply in the caller's format."""
        for found in _UNCARRIED.finditer(body):
            self._losses.add(f"{found[1].decode()} of the answer dropped")
        document = parsed(body) or {}
        if has_long_numbers(body) and self._spoken.name == AnthropicMessages.name:
            document = loads(body)
        return orjson.dumps(self._source.whole(self._spoken.pieces(document), self._context))

    @property
    def losses(self) -> tuple[str, ...]:
        """What a whole answer held that the caller's format cannot, once it was translated."""
        return tuple(self._losses)

    def stream(self) -> TranslatedEvents:
        """A translator for one stream."""
        return TranslatedEvents(self._source, self._spoken, self._context)


class TranslatedEvents:
    """The events of one stream in another format, one in, one out."""

    def __init__(
        self, source: TranslatedFormat, spoken: TranslatedFormat, context: AnswerContext
    ) -> None:
        self._decoder = spoken.decoder()
        self._encoder = source.encoder(context)

    def feed(self, event: ResponseEvent) -> ResponseEvent:
        """The event in the caller's format."""
        data = data_of(event.data)
        document = parsed(data) if data else None
        written = b""
        if document is not None:
            written = self._encoder.feed(self._decoder.feed(document))
        if event.done:
            written += self._encoder.end()
        return ResponseEvent(
            written,
            EVENT_STREAM,
            text=event.text,
            finish_reason=event.finish_reason,
            model=event.model,
            response_id=event.response_id,
            usage=event.usage,
            logprobs=event.logprobs,
            margins=event.margins,
            refusal=event.refusal,
            done=event.done,
            usage_only=not written,
        )

    def end(self) -> bytes:
        """The events that close the stream, where the target did not close it."""
        return self._encoder.end()
