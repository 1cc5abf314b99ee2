"""A replay weighs targets as the service does."""

from __future__ import annotations

from collections.abc import Sequence

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.interfaces import QualityEstimate
from llmrouter.evaluation.catalog_diff.replay import CatalogReplay, RecordedFeatures
from llmrouter.evaluation.recorded import newest, pasts
from llmrouter.routing.utility import ExpectedUSD, expected_usd
from tests.evaluation.catalog_diff.test_impact import BASE, CHAT, Proposes
from tests.evaluation.journaled import journaled


class Indifferent(Proposes):
    """Expects as much of each target."""

    def prospects(self, context: RoutingContext) -> Sequence[QualityEstimate]:
        """The same quality and doubt everywhere."""
        return tuple(QualityEstimate(name, 0.8, 0.1) for name in context.eligible)


async def _best(costs: ExpectedUSD) -> str:
    store = await journaled([CHAT], record=True, source=Source.LLM)
    recorded = pasts(await newest(store, 9), 9, lambda body: parse(body, Endpoint.COMPLETE))
    replay = CatalogReplay(BASE, RecordedFeatures(recorded), Indifferent("small"), costs)
    (past,) = recorded
    decision = (await replay.rule(past)).decision
    assert decision is not None
    return max(decision.alternatives, key=lambda one: one.score).target


async def test_what_this_request_is_expected_to_cost_is_charged() -> None:
    """Small is cheaper by its price, and dearer where its answers are expected to be long."""
    assert await _best(expected_usd) == "small"
    assert await _best(lambda _: (0.5, 0.001)) == "large"
