"""Vectors are fetched ahead and read without waiting; what fails makes nobody wait twice."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmrouter.domain.catalog import Learned
from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.remote import Encoders, FetchedEncoder, attached
from llmrouter.learning.encoders.text_encoder import HashingEncoder, Vectors
from llmrouter.learning.model.quality_model import Example, QualityModel
from llmrouter.learning.model.training import FitSettings, fit
from llmrouter.util.circuit_breaker import Breaker
from tests.fakes import ScriptedEmbeddings

SPACE = "openai:m@http://h.example/v1"


def encoder(source: ScriptedEmbeddings, limit_s: float = 5.0, **over: Any) -> FetchedEncoder:
    """An encoder on a scripted source."""
    return FetchedEncoder(SPACE, source, lambda: limit_s, **over)


async def test_a_text_is_fetched_once_and_then_at_hand() -> None:
    """Before it is, reading it is a LookupError."""
    source = ScriptedEmbeddings(width=3)
    ready = encoder(source)
    with pytest.raises(LookupError):
        ready.vectors(["What is 2+2?"])
    assert ready.vector("What is 2+2?") is None
    await ready.prepare("What is 2+2?")
    await ready.prepare("What is 2+2?")
    assert source.asked == [["What is 2+2?"]]
    found = ready.vector("What is 2+2?")
    assert found is not None
    assert found.tolist() == pytest.approx(source.vector("What is 2+2?"), abs=1e-6)
    assert ready.width == 3
    assert np.array_equal(ready.vectors(["What is 2+2?"] * 2), [found, found])


async def test_too_slow_is_a_failure_and_failures_open_the_circuit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After some in a row nobody is asked; one warning says so, without the text."""
    source = ScriptedEmbeddings(wait_s=60.0)
    slow = encoder(source, 0.01, breaker=Breaker(threshold=3, cooldown_s=600.0))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(EncoderFailed, match="timeout"):
                await slow.prepare("a secret")
        with pytest.raises(EncoderFailed, match="circuit_open"):
            await slow.prepare("a secret")
    assert len(source.asked) == 3
    assert len(caplog.records) == 1
    assert SPACE in caplog.text
    assert "a secret" not in caplog.text


async def test_a_rate_limit_is_a_wait_and_no_failure() -> None:
    """The server is left alone for as long as it asked, and its circuit stays closed."""
    source, breaker = ScriptedEmbeddings(), Breaker(threshold=1)
    limited = encoder(source, breaker=breaker)
    source.failure = EncoderFailed("rate_limited", "429", retry_after_s=600.0)
    with pytest.raises(EncoderFailed, match="rate_limited: 429"):
        await limited.prepare("text")
    with pytest.raises(EncoderFailed, match="rate_limited: next try in 600 s"):
        await limited.prepare("text")
    assert len(source.asked) == 1
    assert breaker.state == "closed"


async def test_a_callers_haste_opens_no_circuit() -> None:
    """Less time than the encoder's own says nothing about it."""
    breaker = Breaker(threshold=1)
    hasty = encoder(ScriptedEmbeddings(wait_s=60.0), 0.1, breaker=breaker)
    with pytest.raises(EncoderFailed, match="timeout"):
        await hasty.prepare("text", within_s=0.09)
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "rows", [[], [[1.0], [2.0]], [[float("nan")]], [[float("inf")]], [["x"]], [[]], [1.0], None]
)
async def test_what_is_no_vector_is_malformed(rows: Any) -> None:
    """None at all, too many, not finite, not numbers."""
    with pytest.raises(EncoderFailed, match="malformed"):
        await encoder(ScriptedEmbeddings(rows=rows)).prepare("text")


async def test_another_length_under_the_same_name_is_refused() -> None:
    """A server that was given another model would silently mix two spaces."""
    source = ScriptedEmbeddings(width=2)
    ready = encoder(source)
    await ready.prepare("one")
    source.width = 3
    with pytest.raises(EncoderFailed, match="another model"):
        await ready.prepare("two")
    assert ready.vectors(["one"]).shape == (1, 2)


def model(vectors: Any = None) -> QualityModel:
    """A small model, on hashing or on ready vectors."""
    examples = [Example(f"text {n}", {"a": n % 2, "b": 1.0}) for n in range(30)]
    return fit(examples, FitSettings(folds=2, trees=5), encoder=vectors).model


async def test_a_model_is_attached_to_its_own_space_alone() -> None:
    """By name and length; hashing is nobody's."""
    source = ScriptedEmbeddings(width=4)
    rows = np.array([source.vector(f"text {n}") for n in range(30)], np.float32)
    vectors = Vectors(SPACE, rows)
    stored = QualityModel.from_bytes(model(vectors).to_bytes())
    assert not attached(stored, None)
    other = FetchedEncoder("local:m", source, lambda: 1.0)
    assert not attached(stored, other)
    narrow = encoder(ScriptedEmbeddings(width=2))
    await narrow.prepare("text 1")
    assert not attached(stored, narrow)
    fresh = encoder(source)
    assert attached(stored, fresh)
    assert fresh.width == 4
    with pytest.raises(LookupError):
        stored.estimate("text 1", ["a", "b"])
    await fresh.prepare("text 1")
    assert stored.estimate("text 1", ["a", "b"]).quality.shape == (2,)
    hashed = model()
    assert isinstance(hashed.encoder, HashingEncoder)
    assert attached(hashed, None)
    assert not attached(hashed, fresh)


async def test_the_configured_encoder_is_made_once_and_followed() -> None:
    """An edit of routing.yaml names another; the first is still known when it comes back."""
    made: list[tuple[EncoderSpec, str | None]] = []
    sources: list[ScriptedEmbeddings] = []

    def make(spec: EncoderSpec, key_env: str | None) -> ScriptedEmbeddings:
        made.append((spec, key_env))
        sources.append(ScriptedEmbeddings())
        return sources[-1]

    settings = [Learned()]
    encoders = Encoders(lambda: settings[0], make)
    assert (encoders.current(), encoders.space) == (None, "")
    settings[0] = Learned(encoder=SPACE, api_key_env="KEY", timeout_ms=50)
    first = encoders.current()
    assert first is not None
    assert first.name == encoders.space == SPACE
    settings[0] = replace(settings[0], timeout_ms=70)
    assert encoders.current() is first
    settings[0] = replace(settings[0], encoder_url="http://127.0.0.1:1/v1")
    moved = encoders.current()
    assert moved is not None
    assert (moved is first, moved.name) == (False, SPACE)
    assert made == [
        (EncoderSpec("openai", "m", "http://h.example/v1"), "KEY"),
        (EncoderSpec("openai", "m", "http://127.0.0.1:1/v1"), "KEY"),
    ]
    await encoders.close()
    assert [source.closed for source in sources] == [True, True]


async def test_it_is_asked_once_before_it_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    """A slow first answer, a model that is loaded, harms no request; what is wrong is told."""
    source = ScriptedEmbeddings(width=3, wait_s=0.05)
    encoders = Encoders(lambda: Learned(encoder=SPACE, timeout_ms=1), lambda *_: source)
    await encoders.warm()
    assert len(source.asked) == 1
    source.failure = EncoderFailed("misconfigured", "no such model")
    with caplog.at_level(logging.WARNING):
        await encoders.warm()
    assert "misconfigured: no such model" in caplog.text
    await Encoders().warm()


async def test_nobody_is_asked_for_hashing() -> None:
    """It is always at hand, in the model itself."""
    encoders = Encoders()
    await encoders.prepare("text", 1.0)
    assert encoders.vector("text") is None
    assert encoders.attach(model())


async def test_a_caller_in_a_hurry_does_not_open_the_circuit() -> None:
    """Its haste is no failure of the encoder."""
    source = ScriptedEmbeddings(wait_s=60.0)
    ready = encoder(source, breaker=Breaker(threshold=1))
    with pytest.raises(EncoderFailed, match="timeout"):
        await ready.prepare("text", 0.01)
    source.wait_s = 0.0
    await ready.prepare("text", 5.0)


async def test_a_cancelled_request_is_no_failure_of_the_encoder() -> None:
    """Whoever leaves says nothing about the server."""
    ready = encoder(ScriptedEmbeddings(wait_s=60.0), breaker=Breaker(threshold=1))
    waiting = asyncio.ensure_future(ready.prepare("text"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    ready._source = ScriptedEmbeddings()
    await ready.prepare("text")
