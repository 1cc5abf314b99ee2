"""Matrix products with rows stored as int8: the encoder's, the sketch's and the memory's.

Converting all rows to floats at once allocates four times their size, and with the worker's malloc
settings (see `server`) every block above 64 KB comes fresh from the system: the page faults took
longer than the product. So rows are converted piece by piece. Threads share no buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats

Bytes = NDArray[np.int8]
Rows = NDArray[np.signedinteger[Any]]

_PIECE = 16_320
"""Numbers that are converted at once: just below 64 KB."""


def combined(weights: Floats, table: Bytes, rows: Rows) -> Floats:
    """The sum [width] of the table's `rows`, each times its weight."""
    width = table.shape[1]
    step = max(_PIECE // width, 1)
    out = np.zeros(width, np.float32)
    for at in range(0, len(rows), step):
        piece = table.take(rows[at : at + step], axis=0).astype(np.float32)
        out += weights[at : at + step] @ piece
    return out


def products(table: Bytes, rows: Rows, key: Floats) -> Floats:
    """The product of each of the table's `rows` with `key` [width]."""
    step = max(_PIECE // table.shape[1], 1)
    out = np.empty(len(rows), np.float32)
    for at in range(0, len(rows), step):
        piece = table.take(rows[at : at + step], axis=0).astype(np.float32)
        np.dot(piece, key, out=out[at : at + step])
    return out
