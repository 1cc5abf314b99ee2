"""One key's part of what is learned is bounded, whatever it sends and however much."""

from __future__ import annotations

import pytest

from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.online.example_buffer import (
    CAPS,
    ENOUGH,
    LIKE,
    ExampleBuffer,
    cap_per_caller,
)
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample

FOUND = measured("Add 3 to 4.")


def a_lesson(
    key: str, kind: ExampleKind = ExampleKind.LABEL, task: str = "math", number: int = 1
) -> TrainingExample:
    """One of a key."""
    return TrainingExample(kind, task, key, FOUND, {"small": 1.0}, 0.7, author=key, number=number)


def told(held: ExampleBuffer, key: str, kind: ExampleKind, count: int, task: str = "math") -> int:
    """How many of `count` lessons are admitted."""
    admitted = 0
    for _ in range(count):
        if held.admits(task, key, kind):
            held.add(a_lesson(key, kind, task))
            admitted += 1
    return admitted


@pytest.mark.parametrize(
    ("kind", "alone", "among"),
    [
        (ExampleKind.WORD, CAPS[ExampleKind.WORD].least, 22),
        (ExampleKind.OUTCOME, 5000, 22),
        (ExampleKind.LABEL, 5000, 200),
    ],
)
def test_what_a_key_may_say_alone_and_among_others(
    kind: ExampleKind, alone: int, among: int
) -> None:
    """A word is bounded always; what its requests bring about where there are others."""
    assert told(ExampleBuffer(10_000), "loud", kind, 5000) == alone
    held = ExampleBuffer(10_000)
    for number in range(200):
        held.add(a_lesson(f"k{number % 5}"))
    assert told(held, "loud", kind, 5000) == among


def test_a_few_lessons_of_others_bound_nobody_s_requests() -> None:
    """A second key that just came does not silence the first."""
    held = ExampleBuffer(10_000)
    told(held, "first", ExampleKind.LABEL, 3000)
    told(held, "second", ExampleKind.LABEL, ENOUGH - 1)
    assert told(held, "first", ExampleKind.LABEL, 10) == 10


def test_other_tasks_give_no_voice() -> None:
    """However much is held for them."""
    held = ExampleBuffer(10_000)
    told(held, "other", ExampleKind.LABEL, 900, task="writing")
    assert told(held, "loud", ExampleKind.WORD, 50) == CAPS[ExampleKind.WORD].least


def test_a_flood_pushes_nobody_out() -> None:
    """A key that has its part is not admitted, so it cannot turn the others' lessons out."""
    held = ExampleBuffer(400)
    for number in range(200):
        held.add(a_lesson(f"k{number % 5}"))
    told(held, "flood", ExampleKind.LABEL, 5000)
    told(held, "flood", ExampleKind.OUTCOME, 5000)
    told(held, "flood", ExampleKind.WORD, 5000)
    others = [one for one in held.after({}) if one.key != "flood"]
    assert len(others) >= 150


def test_what_leaves_is_not_counted() -> None:
    """The oldest leave, and make room in their key's part."""
    held = ExampleBuffer(100)
    assert told(held, "loud", ExampleKind.WORD, 10) == 3
    for number in range(100):
        held.add(a_lesson(f"k{number % 5}"))
    assert len(held) == 100
    assert told(held, "loud", ExampleKind.WORD, 50) == 10


def test_several_workers_together_let_in_no_more_than_one() -> None:
    """Each admitted its part; the fit takes the newest of it."""
    held = ExampleBuffer(10_000)
    for number in range(100):
        held.add(a_lesson(f"k{number % 5}"))
    for worker in range(4):
        for number in range(11):
            held.add(a_lesson("loud", ExampleKind.WORD, number=100 * worker + number))
    taken = [TrainingExample.from_bytes(one.packed()) for one in cap_per_caller(held.all())]
    loud = [one.number for one in taken if one.key == "loud"]
    assert loud == list(range(300, 311))
    assert len(taken) == 111


def test_what_came_after_is_told_by_author() -> None:
    """Each process numbers its own."""
    held = ExampleBuffer(10)
    for author, number in (("a", 1), ("a", 2), ("b", 1)):
        held.add(a_lesson(author, number=number))
    assert [(one.author, one.number) for one in held.after({"a": 1})] == [("a", 2), ("b", 1)]


def test_what_is_held_comes_back_whole() -> None:
    """Every lesson is as it was, whatever it was squeezed against, and takes a third at most."""
    held, lessons = ExampleBuffer(2 * LIKE), []
    for number in range(3 * LIKE):
        found = measured(f"Question {number}: what is {number} times {number % 7}?")
        lessons.append(
            TrainingExample(
                ExampleKind.LABEL, "math", "k", found, {"small": 0.5}, 0.7, number=number
            )
        )
        held.add(lessons[-1])
    kept = held.after({"": -1})
    packed = [one.to_bytes() for one in lessons[LIKE:]]
    assert [one.packed() for one in kept] == packed
    assert sum(len(one.squeezed) for one in kept) < sum(map(len, packed)) / 3
