"""The embeddings client, and what encodes with it, against a llama.cpp server.

Its model has random weights: its vectors mean little, and equal texts have equal ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.learning.encoders.remote import FetchedEncoder
from llmrouter.upstream.embeddings import OpenAIEmbeddings
from tests.llama import MODEL_NAME, available, llama_server

pytestmark = pytest.mark.skipif(not available(), reason="xllamacpp is not installed")

TEXTS = (
    "What is 2+2?",
    "Prove it.",
    "",
    "Füge é, ü und 漢字 ein 🙂",
    "What is 2+2?",
    "word " * 300,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that embeds."""
    with llama_server(embedding=True) as running:
        yield running


async def test_any_text_has_a_vector_of_one_length(server: str) -> None:
    """Empty, in other scripts, long; the same for the same text, another for another."""
    client = OpenAIEmbeddings(EncoderSpec("openai", MODEL_NAME, server))
    try:
        together = np.asarray(await client.embed(TEXTS))
        alone = np.asarray([(await client.embed([text]))[0] for text in TEXTS])
    finally:
        await client.close()
    assert together.shape == alone.shape == (len(TEXTS), 64)
    assert np.isfinite(together).all()
    assert alone[0] == pytest.approx(alone[4], abs=1e-4)
    assert not np.allclose(alone[0], alone[1], atol=0.01)


async def test_it_encodes_for_the_model(server: str) -> None:
    """Through the very class that the service uses."""
    spec = EncoderSpec("openai", MODEL_NAME, server)
    encoder = FetchedEncoder(str(spec), OpenAIEmbeddings(spec), lambda: 60.0)
    await encoder.prepare("What is 2+2?")
    vector = encoder.vector("What is 2+2?")
    assert vector is not None
    assert vector.shape == (64,)
    await encoder.close()
