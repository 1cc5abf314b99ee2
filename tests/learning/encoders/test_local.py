"""A local model runs in its own thread, is loaded once, and its absence names the extra."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.encoders.local import LocalEmbeddings, load_local


async def test_it_is_loaded_once_and_runs_beside_the_event_loop() -> None:
    """Loading and embedding happen in one thread that is not this one."""
    loaded: list[str] = []
    threads: set[int] = set()

    def load(model: str) -> object:
        loaded.append(model)
        threads.add(threading.get_ident())

        def embed(texts: Sequence[str]) -> Floats:
            threads.add(threading.get_ident())
            return np.full((len(texts), 2), len(texts), np.float32)

        return embed

    local = LocalEmbeddings("tiny", load)  # type: ignore[arg-type]
    assert np.asarray(await local.embed(["a", "b"])).tolist() == [[2, 2], [2, 2]]
    assert np.asarray(await local.embed(["c"])).tolist() == [[1, 1]]
    await local.close()
    assert loaded == ["tiny"]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_what_a_model_raises_is_a_failure_with_a_kind() -> None:
    """Whatever it is; the next call tries to load it again."""

    def load(model: str) -> object:
        raise OSError(f"no folder {model}")

    local = LocalEmbeddings("/nowhere", load)  # type: ignore[arg-type]
    with pytest.raises(EncoderFailed, match="misconfigured: /nowhere: no folder"):
        await local.embed(["a"])
    await local.close()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the index knows it, a package a backend."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EncoderFailed, match="pip install sentence-transformers"):
        load_local("all-MiniLM-L6-v2")
    with pytest.raises(EncoderFailed, match="pip install wordllama"):
        load_local("wordllama")


@pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None and not os.environ.get("CI"),
    reason="the static extra is not installed",
)
async def test_the_static_model_knows_what_is_alike() -> None:
    """With no network: near in meaning is near in its space, and the empty text is fine."""
    local = LocalEmbeddings("wordllama")
    rows = np.asarray(
        await local.embed(["write a python function", "implement code in python", "a poem", ""])
    )
    await local.close()
    assert rows.shape == (4, 256)
    assert np.isfinite(rows).all()
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1
