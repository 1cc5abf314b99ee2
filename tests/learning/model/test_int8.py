"""Products with one-byte rows."""

import numpy as np
import pytest

from llmrouter.learning.model.int8 import combined, products

DICE = np.random.default_rng(3)
TABLE = DICE.integers(-127, 128, (500, 64), dtype=np.int8)


@pytest.mark.parametrize("count", [0, 1, 191, 192, 193, 700])
def test_pieces_give_what_one_product_gives(count: int) -> None:
    """Whatever falls on a piece's edge is counted once."""
    rows = DICE.integers(0, len(TABLE), count)
    weights = DICE.random(count, dtype=np.float32)
    key = DICE.normal(size=64).astype(np.float32)
    plain = TABLE[rows].astype(np.float32)
    assert combined(weights, TABLE, rows) == pytest.approx(weights @ plain, rel=1e-4, abs=1e-2)
    assert products(TABLE, rows, key) == pytest.approx(plain @ key, rel=1e-4, abs=1e-2)


def test_a_row_wider_than_a_piece_is_one() -> None:
    """A table of any width will do."""
    wide = np.ones((3, 20_000), np.int8)
    rows = np.array([2, 0])
    assert products(wide, rows, np.ones(20_000, np.float32)).tolist() == [20_000, 20_000]
    assert combined(np.ones(2, np.float32), wide, rows)[0] == 2
