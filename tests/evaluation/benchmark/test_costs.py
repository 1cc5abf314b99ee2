"""Prices and recorded costs: what is realised, what is expected, and the default units."""

from pathlib import Path

import numpy as np
import pytest

from llmrouter.domain.target import Price
from llmrouter.evaluation.benchmark.costs import (
    FlatPrice,
    fill,
    mean_costs,
    priced,
    read_prices,
    realise,
)
from llmrouter.evaluation.benchmark.dataset import BadInput, Row

NOTHING = np.full((1, 2), np.nan)


def _prices(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text, "utf-8")
    return path


def test_prices_are_a_number_or_input_and_output(tmp_path: Path) -> None:
    """Both forms may stand in one file."""
    found = read_prices(_prices(tmp_path, "a: 0.9\nb: {input: 1, output: 4}\n"))
    assert found == {"a": FlatPrice(0.9), "b": Price(1.0, 4.0)}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: dear\n", 2, "expected USD per 1M tokens"),
        ("a: 1\nb: -2\n", 2, "expected USD per 1M tokens"),
        ("a: 1\n\nb: {input: 1}\n", 3, "is a number or {input"),
        ("a: 1\nb: [1, 2]\n", 2, "is a number or {input"),
        ("a: 1\na: 2\n", 2, "has a price already"),
        ("- a\n", 1, "expected lines of"),
        ("a: 1\nb: {x\n", 3, "not valid YAML"),
        ("", 1, "expected lines of"),
    ],
)
def test_a_bad_price_is_named_by_file_and_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    """The message starts with the place and says what is wrong."""
    path = _prices(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        read_prices(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)


def test_a_flat_price_counts_every_request_the_same() -> None:
    """So that the saving is the saving in price; a pair of prices reads the prompt's length."""
    short, long = Row("a", "hi"), Row("b", "x" * 4000)
    assert priced(short, FlatPrice(0.9)) == priced(long, FlatPrice(0.9)) == pytest.approx(0.0009)
    assert priced(long, Price(1.0, 4.0)) == pytest.approx((1000 * 1 + 250 * 4) / 1e6)


def test_recorded_costs_win_over_prices_and_prices_over_training() -> None:
    """What really was paid is what counts."""
    row = Row("a", "p", costs={"m": 0.5})
    found = realise([row], ("m", "n"), {"m": FlatPrice(9), "n": FlatPrice(2000)}, NOTHING, 0)
    assert found.realised.tolist() == [[0.5, 2.0]]
    assert (found.unit, found.source) == ("USD", "recorded and priced")
    found = realise([Row("a", "p")], ("m", "n"), {}, np.array([[0.1, 0.2]]), 0)
    assert found.realised.tolist() == [[0.1, 0.2]]
    assert found.source == "training means"


def test_without_any_figure_two_targets_count_strong_calls_and_more_count_requests() -> None:
    """The documented defaults."""
    pair = realise([Row("a", "p")], ("m", "n"), {}, NOTHING, 1)
    assert pair.realised.tolist() == [[0.0, 1.0]]
    assert pair.unit == "share of strong calls"
    three = realise([Row("a", "p")], ("m", "n", "o"), {}, np.full((1, 3), np.nan), 1)
    assert three.realised.tolist() == [[1.0, 1.0, 1.0]]
    assert three.unit == "requests"


def test_missing_costs_are_filled_by_the_targets_mean_then_by_the_dearest() -> None:
    """A target without any figure is never the cheap one."""
    usd = np.array([[1.0, np.nan, np.nan], [3.0, 8.0, np.nan]])
    assert fill(usd).tolist() == [[1.0, 8.0, 8.0], [3.0, 8.0, 8.0]]


def test_expected_costs_come_from_training_alone() -> None:
    """The test row's own cost is not looked at."""
    train = [Row("a", "p", costs={"m": 1.0}), Row("b", "q", costs={"m": 3.0})]
    test = [Row("c", "r", costs={"m": 99.0})]
    found = mean_costs(train, test, ("m", "n"), {"n": FlatPrice(1000)})
    assert found.tolist() == [[2.0, 1.0]]
