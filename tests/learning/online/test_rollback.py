"""The way back to the model before."""

from __future__ import annotations

import pytest

from llmrouter.errors import NotFound
from llmrouter.learning.online.rollback import roll_back
from llmrouter.learning.online.snapshot import Snapshot, current, publish
from llmrouter.store.memory import MemoryStore
from tests.learning.teaching import NEVER_FITS, Bench, context, running, until

SUM = "Add 17 to 5."


async def test_the_earlier_model_serves_again_and_is_not_fitted_over_at_once() -> None:
    """With its own trust; what the newer one had learned from counts as known to it."""
    store, bench = MemoryStore(), Bench(options=NEVER_FITS)
    bench.teach(80)
    bench.fit()
    model = bench.learner.state.predictor.model
    assert model is not None
    with pytest.raises(NotFound, match="no earlier model"):
        await roll_back(store)
    comparison: list[object] = ["math", [0.9, 0.1, 0.1, 0.0, 0.0, 0.5], True, False]
    await publish(store, Snapshot(model, 100, [comparison], 1.0, {"a": 100}).to_bytes())
    await publish(store, Snapshot(model, 900, [], 1.0, {"a": 900}).to_bytes())
    assert await roll_back(store, lambda: 50.0) == {"learned": 100, "instead_of": 900}
    packed = await current(store)
    assert packed is not None
    restored = Snapshot.from_bytes(packed)
    assert (restored.learned, restored.seen, restored.trained_at) == (900, {"a": 900}, 50.0)
    assert restored.comparisons[0][0] == "math"
    assert await roll_back(store, lambda: 60.0) == {"learned": 900, "instead_of": 900}


async def test_a_running_worker_takes_it_over() -> None:
    """As any newer snapshot."""
    store, bench = MemoryStore(), Bench(options=NEVER_FITS)
    bench.teach(80)
    bench.fit()
    model = bench.learner.state.predictor.model
    assert model is not None
    for learned in (100, 900):
        await publish(store, Snapshot(model, learned).to_bytes())
    worker = Bench(store, options=NEVER_FITS)
    async with running(worker.learner):
        await until(lambda: worker.learner.propose(context(SUM, "math")))
        before = worker.learner.state.trained_at
        await roll_back(store)
        await until(lambda: worker.learner.state.trained_at > before)
    assert worker.learner.due() is False
