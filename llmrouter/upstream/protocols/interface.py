"""What a wire format is: one interface for parsing, building, reading and translating.

Between two formats everything goes through one inner form. A request inside is a chat-completions
document, because the features, the checks and the judge read that shape; a reply inside is a
sequence of `Piece`s, whether it was streamed or not. A request whose caller and target speak the
same format never becomes either: its bytes are relayed.

Nothing is lost silently. What a format says and the inner form cannot carry is either listed in
`ParsedRequest.losses`, which callers see as warnings, or it adds the format's own name to `needs`,
which keeps the request on targets that speak this format.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

from llmrouter.domain.completion import Usage
from llmrouter.domain.patterns import BytesPattern
from llmrouter.domain.target import Target
from llmrouter.errors import BadRequest, LLMRouterError
from llmrouter.upstream.protocols import exact_json
from llmrouter.upstream.response_parser import ParsedResponse

Document = Mapping[str, Any]
Kind = Literal["start", "text", "reasoning", "refusal", "tool", "arguments", "finish", "usage"]

OWN_SIGNATURE = "llmrouter:"
"""How reasoning is signed that this service carried over from another format.

No provider accepts it, so it is taken out of a history before that is relayed.
"""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as routing reads it.

    `document` is a chat-completions document. `needs` are capabilities beyond those that the
    document shows, `losses` what a translation would drop. `session` is the caller's own name for
    the conversation. `signed` says that the history holds reasoning that only the model that wrote
    it accepts, `foreign` that it holds reasoning which this service carried over.
    """

    document: dict[str, Any]
    needs: frozenset[str] = frozenset()
    losses: tuple[str, ...] = ()
    session: str | None = None
    signed: bool = False
    foreign: bool = False


@dataclass(slots=True)
class Piece:
    """One step of a reply inside.

    `start` has the reply's `id` and model (`name`); `text`, `reasoning` and `refusal` have `text`;
    `logprobs` of a `text` are its tokens' in chat completions' shape, where they were asked for.
    `tool` opens the tool call number `index` with its `id` and `name`, `arguments` adds JSON text
    to it; `finish` has chat completions' finish reason as `text`; `usage` has token counts.
    """

    kind: Kind
    text: str = ""
    index: int = 0
    id: str = ""
    name: str = ""
    usage: Usage | None = None
    logprobs: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class AnswerContext:
    """What an encoder knows of the request that it answers.

    `echoed` are members of the request that its answer may repeat; `include_usage` whether a chat
    caller asked for the usage chunk; `custom_tools` names the tools whose input is free text;
    `target` is who answers, `created` when, in Unix seconds.
    """

    echoed: Mapping[str, Any] = field(default_factory=dict)
    include_usage: bool = False
    custom_tools: frozenset[str] = frozenset()
    target: str = ""
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass(slots=True)
class Losses:
    """Collects what a translation drops or changes, each once, in order."""

    found: dict[str, None] = field(default_factory=dict)

    def add(self, what: str) -> None:
        """Note one loss."""
        self.found[what] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)


class Encoder(Protocol):
    """Writes a reply in one format, piece by piece."""

    def feed(self, pieces: Iterable[Piece]) -> bytes:
        """The stream's events for these pieces; b"" where they only change the state."""
        ...

    def end(self) -> bytes:
        """The events that close the stream; b"" when they are out already."""
        ...


class Decoder(Protocol):
    """Reads a streamed reply of one format into pieces."""

    def feed(self, document: Document) -> list[Piece]:
        """The pieces of one event's JSON."""
        ...


class StreamReader(Protocol):
    """Reads what the service wants to know off a stream that it relays."""

    def read(self, document: Document) -> ParsedResponse:
        """One event's facts; finish reasons in chat completions' words."""
        ...


class WireFormat(Protocol):
    """One wire format, as far as relaying it needs.

    `name` is what `protocol:` in a catalog file says, `path` follows a target's base_url.
    `telling` matches every event of a stream that can hold a fact which the relay needs.
    """

    @property
    def name(self) -> str:
        """The format's name."""
        ...

    @property
    def path(self) -> str:
        """What follows a target's base_url."""
        ...

    @property
    def telling(self) -> BytesPattern:
        """What every event that must be read matches."""
        ...

    def parse(self, document: Document) -> ParsedRequest:
        """The request inside. Raises BadRequest, whose `param` is a path in this format."""
        ...

    def strip(self, body: bytes) -> bytes:
        """A request without the reasoning in its history."""
        ...

    def read(self, document: Document) -> ParsedResponse:
        """The facts of a whole reply."""
        ...

    def reader(self) -> StreamReader:
        """A reader for one stream."""
        ...

    def error_of(self, document: Document) -> tuple[str, int | None] | None:
        """The message and HTTP status of an error that came with status 200, or None."""
        ...

    def error(self, error: LLMRouterError, request_id: str) -> dict[str, Any]:
        """The envelope of an error."""
        ...

    def error_event(self, error: LLMRouterError, request_id: str) -> bytes:
        """The event that ends a stream which failed."""
        ...


class TranslatedFormat(WireFormat, Protocol):
    """A wire format whose requests and replies also have an inner form."""

    def build(self, document: Document, target: Target, losses: Losses) -> dict[str, Any]:
        """The body for a target of this format, from a request inside.

        Raises UpstreamFailure `untranslatable` for what must not be left out.
        """
        ...

    def pieces(self, document: Document) -> list[Piece]:
        """A whole reply as pieces."""
        ...

    def decoder(self) -> Decoder:
        """A decoder for one stream."""
        ...

    def encoder(self, context: AnswerContext) -> Encoder:
        """An encoder for one stream."""
        ...

    def whole(self, pieces: list[Piece], context: AnswerContext) -> dict[str, Any]:
        """A whole reply from its pieces."""
        ...


def bad(param: str, message: str, code: str = "invalid_value") -> BadRequest:
    """The error for a value that cannot be."""
    return BadRequest(f"{param} {message}", param=param, code=code)


def wrong_type(param: str, wanted: str) -> BadRequest:
    """The error for a value of the wrong JSON type."""
    return bad(param, f"must be {wanted}", "invalid_type")


def strings(value: object) -> list[str]:
    """The strings of a list, or the one string there is."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def objects(param: str, value: object) -> list[dict[str, Any]]:
    """A list of JSON objects; None is an empty one. Raises BadRequest."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(param, "a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong_type(f"{param}[{index}]", "an object")
    return value


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(content: object) -> str:
    """The text parts of chat content, joined by line feeds."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and part.get("text")
        )
    return ""


def json_of(text: object) -> dict[str, Any]:
    """A tool call's arguments as an object; what is no object comes under its own key."""
    try:
        value = exact_json.loads(text.encode()) if isinstance(text, str) and text else {}
    except ValueError:
        return {"_raw": text}
    return value if isinstance(value, dict) else {"_raw": value}


def dumped(value: object) -> str:
    """Compact JSON text."""
    return orjson.dumps(value).decode()


def event(data: object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, orjson.dumps(data))


def folded(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with neighbours of one kind joined: what a whole reply is made of."""
    joined: list[Piece] = []
    calls: dict[int, Piece] = {}
    for piece in pieces:
        last = joined[-1] if joined else None
        if piece.kind == "arguments":
            if piece.index in calls:
                calls[piece.index].text += piece.text
        elif piece.kind in ("text", "reasoning", "refusal"):
            if last is not None and last.kind == piece.kind:
                last.text += piece.text
                last.logprobs += piece.logprobs
            elif piece.text:
                joined.append(Piece(piece.kind, piece.text, logprobs=[*piece.logprobs]))
        else:
            made = Piece(piece.kind, piece.text, piece.index, piece.id, piece.name, piece.usage)
            if piece.kind == "tool":
                calls[piece.index] = made
            joined.append(made)
    return joined
