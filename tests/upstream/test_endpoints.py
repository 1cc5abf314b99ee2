"""The order in which a target's endpoints are tried."""

from __future__ import annotations

import random
from collections import Counter

from llmrouter.domain.target import Endpoint
from llmrouter.upstream.endpoints import REST_S, EndpointChooser

ONE = Endpoint("http://one.example/v1", weight=3.0)
TWO = Endpoint("http://two.example/v1", weight=1.0)


def test_every_endpoint_is_in_the_order_once() -> None:
    """A draw leaves none out and repeats none."""
    order = EndpointChooser().order((ONE, TWO))
    assert sorted(order, key=lambda e: e.base_url) == [ONE, TWO]


def test_the_first_place_is_drawn_by_weight() -> None:
    """An endpoint of three times the weight comes first three times as often."""
    chooser = EndpointChooser(chance=random.Random(1).random)
    first = Counter(chooser.order((ONE, TWO))[0] for _ in range(4000))
    assert 0.72 < first[ONE] / 4000 < 0.78


def test_an_endpoint_that_failed_comes_last_until_it_has_rested() -> None:
    """Weight counts again after the rest."""
    now = [100.0]
    chooser = EndpointChooser(clock=lambda: now[0], chance=lambda: 0.5)
    chooser.failed(ONE)
    assert chooser.order((ONE, TWO)) == [TWO, ONE]
    now[0] += REST_S + 0.1
    assert chooser.order((ONE, TWO)) == [ONE, TWO]
