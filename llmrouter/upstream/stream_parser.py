"""A streamed reply, read event by event beside the bytes. No I/O.

An event is parsed only where it can hold a fact the service wants (usage, finish reason, an
error; each wire format says which), or where the call asks for every detail. What does not commit
the reply (comments, a chunk with a role alone) is held until the first token, so a stream that dies
before it can still be answered by another target. A stream that ends without its end marker and
without a finish reason was cut short; one that ends before it said anything is empty, which is an
error and not an end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from llmrouter.domain.completion import ChoicePart, ResponseEvent, Usage
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.protocols.interface import WireFormat
from llmrouter.upstream.protocols.openai_chat import OpenAIChat
from llmrouter.upstream.response_parser import parsed
from llmrouter.upstream.sse_decoder import MAX_EVENT_BYTES, Splitter, data_of

EVENT_STREAM = "text/event-stream"
CHAT = OpenAIChat()
_FIELDS = (b":", b"data", b"event", b"id", b"retry")
_MAX_HELD_EVENTS = 64


class Stream:
    """Feed it what arrives and take from `ready`; once that is empty, `failure` may say why.

    `detail` reads text and log-probabilities off every chunk; `strip_usage` marks the chunk that
    exists only because the service asked for usage. Where several `choices` were asked for, each
    one that begins must finish. `ended` is true once nothing more is due.
    """

    __slots__ = (
        "_before",
        "_detail",
        "_finished",
        "_format",
        "_held",
        "_reader",
        "_splitter",
        "_strip_usage",
        "_unfinished",
        "_usage",
        "ended",
        "failure",
        "ready",
    )

    def __init__(
        self,
        spoken: WireFormat = CHAT,
        *,
        detail: bool = False,
        strip_usage: bool = False,
        limit: int = MAX_EVENT_BYTES,
        choices: int = 1,
    ) -> None:
        self._format = spoken
        self._reader = spoken.reader()
        self._detail = detail
        self._strip_usage = strip_usage
        self._splitter = Splitter(limit)
        self._held: list[ResponseEvent] | None = []
        self._finished = False
        self._usage: Usage | None = None
        self._before = 0
        self._unfinished: dict[int, bool] | None = {} if choices > 1 else None
        self.ready: deque[ResponseEvent] = deque()
        self.failure: UpstreamFailure | None = None
        self.ended = False

    @property
    def committed(self) -> bool:
        """Whether the first token has been seen."""
        return self._held is None

    @property
    def held(self) -> int:
        """How many complete events came up to the first token."""
        return self._before

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they arrived, in any chunking."""
        try:
            for event in self._splitter.feed(chunk):
                if self.ended:
                    return
                self._take(event)
        except UpstreamFailure as failure:
            self._fail(failure)

    def end(self) -> None:
        """The bytes are out. A last event without its blank line counts where it is complete."""
        try:
            rest = self._splitter.rest()
            data = None if self.ended else data_of(rest)
            if data == b"[DONE]" or (data is not None and parsed(data) is not None):
                self._take(rest.rstrip(b"\r\n") + b"\n\n")
            if self.ended:
                return
            if self._held is not None:
                if rest.strip() and not rest.lstrip().startswith(_FIELDS):
                    raise UpstreamFailure("malformed", "the upstream's answer is no event stream")
                said = "only comments or a role" if self._held else "nothing"
                raise UpstreamFailure("empty", f"the stream ended having said {said}")
            if not self._finished:
                raise UpstreamFailure("interrupted", "the stream broke off")
            self._check_choices()
        except UpstreamFailure as failure:
            self._fail(failure)
        self.ended = True

    def _check_choices(self) -> None:
        """Every choice that began must have finished; a server may give fewer than were asked."""
        for index, unfinished in sorted((self._unfinished or {}).items()):
            if unfinished:
                raise UpstreamFailure("interrupted", f"choice {index} of the stream broke off")

    def _fail(self, failure: UpstreamFailure) -> None:
        if failure.usage is None:
            failure.usage = self._usage  # what was counted is billed, whatever came of it
        self.failure = failure
        self.ended = True

    def _take(self, raw: bytes) -> None:
        """One complete event: read what it may tell, then hold it or make it ready."""
        detail = self._detail or self._unfinished is not None
        if self._held is None and not detail and self._format.telling.search(raw) is None:
            self.ready.append(ResponseEvent(raw, EVENT_STREAM))
            return
        data = data_of(raw)
        if not data:  # a comment, or an empty event that keeps a connection alive
            self._put(ResponseEvent(raw, EVENT_STREAM), commits=False)
        elif data == b"[DONE]":
            if self._held is not None:
                raise UpstreamFailure("empty", "the stream ended without an answer")
            if self._finished:
                self._check_choices()
            self.ready.append(ResponseEvent(raw, EVENT_STREAM, done=True))
            self.ended = True
        else:
            self._chunk(raw, data)

    def _chunk(self, raw: bytes, data: bytes) -> None:
        document = parsed(data)
        if document is None:
            if self._held is not None:
                raise UpstreamFailure("malformed", "the stream's first event is no JSON object")
            self.ready.append(ResponseEvent(raw, EVENT_STREAM))
            return
        reading = self._reader.read(document)
        if reading.usage is not None:
            known = self._usage
            self._usage = reading.usage if known is None else known.joined(reading.usage)
        error = self._format.error_of(document)
        if error is not None:
            raise UpstreamFailure("error_body", error[0], status=error[1], body=data)
        if reading.finish_reason is not None:
            self._finished = True
        if self._unfinished is not None and reading.choices:
            for part in reading.parts or (ChoicePart(0, finish_reason=reading.finish_reason),):
                self._unfinished[part.index] = (
                    self._unfinished.get(part.index, True) and part.finish_reason is None
                )
        event = ResponseEvent(
            raw,
            EVENT_STREAM,
            text=reading.text,
            finish_reason=reading.finish_reason,
            model=reading.model,
            response_id=reading.response_id,
            usage=self._usage if reading.usage is not None else None,
            logprobs=reading.logprobs,
            margins=reading.margins,
            refusal=reading.refusal,
            done=reading.done,
            written=reading.written,
            calls_tools=reading.calls_tools,
            parts=reading.parts,
            usage_only=self._strip_usage and reading.usage is not None and not reading.choices,
        )
        if reading.done and self._held is not None and reading.finish_reason is None:
            raise UpstreamFailure("empty", "the stream ended without an answer")
        # A stream that finishes without an answer is read on to its end: its usage is still due.
        ended = reading.finish_reason is not None
        nothing = ended and says_nothing(reading.finish_reason, reading.has_content)
        self._put(event, commits=reading.has_content or (ended and not nothing))
        self.ended = self.ended or reading.done

    def _put(self, event: ResponseEvent, *, commits: bool) -> None:
        held = self._held
        if held is None:
            self.ready.append(event)
            return
        self._before += 1
        if commits or len(held) < _MAX_HELD_EVENTS or not event.data.startswith(b":"):
            held.append(event)  # of many comments the first ones are enough
        if commits or len(held) > _MAX_HELD_EVENTS:
            if event.refusal:
                held[0] = replace(held[0], refusal=True)  # who decides sees the first event alone
            self.ready.extend(held)
            self._held = None


def whole(body: bytes, kind: str, spoken: WireFormat = CHAT) -> ResponseEvent:
    """The one event of a reply that is not a stream. Raises UpstreamFailure where it is none."""
    if not body.strip():
        raise UpstreamFailure("empty", "the upstream answered an empty body")
    document = parsed(body)
    if document is None:
        named = f" ({kind})" if kind and kind != "application/json" else ""
        raise UpstreamFailure("malformed", f"the upstream's answer is no JSON object{named}")
    reading = spoken.read(document)
    error = spoken.error_of(document)
    if error is not None:
        message, status = error
        failure = UpstreamFailure("error_body", message, status=status, body=body)
        raise failure.billed(reading.usage)
    if not reading.choices or says_nothing(reading.finish_reason, reading.has_content):
        said_nothing = UpstreamFailure("empty", "the upstream's answer has no content")
        raise said_nothing.billed(reading.usage)
    return ResponseEvent(
        body,
        "application/json",
        text=reading.text,
        finish_reason=reading.finish_reason,
        model=reading.model,
        response_id=reading.response_id,
        usage=reading.usage,
        logprobs=reading.logprobs,
        margins=reading.margins,
        refusal=reading.refusal,
        written=reading.written,
        calls_tools=reading.calls_tools,
        parts=reading.parts,
        done=True,
    )


def says_nothing(finish_reason: str | None, has_content: bool) -> bool:
    """An answer that stopped by itself and holds nothing; one cut off by a limit may."""
    return not has_content and finish_reason in (None, "stop")
