"""The fitting process: vectors that were fetched beforehand go in beside the examples."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders import Vectors
from llmrouter.learning.fetched import FetchedEncoder, attached
from llmrouter.learning.model import Example
from llmrouter.learning.refit import refit
from tests.fakes import ScriptedEmbeddings


async def test_vectors_are_fitted_in_another_process() -> None:
    """The model reads their space alone."""
    texts = [f"{('add up', 'a poem on')[n % 2]} {n} and {n * 7}" for n in range(90)]
    examples = [
        Example(text, {"small": 1.0 - n % 2, "large": 1.0}, 0.7, "math")
        for n, text in enumerate(texts)
    ]
    source = ScriptedEmbeddings(width=12)
    rows = np.array([source.vector(text) for text in texts], np.float32)
    model = await refit(examples, Vectors("local:m", rows))
    assert (model.encoder.name, model.encoder.width, len(model.memory)) == ("local:m", 12, 90)
    with pytest.raises(LookupError):
        model.encode("add up 1 and 2")
    encoder = FetchedEncoder("local:m", source, lambda: 5.0)
    assert attached(model, encoder)
    found = []
    for text in ("add up 17 and 4", "a poem on 17 and 4"):
        await encoder.prepare(text)
        found.append(float(model.estimate(text, ["small", "large"]).quality[0]))
    assert found[0] > found[1] + 0.2
