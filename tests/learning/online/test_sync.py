"""Several processes on one store: who reads what, who fits, and what a newer snapshot does."""

from __future__ import annotations

from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.online.sync import FIRST_LOOK, LOG_NAME, StoreSync
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from llmrouter.store.memory import MemoryStore

FOUND = measured("Add 3 to 4.")


def noted(keeper: StoreSync, count: int) -> None:
    """Lessons of this process, not yet written."""
    for number in range(count):
        keeper.note(
            TrainingExample(ExampleKind.LABEL, f"task-{number}", "k", FOUND, {"small": 1.0})
        )


async def wrote(keeper: StoreSync, count: int) -> None:
    """Lessons of this process, in the store."""
    noted(keeper, count)
    await keeper.write()


def two(keep: int = 1000) -> tuple[MemoryStore, StoreSync, StoreSync]:
    """Two processes on one store."""
    store = MemoryStore()
    return store, StoreSync(store, b"s", keep), StoreSync(store, b"s", keep)


async def test_each_reads_the_other_s_lessons_once() -> None:
    """In order, and never its own."""
    _, one, other = two()
    await wrote(one, 3)
    read = await other.read()
    assert [(lesson.author, lesson.number) for lesson in read] == [
        (one.author, 1), (one.author, 2), (one.author, 3),
    ]  # fmt: skip
    assert await other.read() == []
    assert await one.read() == []
    await wrote(other, 1)
    assert [lesson.author for lesson in await one.read()] == [other.author]


async def test_what_two_wrote_at_once_is_found_before_a_fit() -> None:
    """The mark of the later one hides the earlier one's; a whole look does not go by marks."""
    _, one, other = two()
    await one.read()
    await wrote(other, 1)
    await wrote(one, 1)
    assert [lesson.author for lesson in await one.read(whole=True)] == [other.author]


async def test_more_than_a_look_holds_is_read_in_full() -> None:
    """A gap in an author's numbers says that there is more."""
    _, one, other = two()
    await wrote(one, 1)
    assert len(await other.read()) == 1
    await wrote(one, 3 * FIRST_LOOK)
    assert len(await other.read()) == 3 * FIRST_LOOK


async def test_a_new_process_reads_what_there_is() -> None:
    """A restart has another name, so its own earlier lessons are among them."""
    store, one, _ = two()
    await wrote(one, 200)
    assert len(await StoreSync(store, b"s", 1000).read()) == 200


async def test_the_log_is_bounded_and_veiled() -> None:
    """The newest stay; without the secret the terms are not the text's."""
    store, one, _ = two(keep=10)
    await wrote(one, 30)
    kept = await store.tail(LOG_NAME, 1000)
    assert len(kept) == 10
    assert [lesson.number for lesson in await StoreSync(store, b"s", 10).read()] == list(
        range(21, 31)
    )
    found = TrainingExample.from_bytes(kept[0]).measured
    assert found is not None
    assert found.signals.terms.tolist() != FOUND.signals.terms.tolist()


async def test_what_is_no_lesson_is_passed_over() -> None:
    """Another build may have written it."""
    store, one, other = two()
    await store.append(LOG_NAME, [b"from another build"], 1000)
    await wrote(one, 1)
    assert len(await other.read()) == 1


async def test_one_fits_at_a_time() -> None:
    """Until it is done."""
    _, one, other = two()
    assert await one.may_fit()
    assert not await other.may_fit()
    await one.fitted()
    assert await other.may_fit()
