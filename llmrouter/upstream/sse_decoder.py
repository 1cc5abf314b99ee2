"""Server-sent events, cut out of a byte stream without changing a byte of it.

Bytes arrive in any chunking and leave as complete events with their framing: CR, LF or CRLF,
comments, `event:` lines and several `data:` lines stay as received. Concatenating what comes out
(the rest included) gives what went in. An event beyond the size limit is refused, because a
server that never ends one would otherwise fill the memory.
"""

from __future__ import annotations

from llmrouter.domain.patterns import compile_bytes
from llmrouter.errors import UpstreamFailure

MAX_EVENT_BYTES = 8 * 1024 * 1024
# Two line ends, each of which takes up as much as it can: CRLF is one, never a CR and an LF.
_BLANK = compile_bytes(rb"\r\n(?:\r\n|\n|\r)|\n(?:\r\n|\n|\r)|\r\r\n?")
_BOM = b"\xef\xbb\xbf"


class Splitter:
    """Feed it chunks, get complete events. One a stream; not shared."""

    __slots__ = ("_buffer", "_limit", "_scanned")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._buffer = b""
        self._scanned = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that are complete now. Raises UpstreamFailure `too_large`."""
        buffer = self._buffer
        size = len(chunk)
        if not buffer and chunk.find(b"\n\n") == size - 2 >= 0 and b"\r" not in chunk:
            if size > self._limit:
                raise self._too_large()
            return [chunk]
        buffer += chunk
        events = []
        start = 0
        at = self._scanned
        while (blank := _BLANK.search(buffer, at)) is not None:
            at = blank.end()
            if at == len(buffer) and buffer.endswith(b"\r"):
                break  # a line feed may follow, and would belong to this event
            if at - start > self._limit:
                raise self._too_large()
            events.append(buffer[start:at])
            start = at
        rest = buffer[start:]
        if len(rest) > self._limit:
            raise self._too_large()
        self._buffer = rest
        self._scanned = max(0, len(rest) - 4)
        return events

    def _too_large(self) -> UpstreamFailure:
        return UpstreamFailure("too_large", f"an event is over {self._limit} bytes")

    def rest(self) -> bytes:
        """What has arrived of an event that is not complete; empties the splitter."""
        rest, self._buffer, self._scanned = self._buffer, b"", 0
        return rest


def data_of(event: bytes) -> bytes | None:
    """The event's data, its lines joined by LF; None when it has none (a comment, a ping)."""
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event) - 2:
        return event[6:].strip()
    lines = []
    for line in event.removeprefix(_BOM).splitlines():
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines) if lines else None
