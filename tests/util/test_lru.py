"""The memory of what was worked out a moment ago."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmrouter.util.lru import ENTRY_BYTES, SEEN, Recent


def test_a_kept_value_is_found_and_replaced() -> None:
    """The newest value under a key wins, and weighs once."""
    recent: Recent[str, int] = Recent()
    recent.keep("a", 1, 10)
    once = recent.weight
    recent.keep("a", 2, 10)
    assert (recent.get("a"), recent.get("b"), len(recent)) == (2, None, 1)
    assert recent.weight == once


def test_the_oldest_make_room() -> None:
    """What came first goes first, and no more of it than must."""
    recent: Recent[int, str] = Recent(ENTRY_BYTES * 16)
    for number in range(20):
        recent.keep(number, str(number), 0)
    assert len(recent) == 16
    assert [recent.get(n) for n in (3, 4, 19)] == [None, "4", "19"]


def test_one_huge_entry_does_not_empty_it() -> None:
    """An entry over a sixteenth of the whole is not kept."""
    recent: Recent[str, str] = Recent(ENTRY_BYTES * 100)
    recent.keep("small", "x", 1)
    recent.keep("huge", "y", ENTRY_BYTES * 50)
    assert (recent.get("small"), recent.get("huge")) == ("x", None)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5000)), max_size=200))
def test_the_weight_stays_within_its_bound(entries: list[tuple[int, int]]) -> None:
    """Whatever comes in whatever order, the weight is right and bounded."""
    recent: Recent[int, int] = Recent(100_000)
    sizes: dict[int, int] = {}
    for key, size in entries:
        recent.keep(key, size, size)
        sizes[key] = size
        assert recent.weight <= 100_000
    kept = [value for key in range(10) if (value := recent.get(key)) is not None]
    assert recent.weight == sum(2 * size + ENTRY_BYTES for size in kept)
    assert len(recent) == len(kept)


def test_what_came_before_is_known_for_a_while() -> None:
    """The first time is told from the second; what is long past counts as new."""
    recent: Recent[str, int] = Recent()
    assert [recent.came_before("a"), recent.came_before("a")] == [False, True]
    for number in range(SEEN):
        assert not recent.came_before(f"other {number}")
    assert recent.came_before("a")
    for number in range(2 * SEEN):
        recent.came_before(f"more {number}")
    assert not recent.came_before("a")
