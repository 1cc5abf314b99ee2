"""Rules: every condition, the first match, and traits measured only where a rule asks."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.domain.catalog import Cascade, Conditions, Rule
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.features import Traits
from llmrouter.domain.patterns import compile_pattern
from llmrouter.routing.stages.rules import MATCHED_CHARACTERS, Rules, StartCascade, matches
from tests.fakes import a_catalog
from tests.routing.asking import a_question, some_features

CODE = Traits(task="code", language="de", words=40, code=True)


def asked(*rules: Rule, **over: Any) -> RoutingContext:
    """A question about German code in 40 words, second turn, with tools."""
    features = some_features("fix `f(x)` please", CODE, turns=2, tools=True)
    catalog = a_catalog(rules=rules, cascade=Cascade(order=("small", "large")))
    return a_question(**{"features": features, "catalog": catalog, **over})


@pytest.mark.parametrize(
    ("holds", "fails"),
    [
        ({"task": frozenset({"code", "math"})}, {"task": frozenset({"math"})}),
        ({"min_words": 40}, {"min_words": 41}),
        ({"max_words": 40}, {"max_words": 39}),
        ({"min_words": 0}, {"max_words": 0}),
        ({"code": True}, {"code": False}),
        ({"language": frozenset({"de"})}, {"language": frozenset({"en"})}),
        ({"tools": True}, {"tools": False}),
        ({"min_turns": 2}, {"min_turns": 3}),
        ({"max_turns": 2}, {"max_turns": 1}),
        ({"matches": compile_pattern(r"f\(x\)")}, {"matches": compile_pattern(r"g\(x\)")}),
    ],
)
def test_each_condition(holds: dict[str, Any], fails: dict[str, Any]) -> None:
    """It holds at its bound and fails past it; beside one that fails it does not help."""
    context = asked()
    assert matches(Conditions(**holds), context)
    assert not matches(Conditions(**fails), context)
    if holds.keys() != fails.keys():
        return
    other = {"min_turns": 9} if "min_turns" not in holds else {"max_words": 0}
    assert not matches(Conditions(**{**holds, **other}), context)


def test_the_tier_is_the_key_s_else_the_request_s() -> None:
    """A request cannot talk a rule into another plan than its key's."""
    pro = Conditions(tier=frozenset({"pro"}))
    assert matches(pro, asked(options={"tier": "pro"}))
    assert matches(pro, asked(caller=Caller("k", tier="pro")))
    assert not matches(pro, asked(options={"tier": "pro"}, caller=Caller("k", tier="free")))
    assert not matches(pro, asked())


def test_no_condition_matches_everything() -> None:
    """An empty `when` is a catch-all."""
    assert matches(Conditions(), asked())


def test_a_regex_reads_a_bounded_part() -> None:
    """What stands beyond cannot be made to cost time."""
    wanted = Conditions(matches=compile_pattern("needle"))
    inside = "x" * (MATCHED_CHARACTERS - 6) + "needle"
    assert matches(wanted, asked(features=some_features(inside)))
    assert not matches(wanted, asked(features=some_features("x" + inside)))


@pytest.mark.parametrize(
    ("when", "measured"),
    [
        ({"min_turns": 9, "task": frozenset({"code"})}, False),
        ({"matches": compile_pattern("absent"), "min_words": 1}, False),
        ({"tools": False, "matches": compile_pattern("fix"), "code": True}, False),
        ({"min_turns": 1, "matches": compile_pattern("fix")}, False),
        ({"min_turns": 1, "task": frozenset({"math"})}, True),
        ({"max_words": 0}, True),
    ],
)
def test_traits_are_measured_last_and_only_when_asked_for(
    when: dict[str, Any], measured: bool
) -> None:
    """Cheap conditions decide first, so most requests never pay for the dear ones."""
    readings: list[int] = []

    def read() -> Traits:
        readings.append(1)
        return CODE

    features = some_features("fix it", turns=2, tools=True, read_traits=read)
    matches(Conditions(**when), asked(features=features))
    assert bool(readings) is measured


async def test_the_first_match_wins_and_says_which() -> None:
    """Order in the file is order of precedence."""
    context = asked(
        Rule("no", Conditions(tools=False), route="small"),
        Rule("long", Conditions(min_words=10), route="large"),
        Rule("all", Conditions(), route="small"),
    )
    verdict = await Rules().decide(context)
    assert verdict is not None
    assert (verdict.target, verdict.source, verdict.confidence) == ("large", Source.RULES, 1.0)
    assert verdict.reason == "rule 'long' matched"
    assert verdict.cascade is False


async def test_the_task_is_claimed_only_by_a_rule_that_looked_at_it() -> None:
    """A rule on words knows nothing about tasks."""
    looked = await Rules().decide(asked(Rule("r", Conditions(task=frozenset({"code"})), "large")))
    blind = await Rules().decide(asked(Rule("r", Conditions(), "large")))
    assert looked is not None
    assert blind is not None
    assert (looked.task, blind.task) == ("code", None)


async def test_no_rule_no_verdict() -> None:
    """Without rules, and where none applies, the next stage is asked."""
    assert await Rules().decide(asked()) is None
    assert await Rules().decide(asked(Rule("r", Conditions(tools=False), "large"))) is None


async def test_a_rule_starts_a_cascade_at_its_first_eligible_target() -> None:
    """And says so; where none of its order is eligible it abstains."""
    rule = Rule("careful", Conditions(), strategy="cascade")
    verdict = await Rules().decide(asked(rule))
    assert verdict is not None
    assert (verdict.target, verdict.cascade) == ("small", True)
    assert verdict.reason == "rule 'careful' matched, starting a cascade"
    second = await Rules().decide(asked(rule, eligible=("large",)))
    assert second is not None
    assert second.target == "large"
    assert await Rules().decide(asked(rule, eligible=("other",))) is None


async def test_strategy_cascade_starts_at_the_bottom() -> None:
    """The cheapest acceptable that may serve, or nobody."""
    verdict = await StartCascade().decide(asked())
    assert verdict is not None
    assert (verdict.target, verdict.cascade, verdict.source) == ("small", True, Source.RULES)
    assert await StartCascade().decide(asked(eligible=("other",))) is None
