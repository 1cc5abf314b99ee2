"""Encoders beyond the default: an embeddings endpoint over a socket, and what is absent."""

import hashlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from llmrouter.evaluation.dataset import Row
from llmrouter.evaluation.learners import UnknownEncoder, learner, mean_quality, predict


class _Embeddings(BaseHTTPRequestHandler):
    """Answers /v1/embeddings: eight numbers that say whether the text is about cats."""

    def do_POST(self) -> None:
        """One vector a text, in reverse order, as servers may."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = [
            {"object": "embedding", "index": n, "embedding": _vector(text)}
            for n, text in enumerate(asked["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = {"object": "list", "model": asked["model"], "data": data[::-1], "usage": usage}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Quiet."""


def _vector(text: str) -> list[float]:
    noise = hashlib.sha256(text.encode()).digest()
    return [3.0 if "cat" in text else -3.0, *(byte / 255 for byte in noise[:7])]


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A running embeddings server's base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embeddings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


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
    found = predict(
        made, train, test, ("m", "n"), prices={}, seed=0, progress=lambda _name, _share: None
    )
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
    with pytest.raises(UnknownEncoder, match=r"llmrouter\[local\]"):
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
        found = predict(
            made, rows, asked, ("m",), prices={}, seed=0, progress=lambda _name, _share: None
        )
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
