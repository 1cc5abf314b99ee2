"""Unpacks compressed bodies: after the key and the size are checked, off the loop, and bounded.

A few kilobytes can unpack to gigabytes. What is unpacked counts against the body's limit while it
grows, and so does its ratio to what was sent.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import Final

from llmrouter.api.error_response import HTTPRefused
from llmrouter.errors import BadRequest, PayloadTooLarge

ENCODINGS: Final = ("gzip", "deflate")
MAX_RATIO: Final = 200
"""How many times its packed size a body may have; JSON rarely has more than twenty times."""
FREE_BYTES: Final = 256 * 1024
"""Unpacked bytes that no ratio is asked of."""
MEMBERS: Final = 16
"""How many gzip members may follow one another."""
AT_ONCE: Final = 2
_STEP: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Unpacker:
    """Unpacks bodies to at most `max_bytes`, a few at a time."""

    max_bytes: int
    too_large: PayloadTooLarge
    turns: asyncio.Semaphore

    async def unpacked(self, body: bytes, encoding: str) -> bytes:
        """The body as it was before `encoding`. Raises BadRequest, PayloadTooLarge."""
        async with self.turns:
            return await asyncio.to_thread(self._unpack, body, encoding)

    def _unpack(self, body: bytes, encoding: str) -> bytes:
        pieces: list[bytes] = []
        size, most = 0, max(FREE_BYTES, len(body) * MAX_RATIO)
        for _ in range(MEMBERS):
            member = zlib.decompressobj(_window(body, encoding))
            try:
                while not member.eof and (body or member.unconsumed_tail):
                    piece = member.decompress(body, _STEP)
                    body = member.unconsumed_tail
                    size += len(piece)
                    if size > self.max_bytes:
                        raise self.too_large
                    if size > most:
                        raise PayloadTooLarge(
                            f"the body unpacks to more than {MAX_RATIO} times its size",
                            code="compression_ratio",
                        )
                    pieces.append(piece)
                    if not piece and not body:
                        break
            except zlib.error as error:
                raise _broken(encoding, str(error)) from None
            if not member.eof:
                raise _broken(encoding, "it ends too early")
            body = member.unused_data
            if not body:
                return b"".join(pieces)
            if encoding != "gzip":
                break
        raise _broken(encoding, "something follows its end")


def encoding_of(header: str | None) -> str | None:
    """What a Content-Encoding asks for; None for nothing. Raises HTTPRefused (415)."""
    name = (header or "identity").strip().lower()
    if name in ("identity", ""):
        return None
    name = name.removeprefix("x-")
    if name not in ENCODINGS:
        raise HTTPRefused(
            415, f"Content-Encoding {name[:64]!r} is not read here: send gzip, deflate or none"
        )
    return name


def _window(body: bytes, encoding: str) -> int:
    if encoding == "gzip":
        return 16 + zlib.MAX_WBITS
    # Half of the world's "deflate" has no zlib header; its first byte tells.
    return zlib.MAX_WBITS if body[:1] and body[0] & 0x0F == 8 else -zlib.MAX_WBITS


def _broken(encoding: str, why: str) -> BadRequest:
    return BadRequest(
        f"the body is not what its Content-Encoding says ({encoding}): {why}", code="invalid_body"
    )
