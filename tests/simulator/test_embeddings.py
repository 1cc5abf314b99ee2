"""Simulated embeddings through OpenAI's own client, and through hostile bodies."""

from __future__ import annotations

import math
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from llmrouter.simulator.embeddings import WIDTH, embeddings, vector


def cosine(one: list[float], other: list[float]) -> float:
    """Of two unit vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_openai_s_client_gets_them_in_order(openai: AsyncOpenAI) -> None:
    """It asks for base64 by itself; floats are the same numbers."""
    texts = ["write a poem", "write a poem about rain", "solve for x"]
    packed = await openai.embeddings.create(model="m", input=texts)
    plain = await openai.embeddings.create(model="m", input=texts, encoding_format="float")
    for index, (one, other) in enumerate(zip(packed.data, plain.data, strict=True)):
        assert one.index == index
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert len(one.embedding) == WIDTH
    rows = [row.embedding for row in plain.data]
    assert cosine(rows[0], rows[1]) > cosine(rows[0], rows[2]) + 0.3
    short = await openai.embeddings.create(model="m", input="one", dimensions=16)
    assert len(short.data[0].embedding) == 16


async def test_they_say_that_they_are_simulated(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """In a header and in the body; errors too."""
    answered = await sim.post("/v1/embeddings", json={"model": "m", "input": "text"})
    assert answered.headers["x-simulated"] == "true"
    assert (await answered.json())["system_fingerprint"] == "simulated"
    refused = await sim.post(
        "/v1/embeddings", json={"model": "m", "input": "t"}, headers={"x-sim-status": "429"}
    )
    assert refused.status == 429
    assert "simulated" in (await refused.json())["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"model": "m"}, {"input": "x"}, {"model": "m", "input": []},
        {"model": "m", "input": [[1, 2]]}, {"model": "m", "input": [""]},
        {"model": "m", "input": "x", "dimensions": 10**9}, {"model": "m", "input": {"a": 1}},
    ],
)  # fmt: skip
async def test_what_is_no_request_is_a_400(sim: TestClient, body: Any) -> None:  # type: ignore[type-arg]  # see conftest
    """With a message."""
    answered = await sim.post("/v1/embeddings", json=body)
    assert answered.status == 400
    assert "simulated" in (await answered.json())["error"]["message"]


@given(st.text(min_size=1, max_size=200), st.sampled_from(["a", "b" * 100]))
def test_any_text_has_one_unit_vector(text: str, model: str) -> None:
    """The same each time, another for another model."""
    found = vector(text, model)
    assert math.isclose(cosine(found, found), 1.0, abs_tol=1e-6)
    assert embeddings({"model": model, "input": text})["data"][0]["embedding"] == found
    assert vector(text, "other") != found
