"""What the router expects of targets, and which of them none beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from llmrouter.domain.catalog import Catalog, Prompts
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Alternative, Decision, Estimate
from llmrouter.domain.target import Price
from llmrouter.errors import StoreFailed
from llmrouter.observation.frontier import Belief, Frontier, beliefs, frontier
from tests.api.fakes import a_target
from tests.fakes import a_decision

CATALOG = Catalog(
    {"small": a_target("small", price=Price(1.0, 1.0)), "large": a_target(price=Price(10.0, 10.0))},
    "small",
    Prompts(""),
)


def judged(task: str, **probabilities: float) -> Decision:
    """A decision about 1000 tokens in and as many out."""
    alternatives = tuple(Alternative(name, 0.0, p) for name, p in probabilities.items())
    estimate = Estimate(1000, 1000, 0.002, 10.0)
    return a_decision(task=task, alternatives=alternatives, estimate=estimate)


def test_beliefs_are_means_of_what_decisions_expected_at_the_prices_of_now() -> None:
    """A target that is gone and one without a probability say nothing."""
    both = [judged("code", small=0.4, large=0.9, gone=1.0), judged("code", small=0.6, large=0.7)]
    found = beliefs([(one, None) for one in both], CATALOG)["code"]
    assert found["small"].public() == {
        "decisions": 2,
        "probability": pytest.approx(0.5),
        "usd": pytest.approx(0.002),
    }
    assert found["large"].public()["usd"] == pytest.approx(0.02)
    assert found.keys() == {"small", "large"}


def test_what_answers_did_cost_scales_what_they_are_expected_to() -> None:
    """Half of the estimate was paid, so every target of the task is expected at half."""
    found = beliefs([(judged("code", small=0.4, large=0.9), 0.001)], CATALOG)["code"]
    assert found["small"].usd == pytest.approx(0.001)
    assert found["large"].usd == pytest.approx(0.01)


def test_a_target_that_a_cheaper_one_equals_is_not_on_the_frontier() -> None:
    """Cheapest first, each better than all before."""
    by_target = {
        "dear": Belief(2, 1.8, 0.8),
        "cheap": Belief(1, 0.5, 0.1),
        "useless": Belief(1, 0.4, 0.2),
        "equal": Belief(1, 0.5, 0.15),
    }
    assert frontier(by_target) == ["cheap", "dear"]


class Pages:
    """Decision pages with scripted newest decisions."""

    def __init__(self, found: Sequence[tuple[Decision, float | None]] | None) -> None:
        self.found = found

    async def newest(self, last: int, caller: Caller) -> Sequence[tuple[Decision, float | None]]:
        """Them, or a store that is down."""
        if self.found is None:
            raise StoreFailed("down")
        return self.found


class Current:
    """A catalog source."""

    current = CATALOG


async def shown(found: Sequence[tuple[Decision, float | None]] | None) -> Mapping[str, Any]:
    """What the frontier shows of decisions."""
    pages: Any = Pages(found)
    return await Frontier(pages, Current()).show(Caller("admin", admin=True))


async def test_the_answer_is_by_task_and_empty_without_a_store() -> None:
    """Targets with their frontier."""
    answer = await shown([(judged("code", small=0.4, large=0.9), None)])
    assert answer["decisions"] == 1
    assert answer["tasks"]["code"]["frontier"] == ["small", "large"]
    assert await shown(None) == {"decisions": 0, "tasks": {}}
