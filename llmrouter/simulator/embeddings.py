"""Simulated embeddings: words hashed to signed positions, so that texts with common words are near.

Deterministic: the same text, model and length give the same vector on every machine. Token arrays
are refused, because they say nothing about words.
"""

from __future__ import annotations

import base64
import itertools
import math
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from llmrouter.domain.patterns import compile_pattern

WIDTH: Final = 256
MAX_WIDTH: Final = 4096
MAX_INPUTS: Final = 2048
_WORD = compile_pattern(r"\w+")


def vector(text: str, model: str, width: int = WIDTH) -> list[float]:
    """A unit vector; every word, and every pair of neighbours, adds its own four signs."""
    out = [0.0] * width
    words = _WORD.findall(text.lower()) or [""]
    for term in (*words, *map(" ".join, itertools.pairwise(words))):
        seed = blake2b(term.encode("utf-8", "replace"), key=model.encode()[:64], digest_size=32)
        for place, sign in struct.iter_unpack("<Ib3x", seed.digest()):
            out[place % width] += 1.0 if sign >= 0 else -1.0
    size = math.sqrt(sum(value * value for value in out)) or 1.0
    return [value / size for value in out]


def embeddings(document: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an embeddings request. Raises ValueError where it is none."""
    model, texts = document.get("model"), document.get("input")
    if not isinstance(model, str) or not model:
        raise ValueError("model must be a name")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not 0 < len(texts) <= MAX_INPUTS:
        raise ValueError(f"input must be a text, or a list of at most {MAX_INPUTS}")
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("every input must be a text that is not empty")
    width = document.get("dimensions") or WIDTH
    if not isinstance(width, int) or not 0 < width <= MAX_WIDTH:
        raise ValueError(f"dimensions must be between 1 and {MAX_WIDTH}")
    packed = document.get("encoding_format") == "base64"
    tokens = sum(len(text) // 4 + 1 for text in texts)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(numbers) if packed else numbers,
        }
        for index, numbers in enumerate(vector(text, model, width) for text in texts)
    ]
    return {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "system_fingerprint": "simulated",
    }


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
