"""Where the brackets of a JSON text are, found without parsing it, a slice at a time.

Strings are passed over by the parity of their quotes. What is not JSON gives a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

SLICE: Final = 1024 * 1024
STEPS: Final = np.zeros(256, np.int8)
"""By character: 1 opens a container, -1 closes one."""
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1


def scanned(body: bytes) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Slices of a text: where each begins, its characters, and which of them are in no string."""
    inside, start = False, 0
    while start < len(body):
        end = _slice_end(body, start)
        piece = body[start:end]
        if b"\\" in piece:  # escaped backslashes first, then a quote behind a backslash is no end
            piece = piece.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        characters = np.frombuffer(piece, np.uint8)
        quotes = np.cumsum(characters == ord('"'), dtype=np.uint8) & 1
        yield start, characters, quotes == inside
        inside ^= bool(quotes[-1])
        start = end


def top_level_ends(body: bytes) -> NDArray[np.int64]:
    """Behind which bytes the containers end that are members of the outermost one, rising."""
    found = [np.zeros(0, np.int64)]
    depth = 0
    for start, characters, outside in scanned(body):
        steps = np.where(outside, STEPS[characters], 0)
        places = np.flatnonzero(steps)
        levels = np.cumsum(steps[places], dtype=np.int64) + depth
        closes = (levels == 1) & (steps[places] < 0)
        found.append(places[closes] + (start + 1))
        depth = int(levels[-1]) if len(levels) else depth
    return np.concatenate(found)


def _slice_end(body: bytes, start: int) -> int:
    """Where the slice that begins at `start` ends: never between a backslash and its character."""
    end = min(start + SLICE, len(body))
    backslashes = 0
    while end - backslashes > start and body[end - backslashes - 1] == 0x5C:
        backslashes += 1
    return min(end + backslashes % 2, len(body))
