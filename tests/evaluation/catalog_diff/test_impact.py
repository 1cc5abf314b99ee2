"""What an edit changes, for requests that were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.catalog import Cascade, Catalog, Conditions, Prompts, RouterLLM, Rule
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.interfaces import LearnedPrediction, Preferences, QualityEstimate
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import Price
from llmrouter.evaluation.catalog_diff.impact import Edit, Impact, Replay, assess
from llmrouter.evaluation.recorded import newest, pasts
from tests.evaluation.journaled import journaled
from tests.fakes import a_catalog, a_target

SUMS = Rule("sums", Conditions(task=frozenset({"math"})), route="large")
HELLO = Rule("hello", Conditions(matches=compile_pattern("(?i)hello")), route="large")
BASE = a_catalog(router=RouterLLM("tiny", "http://a/v1"))
MATH, CHAT = {"prompt": "What is 12 * 13 + 7?"}, {"prompt": "Hello there, how are you?"}


def without(name: str) -> Catalog:
    """BASE with a target taken out."""
    return replace(BASE, targets={i: t for i, t in BASE.targets.items() if i != name}, version="x")


def with_small(**over: Any) -> Catalog:
    """BASE with its small target edited."""
    targets = {**BASE.targets, "small": a_target("small", **over)}
    return replace(BASE, targets=targets, version="x")


class Proposes:
    """Learned preferences that always propose the same, and must not be taught."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.asked: list[str] = []

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """A trusted proposal, with every audit due."""
        self.asked.append(context.features.text)
        return LearnedPrediction(self.target, 0.9, "chat", (), trusted=True, audit=1.0)

    def prospects(self, context: RoutingContext) -> Sequence[QualityEstimate]:
        """Nothing is expected of any target."""
        return ()

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> None:
        """Fails."""
        raise AssertionError("a replay teaches nobody")


async def impact(
    after: Catalog,
    *bodies: dict[str, Any],
    before: Catalog = BASE,
    record: bool = True,
    preferences: Preferences | None = None,
    limit_s: float = inf,
    **decided: Any,
) -> Impact:
    """The report on bodies that were decided for `small` by the router LLM."""
    values = {"source": Source.LLM, **decided}
    store = await journaled(bodies or [MATH, CHAT], record=record, **values)
    found = pasts(await newest(store, 99), 99, lambda body: parse(body, Endpoint.COMPLETE))
    how = Replay(preferences, limit_s)
    return await assess(Edit(before, after), found, how)


def moved(found: Impact) -> list[tuple[str, str, int]]:
    """From, to, how many."""
    return [(move.before, move.after, move.requests) for move in found.moves]


async def test_an_edit_that_changes_nothing_moves_nobody() -> None:
    """The recorded decision stands on both sides."""
    found = await impact(BASE)
    assert (found.changes, found.moved, found.notes) == (
        (), 0, ("no learned model is stored: what was decided then stands in for it",),
    )  # fmt: skip
    assert found.decided == {"before": {"recorded": 2}, "after": {"recorded": 2}}
    assert found.before_usd == found.after_usd > 0


async def test_a_new_rule_moves_what_it_matches() -> None:
    """And only that; the report says whence, whither, by task, at what cost, and shows one."""
    found = await impact(replace(BASE, rules=(SUMS,)))
    assert [str(change) for change in found.changes] == ["rule sums added"]
    assert moved(found) == [("small", "large", 1)]
    assert found.decided["after"] == {"recorded": 1, "rules": 1}
    math, chat = found.tasks
    assert (math.task, math.requests, math.moved) == ("math", 1, 1)
    assert (chat.moved, chat.before_usd) == (0, chat.after_usd)
    assert math.after_usd == pytest.approx(10 * math.before_usd)
    (case,) = found.examples
    assert (case.decision_id, case.text) == ("d-0", MATH["prompt"])
    assert case.reason == "rule 'sums' matched"


async def test_a_price_changes_the_cost_and_no_target() -> None:
    """Estimates are by each catalog's own prices."""
    found = await impact(with_small(price=Price(2.0, 4.0)))
    assert found.moved == 0
    assert found.after_usd == pytest.approx(2 * found.before_usd)


async def test_a_target_taken_out_sends_its_requests_to_the_default_and_says_so() -> None:
    """Nobody knows what the router LLM would say; the count of such requests is in the notes."""
    found = await impact(without("large"), before=replace(BASE, default="small"), target="large")
    assert moved(found) == [("large", "small", 2)]
    assert found.decided["after"] == {"default": 2}
    (shift,) = found.eligibility
    assert (shift.target, shift.change, shift.requests) == ("large", "lost", 2)
    assert any(note.startswith("2 no longer have what decided them") for note in found.notes)


async def test_a_new_target_is_newly_eligible() -> None:
    """With the number of requests it could serve."""
    new = replace(BASE, targets={**BASE.targets, "new": a_target("new", context_window=600)})
    found = await impact(new, MATH, {"prompt": "long " * 600})
    (shift,) = found.eligibility
    assert (shift.target, shift.change, shift.requests, shift.reason) == (
        "new", "gained", 1, "it is new",
    )  # fmt: skip


async def test_a_lost_capability_makes_ineligible_with_the_reason() -> None:
    """Only for the requests that need it."""
    able = frozenset({"tools"})
    before = replace(with_small(capabilities=able), version="y")
    found = await impact(BASE, {**MATH, "tools": [{}]}, CHAT, before=before)
    (shift,) = found.eligibility
    assert (shift.target, shift.requests, shift.reason) == ("small", 1, "lacks tools")
    (refusal,) = found.refusals
    assert (refusal.status, refusal.requests) == (422, 1)
    assert refusal.message == "no eligible target: small: lacks tools; large: lacks tools"
    assert [case.after for case in found.examples] == [None]
    back = await impact(before, {**MATH, "tools": [{}]}, CHAT, before=BASE)
    assert (back.refusals, back.served_again) == ((), 1)


async def test_a_pinned_request_is_refused_when_its_target_goes() -> None:
    """As the service would: 404."""
    pinned = {"model": "large", "messages": [{"role": "user", "content": "hi"}]}
    found = await impact(without("large"), pinned, target="large")
    assert [(one.status, one.requests) for one in found.refusals] == [(404, 1)]
    assert found.decided["before"] == {"pinned": 1}
    assert found.eligibility == ()


async def test_the_default_is_followed_where_it_decided() -> None:
    """What fell to the old default falls to the new one."""
    found = await impact(replace(BASE, default="large"), source=Source.DEFAULT)
    assert moved(found) == [("small", "large", 2)]


async def test_a_removed_rule_no_longer_decides() -> None:
    """What it decided is open again: counted at the default, and said."""
    before = replace(BASE, rules=(SUMS,), default="small")
    found = await impact(BASE, MATH, before=before, source=Source.RULES, target="large")
    assert moved(found) == [("large", "small", 1)]
    assert any("no longer have what" in note for note in found.notes)


@pytest.mark.parametrize("record", [True, False])
async def test_a_pattern_is_tried_on_recorded_text_alone(record: bool) -> None:
    """Without text it matches nothing, not even what matches everything."""
    anything = Rule("any", Conditions(matches=compile_pattern("")), route="large")
    found = await impact(replace(BASE, rules=(anything,)), CHAT, record=record)
    assert moved(found) == ([("small", "large", 1)] if record else [])
    assert found.told == int(record)
    assert any("recorded without their text" in note for note in found.notes) != record


async def test_what_a_pattern_may_have_decided_stands_without_text() -> None:
    """A rule that cannot be tried is not taken for gone, until it is."""
    before = replace(BASE, rules=(HELLO,))
    decided = {"record": False, "source": Source.RULES, "target": "large"}
    kept = await impact(replace(before, quality=0.9), CHAT, before=before, **decided)
    assert kept.moved == 0
    code = Rule("code", Conditions(code=True), route="large")  # it was tried, and did not match
    gone = await impact(replace(BASE, rules=(code,)), CHAT, before=before, **decided)
    assert moved(gone) == [("large", "small", 1)]


async def test_the_learned_model_decides_before_the_record_and_learns_nothing() -> None:
    """Where it is trusted, on recorded text; it is not audited either."""
    learned = Proposes("large")
    after = replace(BASE, learned=replace(BASE.learned, enabled=False))
    found = await impact(after, CHAT, preferences=learned)
    assert found.decided == {"before": {"learned": 1}, "after": {"recorded": 1}}
    assert moved(found) == [("large", "small", 1)]
    assert learned.asked == [CHAT["prompt"]]
    untold = Proposes("large")
    await impact(BASE, CHAT, preferences=untold, record=False)
    assert untold.asked == []


@pytest.mark.parametrize(
    ("strategy", "by"),
    [("rules", "rules"), ("cascade", "rules"), ("llm", "recorded"), ("learned", "learned")],
)
async def test_a_strategy_is_kept(strategy: str, by: str) -> None:
    """A request that asked for one stage is decided by that stage."""
    catalog = replace(BASE, rules=(SUMS,), cascade=Cascade(("large",)))
    body = {**MATH, "router": {"strategy": strategy}}
    found = await impact(catalog, body, before=catalog, preferences=Proposes("large"))
    assert found.decided["after"] == {by: 1}


async def test_an_edit_of_what_the_router_llm_reads_is_noted() -> None:
    """The recorded choice may not be repeated; a change that it does not read needs no note."""
    read = await impact(replace(BASE, prompts=Prompts("Choose well."), prompt_version="p"))
    assert any("may choose otherwise" in note for note in read.notes)
    unread = await impact(replace(BASE, quality=0.9))
    assert not any("may choose otherwise" in note for note in unread.notes)


async def test_time_bounds_a_replay_and_it_says_how_far_it_came() -> None:
    """The newest requests count; none, when there is no time at all."""
    found = await impact(BASE, limit_s=0.0)
    assert (found.recorded, found.replayed) == (2, 0)
    assert found.notes[0] == "stopped after 0 s: only the newest 0 of 2"


async def test_examples_are_few_and_of_every_kind() -> None:
    """Three alike at most, newest first, their text cut."""
    bodies: Sequence[dict[str, Any]] = [
        {"prompt": f"What is {n} * 3? " + "x" * 300} for n in "12345"
    ]
    found = await impact(replace(BASE, rules=(SUMS,)), *bodies)
    assert [case.decision_id for case in found.examples] == ["d-4", "d-3", "d-2"]
    assert all(len(case.text or "") == 120 for case in found.examples)
    untold = await impact(replace(BASE, rules=(SUMS,)), *bodies, record=False)
    assert [case.text for case in untold.examples] == [None] * 3


async def test_the_report_is_json() -> None:
    """With the changes as values and as lines."""
    found = await impact(replace(BASE, rules=(SUMS,), quality=0.9))
    document = orjson.loads(orjson.dumps(found.document()))
    assert document["moves"][0]["after"] == "large"
    assert document["changes"][1] == {
        "kind": "changed", "where": "settings", "field": "quality", "before": 0.5, "after": 0.9,
        "text": "settings: quality 0.5 → 0.9",
    }  # fmt: skip
