"""Vectors from a model on this machine, computed in a thread of its own.

`local:wordllama` is a table of word vectors that ships inside its package (16 MB, no network);
every other name is a sentence-transformers model or folder. Both are optional extras, imported and
loaded on first use in that thread, so the event loop never waits for them. Only one text is encoded
at a time: a second thread would take processor time from serving.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.hashed_features import Floats

WORDLLAMA: Final = "wordllama"
Embed = Callable[[Sequence[str]], Floats]


class LocalEmbeddings:
    """Implements `Embeddings` for one local model."""

    def __init__(self, model: str, load: Callable[[str], Embed] | None = None) -> None:
        self._model = model
        self._load = load or load_local
        self._embed: Embed | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector a text, in order. Raises EncoderFailed."""
        loop = asyncio.get_running_loop()
        rows: Any = await loop.run_in_executor(self._thread, self._run, list(texts))
        return rows  # type: ignore[no-any-return]  # an array is a sequence of sequences

    async def close(self) -> None:
        """Let the thread end when it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _run(self, texts: list[str]) -> Floats:
        try:
            if self._embed is None:
                self._embed = self._load(self._model)
            return self._embed(texts)
        except EncoderFailed:
            raise
        except Exception as error:  # what a model raises is its own affair
            raise EncoderFailed("misconfigured", f"{self._model}: {error}"[:300]) from error


def load_local(model: str) -> Embed:
    """The function that embeds texts with a local model. Raises EncoderFailed."""
    package, index_name = (WORDLLAMA, "wordllama") if model == WORDLLAMA else _TRANSFORMERS
    if importlib.util.find_spec(package) is None:
        raise EncoderFailed(
            "misconfigured", f"local:{model} needs a package: pip install {index_name}"
        )
    return _wordllama() if model == WORDLLAMA else _transformers(model)


_TRANSFORMERS = ("sentence_transformers", "sentence-transformers")


def _wordllama() -> Embed:
    import wordllama

    folder = Path(wordllama.__file__).parent  # where its wheel puts weights and tokenizer
    loaded = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(texts: Sequence[str]) -> Floats:
        rows = np.asarray(loaded.embed([text or "." for text in texts]), np.float32)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))

    return embed


def _transformers(model: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(model)
    return lambda texts: np.asarray(loaded.encode(list(texts)), np.float32)
