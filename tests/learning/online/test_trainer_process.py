"""The fitting process: packed lessons go in, with vectors or without, and a model comes out."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.encoders.remote import FetchedEncoder, attached
from llmrouter.learning.encoders.text_encoder import JointEncoder
from llmrouter.learning.model.fit_settings import OF_TRAFFIC
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.model.training import fit
from llmrouter.learning.online.trainer_process import FitFailed, fitted_on, refit, unframed
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from tests.fakes import ScriptedEmbeddings


def lesson(text: str, vector: list[float] | None = None) -> TrainingExample:
    """Sums are for small; large does for all."""
    grades = {"small": float("add" in text), "large": 1.0}
    rows = None if vector is None else np.array(vector, np.float32)
    space = "" if vector is None else "local:m"
    return TrainingExample(
        ExampleKind.LABEL, "math", "k", measured(text), grades, 0.7, space=space, vector=rows
    )


TEXTS = [f"{('add up', 'a poem on')[n % 2]} {n} and {n * 7}" for n in range(90)]


async def test_a_model_comes_packed_and_ready() -> None:
    """The same model twice: one to keep, one to serve with."""
    packed, model = await refit([lesson(text).to_bytes() for text in TEXTS])
    again = QualityModel.from_bytes(packed)
    for each in (model, again):
        found = each.estimate("add up 17 and 4", ["small", "large"])
        assert found.quality[0] > each.estimate("a poem on 17", ["small"]).quality[0] + 0.2
    assert len(model.memory) == 90


def test_traffic_gets_the_short_fit() -> None:
    """Repeats in other words stand in several folds, where a long fit would look the better."""
    kinds = ("add up", "a poem on", "a proof of", "a list of")
    lessons = [lesson(f"{kinds[n % 4]} {n} and {n * 7}") for n in range(400)]
    examples = [one.example() for one in lessons]
    packed = fitted_on(lessons).to_bytes()
    assert packed == fit(examples, OF_TRAFFIC).model.to_bytes()
    assert packed != fit(examples).model.to_bytes()


async def test_vectors_are_fitted_in_another_process() -> None:
    """The model reads their space alone; a lesson without a vector is left out."""
    source = ScriptedEmbeddings(width=12)
    lessons = [lesson(text, source.vector(text)).to_bytes() for text in TEXTS]
    _, model = await refit([*lessons, lesson("add no vector").to_bytes()], "local:m")
    assert isinstance(model.encoder, JointEncoder)
    assert (model.encoder.name, model.encoder.dense.width, len(model.memory)) == ("local:m", 12, 90)
    with pytest.raises(LookupError):
        model.encode("add up 1 and 2")
    encoder = FetchedEncoder("local:m", source, lambda: 5.0)
    assert attached(model, encoder)
    found = []
    for text in ("add up 17 and 4", "a poem on 17 and 4"):
        await encoder.prepare(text)
        found.append(float(model.estimate(text, ["small", "large"]).quality[0]))
    assert found[0] > found[1] + 0.2


async def test_a_fit_that_fails_says_why() -> None:
    """What is no lesson is an error of the fitting process, with its last words."""
    with pytest.raises(FitFailed, match="ExampleUnreadable"):
        await refit([b"no lesson"] * 3)


def test_frames_come_out_as_they_went_in() -> None:
    """Whatever the bytes."""
    data = b"".join(len(one).to_bytes(4, "big") + one for one in (b"", b"abc", b"\x00" * 300))
    assert list(unframed(data)) == [b"", b"abc", b"\x00" * 300]
