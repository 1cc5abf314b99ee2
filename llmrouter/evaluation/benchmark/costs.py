"""The cost of requests: as realised on the test rows, and as expected at decision time.

A policy decides by expected costs (prices, and costs recorded in the training rows) and is scored
by realised costs. The two are kept apart here. Where neither rows nor a price file give a price,
every request costs 1 unit (with two targets: 1 for the stronger and 0 for the other, so that cost
is the share of strong calls, as in RouteLLM), and the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from llmrouter.domain.target import Price
from llmrouter.errors import Problem
from llmrouter.evaluation.benchmark.dataset import BadInput, Row

Matrix = NDArray[np.float64]

CHARACTERS_PER_TOKEN = 4
FLAT_TOKENS = 1000
"""Tokens that a request counts for where a target has one flat price: the same for every request,
so that the saving is the saving in price."""
OUTPUT_TOKENS = 250
"""Tokens of an answer assumed where a target has an input and an output price and no record."""


@dataclass(frozen=True, slots=True)
class FlatPrice:
    """One price for a request, USD per 1M tokens."""

    usd: float


Prices = Mapping[str, Price | FlatPrice]


def read_prices(path: Path) -> dict[str, Price | FlatPrice]:
    """Reads `target: USD per 1M tokens`, a number or `{input, output}`. Raises `BadInput`."""
    try:
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise BadInput(Problem(str(path), 1, "no such file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Problem(str(path), 1, f"cannot be read: {error}")) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        detail = getattr(error, "problem", None) or "not YAML"
        raise BadInput(Problem(str(path), line, f"not valid YAML: {detail}")) from error
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise BadInput(Problem(str(path), 1, "expected lines of `target: USD per 1M tokens`"))
    prices: dict[str, Price | FlatPrice] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(Problem(str(path), key.start_mark.line + 1, "a target is a plain name"))
        name = str(key.value)
        if name in prices:
            raise BadInput(
                Problem(str(path), key.start_mark.line + 1, f"{name!r} has a price already")
            )
        prices[name] = _price(path, name, value)
    return prices


def _price(path: Path, name: str, node: yaml.Node) -> Price | FlatPrice:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return FlatPrice(_usd(path, line, name, node.value))
    if isinstance(node, yaml.MappingNode):
        parts = {str(key.value): value for key, value in node.value}
        if parts.keys() <= {"input", "output", "cached_input"} and {"input", "output"} <= set(
            parts
        ):
            usd = {
                key: _usd(path, value.start_mark.line + 1, name, value.value)
                for key, value in parts.items()
            }
            return Price(usd["input"], usd["output"], usd.get("cached_input"))
    message = f"the price of {name!r} is a number or {{input: …, output: …}}, USD per 1M tokens"
    raise BadInput(Problem(str(path), line, message))


def _usd(path: Path, line: int, name: str, text: object) -> float:
    try:
        usd = float(str(text))
    except ValueError:
        usd = math.nan
    if not 0 <= usd < math.inf:
        message = f"the price of {name!r} is {text!r}: expected USD per 1M tokens, 0 or more"
        raise BadInput(Problem(str(path), line, message))
    return usd


def priced(row: Row, price: Price | FlatPrice) -> float:
    """USD of one request by its price alone."""
    if isinstance(price, FlatPrice):
        return price.usd * FLAT_TOKENS / 1_000_000
    return price.cost(math.ceil(len(row.prompt) / CHARACTERS_PER_TOKEN), OUTPUT_TOKENS)


def recorded_costs(rows: Sequence[Row], targets: Sequence[str], prices: Prices) -> Matrix:
    """USD [n, T] as recorded in the rows, else as priced; NaN where neither is known."""
    usd = np.full((len(rows), len(targets)), np.nan)
    for number, row in enumerate(rows):
        for column, target in enumerate(targets):
            if target in row.costs:
                usd[number, column] = row.costs[target]
            elif target in prices:
                usd[number, column] = priced(row, prices[target])
    return usd


def mean_costs(
    train: Sequence[Row], test: Sequence[Row], targets: Sequence[str], prices: Prices
) -> Matrix:
    """Expected USD [n, T] of `test` rows: the mean recorded in training, else the price alone."""
    out = np.full((len(test), len(targets)), np.nan)
    for column, target in enumerate(targets):
        recorded = [row.costs[target] for row in train if target in row.costs]
        if recorded:
            out[:, column] = np.mean(recorded)
        elif target in prices:
            out[:, column] = [priced(row, prices[target]) for row in test]
    return out


@dataclass(frozen=True, slots=True)
class Costs:
    """`realised` [n, T] is what each choice cost, in `unit`; `source` is where it comes from.

    `unit` is `USD`, `requests` or `share of strong calls`; `source` one of `recorded`, `priced`,
    `recorded and priced`, `training means`, `counted`.
    """

    realised: Matrix
    unit: str
    source: str


def realise(
    rows: Sequence[Row], targets: Sequence[str], prices: Prices, expected: Matrix, strong: int
) -> Costs:
    """Costs of `rows` as recorded, else as priced, else as `expected`, else in default units.

    `expected` [n, T] in USD comes from training rows (NaN: unknown); `strong` is the index of the
    target that counts as the strong one of two.
    """
    usd = recorded_costs(rows, targets, prices)
    if not np.isnan(usd).all():
        recorded = sum(len(row.costs.keys() & set(targets)) for row in rows)
        source = "recorded" if recorded == usd.size else "recorded and priced"
        return Costs(fill(usd), "USD", source if recorded else "priced")
    if not np.isnan(expected).all():
        return Costs(fill(expected), "USD", "training means")
    units = counted(len(targets), strong)
    unit = "share of strong calls" if len(targets) == 2 else "requests"
    return Costs(np.tile(units, (len(rows), 1)), unit, "counted")


def counted(targets: int, strong: int) -> NDArray[np.float64]:
    """Default units [T]: 1 for every target; of two, 1 for the strong one and 0 for the other."""
    units = np.ones(targets)
    if targets == 2:
        units[1 - strong] = 0.0
    return units


def fill(usd: Matrix) -> Matrix:
    """Replaces missing costs: by the target's own mean, else by the row's dearest."""
    out = usd.copy()
    counts = (~np.isnan(out)).sum(axis=0)
    means = np.where(counts > 0, np.nansum(out, axis=0) / np.maximum(counts, 1), np.nan)
    out = np.where(np.isnan(out), means[None, :], out)
    dearest = np.nanmax(out, axis=1, keepdims=True)
    return np.where(np.isnan(out), dearest, out)
