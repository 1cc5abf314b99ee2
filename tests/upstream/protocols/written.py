"""Streams and requests to translate, shared by the tests of the wire formats."""

from __future__ import annotations

from typing import Any

import orjson

from llmrouter.simulator import messages, responses
from llmrouter.simulator.replies import Reply
from llmrouter.upstream.protocols.interface import AnswerContext
from llmrouter.upstream.protocols.registry import FORMATS, TranslatedEvents
from llmrouter.upstream.stream_parser import Stream

FORMAT = {spoken.name: spoken for spoken in FORMATS}
NAMES = tuple(FORMAT)
PAIRS = [(source, spoken) for source in NAMES for spoken in NAMES if source != spoken]


def text_reply(text: str = "Grüße, 你好! One\r\nmore line.") -> Reply:
    """An answer in words."""
    return Reply(tuple(text[at : at + 3] for at in range(0, len(text), 3)), "stop", -0.1)


def tool_reply(arguments: dict[str, Any] | None = None) -> Reply:
    """A tool call."""
    given = {"city": "São Paulo", "days": 3} if arguments is None else arguments
    return Reply((), "tool_calls", -0.1, ("weather", orjson.dumps(given).decode()))


def context() -> AnswerContext:
    """A context that does not change with the clock."""
    return AnswerContext(include_usage=True, target="t", created=1_700_000_000)


def streamed(spoken: str, reply: Reply) -> bytes:
    """A whole stream of one format, as a server of that format writes it."""
    if spoken == "anthropic-messages":
        document = {"model": "m", "messages": [], "thinking": {"type": "adaptive"}}
        return b"".join(messages.events(document, reply))
    if spoken == "openai-responses":
        document = {"model": "m", "input": "hi", "reasoning": {"effort": "low"}}
        return b"".join(responses.events(document, reply))
    return b"".join(_chat(reply))


def _chat(reply: Reply) -> list[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}
        return b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"

    written = [chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": "Hm."})]
    written += [chunk({"content": token}) for token in reply.tokens]
    if reply.tool is not None:
        name, text = reply.tool
        call = {"index": 0, "id": "call_1", "type": "function"}
        written.append(
            chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        )
        for at in range(0, len(text), 5):
            piece = {"index": 0, "function": {"arguments": text[at : at + 5]}}
            written.append(chunk({"tool_calls": [piece]}))
    written.append(chunk({}, reply.finish_reason))
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    written.append(b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\n")
    return [*written, b"data: [DONE]\n\n"]


def translated(source: str, spoken: str, chunks: list[bytes]) -> tuple[bytes, Stream]:
    """What a caller of `source` gets of a stream in `spoken` that arrives in these chunks."""
    stream = Stream(FORMAT[spoken])
    events = TranslatedEvents(FORMAT[source], FORMAT[spoken], context())
    out: list[bytes] = []
    for chunk in chunks:
        stream.feed(chunk)
        while stream.ready:
            out.append(events.feed(stream.ready.popleft()).data)
    stream.end()
    while stream.ready:
        out.append(events.feed(stream.ready.popleft()).data)
    if stream.failure is None:
        out.append(events.end())
    return b"".join(out), stream


def documents(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of every event."""
    return [
        orjson.loads(line[6:])
        for line in stream.split(b"\n")
        if line.startswith(b"data: ") and line != b"data: [DONE]"
    ]
