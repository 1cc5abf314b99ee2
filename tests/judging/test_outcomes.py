"""Outcomes of judged targets: noted by requests, shared by workers."""

from __future__ import annotations

from llmrouter.domain.decision import Alternative, Decision
from llmrouter.errors import StoreFailed
from llmrouter.judging.outcomes import LOG_NAME, READ_EVERY, StoredOutcomes
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_decision


def judged(number: int = 0) -> Decision:
    """A decision between two judged targets."""
    return a_decision(
        decision_id=f"d-{number}",
        judge="chat/m",
        alternatives=(
            Alternative("small", 0.5, 0.7, 0.9, None),
            Alternative("large", 0.4, 0.8, 0.95, 0.6),
            Alternative("unknown", 0.1, 0.5),
        ),
    )


async def test_what_came_of_answers_changes_what_probabilities_are_worth() -> None:
    """After a round; the version tells that earlier choices may be out of date."""
    outcomes = StoredOutcomes(MemoryStore())
    for number in range(30):
        outcomes.observe(judged(number), {"small": 0.0})
    assert outcomes.version == 0
    await outcomes.work()
    assert outcomes.version == 1
    assert outcomes.calibration.probability("chat/m", "small", 0.9) < 0.5


async def test_each_caller_s_word_on_a_target_of_a_decision_counts_once() -> None:
    """However often it is said; targets of which nothing was said are left out."""
    outcomes = StoredOutcomes(MemoryStore())
    for _ in range(5):
        outcomes.observe(judged(), {"small": 0.0, "unknown": 1.0}, caller="loud")
    await outcomes.work()
    assert outcomes.public()["outcomes"] == 1


async def test_another_worker_takes_over_what_is_stored() -> None:
    """And what can no longer be read is passed over."""
    store = MemoryStore()
    first, second = StoredOutcomes(store), StoredOutcomes(store)
    await store.append(LOG_NAME, [b"not json", b'[["short"]]', b"3"], 100)
    first.observe(judged(), {"large": 1.0})
    await first.work()
    for _ in range(READ_EVERY):
        await second.work()
    assert second.public()["judges"]["chat/m"]["large"]["outcomes"] == 1
    assert second.version == 1


class Broken(MemoryStore):
    """A store that cannot be used."""

    async def append(self, log: str, entries: object, keep: int, *, durable: bool = False) -> None:
        """Fails."""
        raise StoreFailed("down")

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """Fails."""
        raise StoreFailed("down")


async def test_a_store_that_is_down_costs_nothing_but_sharing() -> None:
    """This process learns all the same."""
    outcomes = StoredOutcomes(Broken())
    outcomes.observe(judged(), {"small": 1.0})
    for _ in range(READ_EVERY):
        await outcomes.work()
    assert outcomes.public()["outcomes"] == 1
