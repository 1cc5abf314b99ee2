"""Entries in room that nobody cleared: what is read is what was written."""

from __future__ import annotations

import numpy as np
import pytest

from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.model.knn_memory import MISSING, KnnMemory
from llmrouter.learning.model.neighbour_correction import NeighbourCorrection

CENTRES = np.eye(4, dtype=np.float32)


def littered(capacity: int, columns: int) -> KnnMemory:
    """An empty memory whose room holds what others left there."""
    memory = KnnMemory(CENTRES, columns, capacity, 8.0)
    for table in (
        memory.keys,
        memory.grades,
        memory.bases,
        memory.weights,
        memory.fitted,
        memory.home,
    ):
        table[:] = 77
    return memory


def fill(memory: KnnMemory, count: int) -> None:
    """Entries of which each grades one of two targets."""
    for number in range(count):
        grades = np.array([np.nan, np.nan], np.float32)
        grades[number % 2] = number % 3 / 2
        memory.add(key(number), grades, np.array([0.25, 0.75], np.float32), 0.5)


def key(number: int) -> Floats:
    """A unit vector near one of the centres."""
    vector = np.full(4, 0.01 * (number % 5), np.float32)
    vector[number % 4] = 1
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 20])
def test_room_is_as_good_as_new(count: int) -> None:
    """What is stored, found and known does not depend on what the room held before."""
    mine, other = littered(8, 3), KnnMemory(CENTRES, 3, 8, 8.0)
    fill(mine, count)
    fill(other, count)
    mine.widen(5)
    other.widen(5)
    for name, array in mine.arrays().items():
        assert np.array_equal(array, other.arrays()[name]), name
    for number in range(5):
        assert np.array_equal(mine.same(key(number), 0.0), other.same(key(number), 0.0))
        correction = NeighbourCorrection(flat=True)
        seen, wanted = (one.look(key(number), correction) for one in (mine, other))
        assert np.array_equal(seen.moves, wanted.moves)
        assert seen.nearest == wanted.nearest


def test_a_target_that_came_later_has_no_grades() -> None:
    """Entries of before say nothing of it, and new ones may."""
    memory = littered(8, 2)
    fill(memory, 3)
    memory.widen(3)
    stored = memory.arrays()
    assert (stored["grades"][:, 2] == MISSING).all()
    assert (stored["bases"][:, 2] == 0).all()
    grades = np.array([np.nan, np.nan, 1.0], np.float32)
    memory.add(key(0), grades, np.full(3, 0.5, np.float32), 1.0)
    assert memory.same(key(0), 1.0).tolist() == [-1.0, -1.0, 1.0]


def test_a_target_of_no_base_has_none() -> None:
    """Where an estimate knows fewer targets than the memory, the rest stays at nothing."""
    memory = littered(2, 3)
    fill(memory, 3)
    assert (memory.arrays()["bases"][:, 2] == 0).all()
    assert (memory.arrays()["grades"][:, 2] == MISSING).all()
