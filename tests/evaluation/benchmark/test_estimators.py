"""Encoders beyond the default: an embeddings endpoint over a socket, and what is absent."""

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.benchmark.estimators import (
    FitInputs,
    learner,
    learners,
    mean_quality,
    predict,
)
from llmrouter.evaluation.text_encoders import UnknownEncoder
from tests.evaluation.embedding_server import serving


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A running embeddings server's base URL."""
    with serving() as url:
        yield url


def test_an_embeddings_endpoint_is_learned_from(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors come back in the texts' order, and what they tell is used."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    made = learner(f"openai:tiny@{endpoint}")
    assert made.encoder is not None
    assert made.encoder.width == 8
    train = [
        Row(str(n), f"{'cat' if n % 2 else 'dog'} {n}", "", {"m": float(n % 2), "n": 0.5})
        for n in range(300)
    ]
    test = [Row("a", "a cat sat"), Row("b", "a dog sat")]
    found = predict(made, train, test, ("m", "n"), FitInputs({}, 0, lambda _name, _share: None))
    assert found.quality[0, 0] > 0.7
    assert found.quality[1, 0] < 0.3
    assert np.isnan(found.expected).all()


def test_an_endpoint_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fitted."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with pytest.raises(UnknownEncoder, match="does not answer"):
        learner("openai:tiny@http://127.0.0.1:1/v1")


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None,
    reason="sentence-transformers is installed",
)
def test_the_local_encoder_names_the_extra_it_needs() -> None:
    """One line to install."""
    with pytest.raises(UnknownEncoder, match="pip install sentence-transformers"):
        learner("local:some-model")


@pytest.mark.parametrize("kind", ["neighbours", "linear"])
def test_the_baselines_learn_words_and_survive_having_none(kind: str) -> None:
    """Words that decide are used; without a shared word the mean is the answer."""
    train = [
        Row(str(n), "good answer" if n % 2 else "bad answer", "", {"m": float(n % 2)})
        for n in range(100)
    ]
    test = [Row("a", "good answer"), Row("b", "bad answer")]

    def quality(rows: list[Row], asked: list[Row]) -> list[float]:
        made = learner(kind)
        found = predict(made, rows, asked, ("m",), FitInputs({}, 0, lambda _name, _share: None))
        return [float(one) for one in found.quality[:, 0]]

    good, bad = quality(train, test)
    assert good > 0.9
    assert bad < 0.1
    strange = [Row(str(n), f"word{n}", "", {"m": 0.25}) for n in range(5)]
    assert quality(strange, test) == [0.25, 0.25]


def test_a_target_never_graded_gets_the_mean_of_the_others() -> None:
    """And one half where nothing is known at all."""
    rows = [Row("a", "p", "", {"m": 1.0, "n": 0.5}), Row("b", "q", "", {"m": 0.0})]
    assert mean_quality(rows, ("m", "n", "o")).tolist() == [0.5, 0.5, 0.5]
    assert mean_quality([], ("m",)).tolist() == [0.5]


def test_names_leave_out_addresses_where_that_is_enough(endpoint: str) -> None:
    """Two servers of one model keep theirs; what is named twice is fitted once."""
    one = f"openai:tiny@{endpoint}"
    other = one.replace("127.0.0.1", "localhost")
    names = [made.name for made in learners(["hashing", one, "hashing", "linear"])]
    assert names == ["learned (hashing)", "learned (openai:tiny)", "linear"]
    assert [made.name for made in learners([one, other])] == [
        f"learned ({one})", f"learned ({other})",
    ]  # fmt: skip
