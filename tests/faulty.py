"""An upstream on a real socket that fails in every way an upstream can.

The first part of the path names what it does: `http://127.0.0.1:PORT/reset/v1`. It speaks raw
bytes, so that nothing tidies a fault up, and it notices when its client leaves.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


def completion(text: str = "Four.", **over: Any) -> bytes:
    """A chat completion's body."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    document = {"id": "cmpl-1", "object": "chat.completion", "model": "m-1", "choices": [choice]}
    return json.dumps({**document, "usage": USAGE, **over}).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **over: Any) -> bytes:
    """One SSE event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    document = {"id": "cmpl-1", "object": "chat.completion.chunk", "model": "m-1"}
    return b"data: " + json.dumps({**document, "choices": [choice], **over}).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
WORDS = (chunk({"content": "Fo"}), chunk({"content": "ur."}))
END = chunk({}, "stop")
COUNTS = b"data: " + json.dumps({"id": "cmpl-1", "choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
COMMENT = b": PROCESSING\n\n"
STREAM = (ROLE, *WORDS, END, COUNTS, DONE)


@dataclass
class Seen:
    """One request as it arrived."""

    mode: str
    headers: dict[str, str]
    body: bytes
    sent: int = 0

    @property
    def stream(self) -> bool:
        """Whether it asked for a stream."""
        return bool(json.loads(self.body).get("stream"))


@dataclass
class FaultyUpstream:
    """`async with FaultyUpstream() as upstream`; `url(mode)` is a base_url, `seen` what arrived.

    `left` counts clients that closed their connection while an answer was under way.
    """

    seen: list[Seen] = field(default_factory=list)
    left: int = 0
    script: dict[str, list[str]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    open: int = 0

    async def __aenter__(self) -> FaultyUpstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, mode: str) -> str:
        """The base_url that fails like this; `refuse` is a port nobody listens on."""
        if mode == "refuse":
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        return f"http://127.0.0.1:{self._port}/{mode}/v1"

    def hits(self, mode: str) -> int:
        """How many requests came for a mode."""
        return sum(one.mode == mode for one in self.seen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            while (seen := await self._read(reader)) is not None:
                self.seen.append(seen)
                mode = seen.mode
                if self.script.get(mode):
                    mode = self.script[mode].pop(0)
                answer = asyncio.ensure_future(self._answer(mode, seen, writer))
                gone = asyncio.ensure_future(reader.read(1)) if mode in WAITING else None
                if gone is None:
                    await answer
                    continue
                try:
                    await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                    self.left += 1  # these modes never end by themselves
                finally:
                    answer.cancel()
                    gone.cancel()
                    await asyncio.gather(answer, gone, return_exceptions=True)
                return
        except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):  # the last is uvloop's
            self.left += 1
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(head[0].split(" ")[1].split("/")[1], headers, body)

    async def _answer(self, mode: str, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if mode in self.bodies:
            await whole(writer, self.bodies[mode])
        else:
            await MODES[mode](seen, writer)


Answer = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


async def whole(
    writer: asyncio.StreamWriter,
    body: bytes,
    *,
    status: str = "200 OK",
    kind: str = "application/json",
    extra: str = "",
    length: int | None = None,
) -> None:
    """One answer with a length, right or wrong."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}"
    head += f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def events(
    writer: asyncio.StreamWriter,
    pieces: tuple[bytes, ...],
    *,
    finish: bool = True,
    kind: str = "text/event-stream; charset=utf-8",
) -> None:
    """A chunked event stream; `finish` False leaves the transfer open."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    for piece in pieces:
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    if finish:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def ok(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """The right answer, in the form that was asked for."""
    if seen.stream:
        await events(writer, STREAM)
    else:
        await whole(writer, completion())


def _both(body: bytes, *pieces: bytes, **how: Any) -> Answer:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.stream:
            await events(writer, pieces)
        else:
            await whole(writer, body, **how)

    return answer


def _same(body: bytes, **how: Any) -> Answer:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await whole(writer, body, **how)

    return answer


def refusal(status: str, message: str, code: str | None = None, extra: str = "") -> Answer:
    """An OpenAI-shaped error."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _same(json.dumps({"error": error}).encode(), status=status, extra=extra)


async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(3600)


async def hang_mid(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begins an answer and falls silent."""
    if seen.stream:
        await events(writer, (ROLE, WORDS[0]), finish=False)
    else:
        await whole(writer, completion()[:20], length=len(completion()))
    await asyncio.sleep(3600)


async def hang_role(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begins a stream, and falls silent before the first token."""
    await events(writer, (b": hello\n\n", ROLE), finish=False)
    await asyncio.sleep(3600)


async def _comments(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Keep-alives for so long, twenty a second."""
    for _ in range(int(seconds * 20)):
        writer.write(f"{len(COMMENT):x}\r\n".encode() + COMMENT + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def thinks(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Keeps the connection alive with comments for 1.5 s, then answers."""
    await events(writer, (), finish=False)
    await _comments(writer, 1.5)
    for piece in STREAM:
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def pings(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A stream of keep-alives that never says anything."""
    await events(writer, (), finish=False)
    await _comments(writer, 3600)


async def pings_mid(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begins a stream, then only keeps it alive."""
    await events(writer, (ROLE, WORDS[0]), finish=False)
    await _comments(writer, 3600)


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Resets the connection instead of answering."""
    _abort(writer)


async def cut(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Closes the connection in the middle of an answer."""
    if seen.stream:
        await events(writer, (ROLE, WORDS[0]), finish=False)
    else:
        await whole(writer, completion()[:20], length=len(completion()))
    await asyncio.sleep(0.01)
    _abort(writer)


async def loris(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Sends its headers one byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.005)


async def loris_mid(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begins a stream, then sends one byte at a time of an event that never ends."""
    await events(writer, (ROLE, WORDS[0]), finish=False)
    while True:
        writer.write(b"1\r\n:\r\n")
        await writer.drain()
        await asyncio.sleep(0.005)


async def drip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A stream that goes on for ever, an event every few milliseconds."""
    await events(writer, (ROLE,), finish=False)
    while True:
        writer.write(f"{len(WORDS[0]):x}\r\n".encode() + WORDS[0] + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.003)


async def flood(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A stream as fast as it is taken; `seen.sent` counts its bytes."""
    await events(writer, (ROLE, WORDS[0]), finish=False)
    event = chunk({"content": "x" * FLOOD_EVENT})
    while seen.sent < FLOOD_BYTES:
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        await writer.drain()
        seen.sent += len(event)
    await asyncio.sleep(3600)


FLOOD_EVENT = 64 * 1024
FLOOD_BYTES = 64 * 1024 * 1024
WAITING = frozenset(
    {
        "drip",
        "flood",
        "hang",
        "hang_mid",
        "hang_role",
        "loris",
        "loris_mid",
        "pings",
        "pings_mid",
    }
)


def saying(text: str) -> Answer:
    """A right answer with this text, in either form."""
    return _both(completion(text), ROLE, chunk({"content": text}), END, COUNTS, DONE)


def choices(*ends: str | None, text: str = '{"n": 4}', close: bool = True) -> Answer:
    """A reply of so many choices, each with this text in two pieces and its finish reason.

    In a stream their chunks alternate; one whose end is None never finishes. `close` False leaves
    out the end marker.
    """
    whole_ones = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": end}
        for i, end in enumerate(ends)
    ]
    half = len(text) // 2
    pieces = [
        chunk({}, choices=[{"index": i, "delta": {"content": part}, "finish_reason": None}])
        for part in (text[:half], text[half:])
        for i in range(len(ends))
    ]
    pieces += [
        chunk({}, choices=[{"index": i, "delta": {}, "finish_reason": end}])
        for i, end in enumerate(ends)
        if end is not None
    ]
    return _both(completion(choices=whole_ones), *pieces, *((COUNTS, DONE) if close else ()))


def tool_call(end: str) -> Answer:
    """A reply that calls a tool and ends like this."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return _both(
        completion(choices=[{"index": 0, "message": message, "finish_reason": end}]),
        ROLE,
        chunk({"tool_calls": [{"index": 0, **call}]}),
        chunk({}, end),
        COUNTS,
        DONE,
    )


ERROR = json.dumps({"error": {"message": "overloaded", "type": "server_error"}}).encode()
MODERATED = json.dumps(
    {
        "error": {
            "code": 403,
            "message": "Your chosen model requires moderation and your input was flagged",
            "metadata": {"reasons": ["violence"], "flagged_input": "..."},
        }
    }
).encode()
NO_ENDPOINT = json.dumps(
    {"error": {"code": 404, "message": "No endpoints found that support tool use."}}
).encode()
MODES: dict[str, Answer] = {
    "ok": ok,
    "ok2": ok,
    "long_answer": saying("A long and thorough answer. " * 8),
    "refuses": _both(
        completion(choices=[{"message": {"refusal": "I won't."}, "finish_reason": "stop"}]),
        ROLE,
        chunk({"refusal": "I won't."}),
        END,
        DONE,
    ),
    "filters": _both(
        completion(choices=[{"message": {"content": ""}, "finish_reason": "content_filter"}]),
        ROLE,
        chunk({}, "content_filter"),
        DONE,
    ),
    "json_answer": saying('{"n": 4}'),
    "two": choices("stop", "stop"),
    "two_cut": choices("stop", None),
    "two_cut_end": choices(None, "stop", close=False),
    "calls_stop": tool_call("stop"),
    "calls": tool_call("tool_calls"),
    "hang": hang,
    "hang_mid": hang_mid,
    "hang_role": hang_role,
    "reset": reset,
    "cut": cut,
    "loris": loris,
    "loris_mid": loris_mid,
    "drip": drip,
    "thinks": thinks,
    "pings": pings,
    "pings_mid": pings_mid,
    "flood": flood,
    "html": _same(b"<html><body>Bad day</body></html>", kind="text/html"),
    "plain": _same(b"service unavailable", kind="text/plain"),
    "nothing": _both(b""),
    "only_done": _both(b"{}", DONE),
    "no_choices": _both(completion(choices=[]), ROLE, DONE),
    "blank": _both(completion(text=""), ROLE, END, DONE),
    "array": _both(b"[1, 2]", b"data: [1, 2]\n\n", DONE),
    "error_200": _both(ERROR, b"data: " + ERROR + b"\n\n", DONE),
    "error_mid": _both(ERROR, ROLE, WORDS[0], b"data: " + ERROR + b"\n\n"),
    "truncated": _both(completion()[:40], ROLE, *WORDS),
    "too_short": _same(completion()[:-9] + b'"', length=len(completion()) + 40),
    "bad_utf8": _both(completion().replace(b"Four", b"\xff\xfe"), b'data: {"\xff": 1}\n\n'),
    "bad_utf8_mid": _both(completion(), ROLE, WORDS[0], b"data: \xff\xfe\n\n", END, DONE),
    "json_for_stream": _same(completion()),
    "redirect": _same(b"", status="307 Temporary Redirect", extra="Location: /ok/v1\r\n"),
    "no_content": _same(b"", status="204 No Content"),
    "storm": refusal("429 Too Many Requests", "slow down", "rate_limit", "Retry-After: 30\r\n"),
    "wait1": refusal("429 Too Many Requests", "slow", "rate_limit", "Retry-After: 1\r\n"),
    "full1": refusal("503 Service Unavailable", "full", None, "Retry-After: 1\r\n"),
    "moderated": _same(MODERATED, status="403 Forbidden"),
    "no_endpoint": _same(NO_ENDPOINT, status="404 Not Found"),
    "busy": refusal("429 Too Many Requests", "slow down", "rate_limit"),
    "s400": refusal("400 Bad Request", "temperature is too high", "invalid_value"),
    "s401": refusal("401 Unauthorized", "Incorrect API key provided: sk-secret"),
    "s403": refusal("403 Forbidden", "no"),
    "s404": refusal("404 Not Found", "no such model", "model_not_found"),
    "s408": refusal("408 Request Timeout", "late"),
    "s409": refusal("409 Conflict", "conflict"),
    "s413": refusal("413 Payload Too Large", "large"),
    "s422": refusal("422 Unprocessable Entity", "no"),
    "s425": refusal("425 Too Early", "early"),
    "s500": refusal("500 Internal Server Error", "oops"),
    "s502": refusal("502 Bad Gateway", "oops"),
    "s503": refusal("503 Service Unavailable", "oops"),
    "s504": refusal("504 Gateway Timeout", "oops"),
    "s529": refusal("529 Overloaded", "oops"),
    "long": refusal("400 Bad Request", "too long", "context_length_exceeded"),
    "filtered": refusal("400 Bad Request", "filtered", "content_filter"),
    "no_logprobs": refusal("400 Bad Request", "Unrecognized request argument: top_logprobs"),
    "no_options": refusal("400 Bad Request", "Unrecognized request argument: stream_options"),
}
