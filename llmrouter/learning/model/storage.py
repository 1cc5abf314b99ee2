"""Bytes of a stored model: a versioned, checksummed envelope around plain arrays.

A snapshot may come from an older build, a half-written file or another machine. Loading it gives a
working model or a clear error, and never runs code: no pickle, no unknown format version, no bytes
with a wrong checksum.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import orjson
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]

MAGIC = b"LLMRPREF"
VERSION = 3
READS = 2, 3
"""Version 2 has no views of words, and neighbours of before count as fitted on."""
_ENVELOPE = struct.Struct("<8sHIQ")
_META = "meta"


class ModelUnreadable(ValueError):
    """The bytes are not a preference model that this version can read; says why."""


def pack(meta: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Envelope (magic, version, CRC-32, length), then an npz of `arrays` and JSON `meta`."""
    buffer = io.BytesIO()
    text = np.frombuffer(orjson.dumps(meta), np.uint8)
    np.savez(buffer, allow_pickle=False, **{_META: text, **arrays})
    body = buffer.getvalue()
    return _ENVELOPE.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body


def unpack(data: bytes, at: int = 0) -> tuple[dict[str, object], Arrays]:
    """The inverse of `pack`, for bytes that begin `at`. Raises `ModelUnreadable`.

    It copies nothing but the arrays, piece by piece: megabytes at once would hold other threads.
    """
    start = at + _ENVELOPE.size
    if len(data) < start or data[at : at + 8] != MAGIC:
        raise ModelUnreadable("these bytes are not a preference model")
    _, version, checksum, length = _ENVELOPE.unpack_from(data, at)
    if version not in READS:
        raise ModelUnreadable(f"format version {version} is not {VERSION}: fit the model again")
    found = len(data) - start
    if found != length:
        raise ModelUnreadable(f"{found} bytes where {length} were written: the file is cut off")
    if zlib.crc32(memoryview(data)[start:]) != checksum:
        raise ModelUnreadable("the checksum does not match: the file is damaged")
    body = io.BytesIO(data)
    body.seek(start)
    try:
        with np.load(body, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = orjson.loads(arrays.pop(_META).tobytes())
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(f"the arrays cannot be read: {error}") from error
    if not isinstance(meta, dict):
        raise ModelUnreadable("the model's description is not an object")
    return meta, arrays
