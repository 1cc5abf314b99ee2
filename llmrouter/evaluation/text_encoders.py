"""Encoders for commands: whole files of texts at once, each text encoded once.

`eval` and `train` use the embedding spaces and clients of the service, but wait for answers, retry
transient failures, and keep all vectors until they are done. Do not use it inside a running event
loop: an `openai` encoder starts its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.embedding_space import EncoderSpec, encoder_spec
from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.local import load_local
from llmrouter.learning.encoders.text_encoder import Dense, DenseEncoder
from llmrouter.upstream.embeddings import OpenAIEmbeddings

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

BATCH = 128
BATCH_S = 120.0
WAITS_S = (1.0, 4.0)
"""Before a batch that failed for the moment is asked for again."""
USUAL_KEY = "OPENAI_API_KEY"


class UnknownEncoder(ValueError):
    """An encoder that is not there; says what there is."""


def known_encoder(name: str, key_env: str | None = None) -> Dense | None:
    """The encoder of that name (see `domain.embedding_space`); None for hashing alone, which a fit
    learns.

    `key_env` names the variable of an `openai` encoder's key; without it OPENAI_API_KEY is used
    where it is set. Raises `UnknownEncoder` where the name means nothing, or nobody answers.
    """
    try:
        spec = encoder_spec(name)
        if spec.kind == "hashing":
            return None
        embed = load_local(spec.model) if spec.kind == "local" else _asking(spec, key_env)
        once = _Once(embed)
        return DenseEncoder(str(spec), once(["width"]).shape[1], once)
    except EncoderFailed as failure:
        raise UnknownEncoder(f"{name!r} does not answer: {failure}") from failure
    except ValueError as error:
        raise UnknownEncoder(str(error)) from error


class _Once:
    """Asks for each text once."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            self._known.update(zip(batch, self._embed(batch), strict=True))
        return np.stack([self._known[text] for text in texts])


def _asking(spec: EncoderSpec, key_env: str | None) -> Embed:
    usual = USUAL_KEY if os.environ.get(USUAL_KEY) else None
    source = OpenAIEmbeddings(spec, key_env or usual)

    async def ask(texts: Sequence[str]) -> Vectors:
        try:
            async with asyncio.timeout(BATCH_S):
                return np.asarray(await source.embed(texts), np.float32)
        except TimeoutError:
            raise EncoderFailed("timeout", f"no answer within {BATCH_S:.0f} s") from None
        finally:
            await source.close()

    def embed(texts: Sequence[str]) -> Vectors:
        for wait_s in WAITS_S:
            try:
                return asyncio.run(ask(texts))
            except EncoderFailed as failure:
                if failure.kind not in ("http", "timeout"):
                    raise
                time.sleep(wait_s)
        return asyncio.run(ask(texts))

    return embed
