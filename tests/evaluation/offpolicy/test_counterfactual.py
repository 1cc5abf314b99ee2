"""Other policies, choosing anew on recorded requests and judged by what happened."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmrouter.domain.catalog import Catalog, Conditions, Rule
from llmrouter.domain.chat import ANONYMOUS, RouterOptions
from llmrouter.domain.decision import RoutingContext, StageResult
from llmrouter.domain.features import Traits
from llmrouter.domain.interfaces import LearnedPrediction
from llmrouter.domain.patterns import compile_pattern
from llmrouter.evaluation.offpolicy.counterfactual import Policies, choices, lines, names_of
from llmrouter.evaluation.offpolicy.logged import Record, Row
from llmrouter.evaluation.recorded import RecordedRequest
from tests.fakes import a_catalog, a_request, a_target
from tests.routing.asking import some_features

POLICIES = ("learned", "rules", "always-large")


def a_row(name: str = "d", target: str = "small", **over: Any) -> Row:
    """A decision that was open to exploring."""
    values: dict[str, Any] = {
        "task": "code",
        "fingerprint": name,
        "propensity": 0.9,
        "eligible": ("small", "large"),
        "reward": 1.0,
        "cost_usd": 0.001,
        **over,
    }
    return Row(name, target=target, **values)


def a_past(name: str = "d", text: str | None = "fix this", **options: Any) -> RecordedRequest:
    """The request behind it."""
    features = some_features(text or "", Traits(task="code", words=2))
    request = a_request(text or "", options=RouterOptions(decision_id=name, **options))
    return RecordedRequest(
        0.0, "llm", "small", "code", None, "f", request, features, ANONYMOUS, text
    )


class Proposes:
    """Preferences that want large from a quality of 0.5 on."""

    def __init__(self) -> None:
        self.asked: list[RoutingContext] = []

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """Small or large, untrusted."""
        self.asked.append(context)
        target = "large" if context.quality >= 0.5 else "small"
        return LearnedPrediction(target, 0.1, "code", (), trusted=False)

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> None:
        """Nothing is learned here."""
        raise AssertionError


def ruled(**conditions: Any) -> Catalog:
    """A catalog with one rule, for large."""
    return a_catalog(rules=(Rule("r", Conditions(**conditions), "large"),))


async def chosen(row: Row, past: RecordedRequest | None, **over: Any) -> dict[str, str | None]:
    """What each policy takes on one row."""
    values: dict[str, Any] = {"catalog": a_catalog(), "preferences": Proposes(), **over}
    known = {} if past is None else {past.name: past}
    record = Record((row,), 1, 0, 0)
    found = await choices(record, known, Policies(POLICIES, **values), lambda done, of: None)
    return {name: one for name, (one,) in found.items()}


async def test_each_policy_takes_its_own() -> None:
    """The learned model untrusted as it may be, rules or else the default, one target always."""
    assert await chosen(a_row(), a_past()) == {
        "learned": "large", "rules": "small", "always-large": "large",
    }  # fmt: skip


async def test_a_rule_that_matches_is_followed() -> None:
    """As the service follows it."""
    assert (await chosen(a_row(), a_past(), catalog=ruled(max_words=5)))["rules"] == "large"
    assert (await chosen(a_row(), a_past(), catalog=ruled(min_words=5)))["rules"] == "small"


async def test_without_the_text_what_reads_words_is_not_asked() -> None:
    """A pattern saw nothing, the learned model is not judged; sizes and traits still count."""
    pattern = ruled(matches=compile_pattern(""))
    told = a_past(text=None)
    assert (await chosen(a_row(), a_past(), catalog=pattern))["rules"] == "large"
    assert (await chosen(a_row(), told, catalog=pattern)) == {
        "learned": None, "rules": "small", "always-large": "large",
    }  # fmt: skip
    assert (await chosen(a_row(), told, catalog=ruled(max_words=5)))["rules"] == "large"


@pytest.mark.parametrize(
    ("asked", "given", "target"),
    [(None, None, "large"), (0.2, None, "small"), (0.2, 0.9, "large"), (0.9, 0.2, "small")],
)
async def test_the_trade_off_is_the_one_given_else_the_request_s_own(
    asked: float | None, given: float | None, target: str
) -> None:
    """Else the catalog's, 0.5 here."""
    found = await chosen(a_row(), a_past(quality=asked), quality=given)
    assert found["learned"] == target


async def test_only_those_eligible_then_and_known_now_are_taken() -> None:
    """Where it is out, a policy does what the default stage does; where nobody is left, nothing."""
    narrow = a_row(eligible=("small", "gone"))
    assert (await chosen(narrow, a_past()))["always-large"] == "small"
    gone = a_row(eligible=("gone", "lost"))
    assert set((await chosen(gone, a_past())).values()) == {None}


async def test_a_row_whose_request_cannot_be_read_is_not_judged() -> None:
    """Damaged, or of another build."""
    assert set((await chosen(a_row(), None)).values()) == {None}


async def test_without_a_model_learned_is_not_judged() -> None:
    """And the others are."""
    found = await chosen(a_row(), a_past(), preferences=None)
    assert (found["learned"], found["always-large"]) == (None, "large")


def test_policies_are_named() -> None:
    """`all` is every one there is, each once; another name is refused with the list."""
    catalog = a_catalog(a_target("small"), a_target("off", enabled=False))
    assert names_of(["rules", "all"], catalog) == ("rules", "learned", "always-small")
    with pytest.raises(ValueError, match="no policy 'always-off'; there are: all, learned"):
        names_of(["always-off"], catalog)


def a_log(rows: int, seed: int) -> list[Row]:
    """Small was served on 80%; large is right on 90% and costs ten times as much, small on 50%."""
    dice = random.Random(seed)
    out = []
    for number in range(rows):
        target, odds = ("small", 0.8) if dice.random() < 0.8 else ("large", 0.2)
        right = dice.random() < {"small": 0.5, "large": 0.9}[target]
        cost = {"small": 0.001, "large": 0.01}[target] * dice.uniform(0.5, 1.5)
        graded = float(right) if number % 2 else None
        out.append(a_row(f"d{number}", target, propensity=odds, reward=graded, cost_usd=cost))
    return out


def test_lines_tell_quality_and_cost_of_what_was_not_done() -> None:
    """Within their intervals; half the rows are graded, all of them cost something."""
    rows = tuple(a_log(2000, 1))
    record = Record(rows, 2000, 0, 0)
    logged, large = lines(record, {"always-large": ["large"] * 2000})
    assert (logged.policy, logged.rows, logged.graded) == ("logged", 2000, 1000)
    graded = [row.reward for row in rows if row.reward is not None]
    assert logged.quality.ips.value == pytest.approx(sum(graded) / len(graded))
    assert large.quality.dr is not None
    assert large.cost.dr is not None
    for found, truth in ((large.quality, 0.9), (large.cost, 0.01)):
        assert found.dr is not None
        for one in (found.dr, found.snips, found.ips):
            assert one.low < truth < one.high
    assert large.cost.dr.high - large.cost.dr.low < large.cost.ips.high - large.cost.ips.low


def test_a_policy_without_choices_is_judged_on_nothing() -> None:
    """It has no value rather than a value of zero."""
    rows = tuple(a_log(50, 1))
    _, learned = lines(Record(rows, 50, 0, 0), {"learned": [None] * 50})
    assert (learned.rows, learned.graded) == (0, 0)
    assert learned.quality.ips.value != learned.quality.ips.value  # NaN


def test_the_same_request_again_is_no_news() -> None:
    """Rows of one fingerprint are not independent: the interval stays as wide."""
    once = a_log(400, 2)
    again = tuple(row for row in once for _ in range(5))
    target = {"always-large": ["large"] * 400}
    (_, first) = lines(Record(tuple(once), 400, 0, 0), target)
    (_, repeated) = lines(Record(again, 2000, 0, 0), {"always-large": ["large"] * 2000})
    width = first.quality.ips.high - first.quality.ips.low
    assert repeated.quality.ips.high - repeated.quality.ips.low > 0.9 * width
