"""What changed between two catalogs, said as its author would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmrouter.catalog.diff import Change, changes
from llmrouter.domain.catalog import (
    Acceptance,
    Cascade,
    Catalog,
    Conditions,
    Prompts,
    RouterLLM,
    Rule,
    Sessions,
)
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import Price
from tests.fakes import a_catalog, a_target

SUMS = Rule("sums", Conditions(task=frozenset({"math"})), route="large")
CODE = Rule("code", Conditions(code=True), route="large")
BASE = a_catalog(rules=(SUMS, CODE), router=RouterLLM("tiny", "http://a/v1"))


def said(catalog: Catalog) -> list[str]:
    """The changes from BASE as lines."""
    return [str(change) for change in changes(BASE, catalog)]


def test_a_catalog_does_not_differ_from_itself() -> None:
    """Versions, and the order in which targets are held, are no changes."""
    turned = dict(reversed(BASE.targets.items()))
    assert changes(BASE, replace(BASE, targets=turned, version="v2", warnings=("w",))) == ()


def test_added_and_removed_targets_are_named() -> None:
    """Whole targets come and go in one line each."""
    other = replace(BASE, targets={"small": a_target("small"), "new": a_target("new")})
    assert said(other) == ["target large removed", "target new added"]


@pytest.mark.parametrize(
    ("over", "line"),
    [
        ({"price": Price(1.5, 2.0)}, "target small: price.input 1 → 1.5"),
        ({"price": Price(1.0, 2.0, 0.1)}, "target small: price.cached_input set to 0.1"),
        ({"enabled": False}, "target small: enabled true → false"),
        ({"tiers": frozenset({"pro", "free"})}, "target small: tiers set to [free, pro]"),
        ({"capabilities": frozenset({"tools"})}, "target small: capabilities [] → [tools]"),
        ({"description": "Two\nlines."}, "target small: description rewritten"),
        ({"context_window": 9000}, "target small: context_window 8000 → 9000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_field_is_named_with_both_values(over: dict[str, Any], line: str) -> None:
    """One edit is one line."""
    assert said(replace(BASE, targets={**BASE.targets, "small": a_target("small", **over)})) == [
        line
    ]


def test_rules_are_compared_by_name() -> None:
    """A new rule above the others does not make all of them look changed."""
    new = Rule("new", Conditions(), strategy="cascade")
    changed = replace(SUMS, when=Conditions(task=frozenset({"math", "code"}), min_words=3))
    assert said(replace(BASE, rules=(new, changed))) == [
        "rule new added",
        "rule sums: when.task [math] → [code, math]",
        "rule sums: when.min_words set to 3",
        "rule code removed",
    ]


def test_the_order_of_rules_is_a_change() -> None:
    """The first match wins, so order decides."""
    assert said(replace(BASE, rules=(CODE, SUMS))) == ["rules: order [sums, code] → [code, sums]"]


def matching(pattern: str) -> Rule:
    """A rule on text."""
    return Rule("p", Conditions(matches=compile_pattern(pattern)), route="small")


def test_patterns_are_compared_as_text() -> None:
    """Two compilations of one pattern are the same condition."""
    one = replace(BASE, rules=(matching("a"),))
    same = replace(
        BASE, rules=(Rule("p", Conditions(matches=compile_pattern("a")), route="small"),)
    )
    other = replace(
        BASE, rules=(Rule("p", Conditions(matches=compile_pattern("b")), route="small"),)
    )
    assert changes(one, same) == ()
    assert [str(change) for change in changes(one, other)] == ["rule p: when.matches a → b"]


def test_settings_and_prompts_are_compared() -> None:
    """What is nested is named by its path."""
    other = replace(
        BASE,
        default="large",
        quality=0.75,
        router=None,
        cascade=Cascade(("small",), Acceptance(checks=({"max_chars": 80},))),
        sessions=Sessions(enabled=True),
        prompts=Prompts(router="Choose\nwell.", verifier="Judge."),
    )
    assert said(other) == [
        "settings: default small → large",
        "settings: quality 0.5 → 0.75",
        "settings: router removed (it was tiny)",
        "settings: cascade.order [] → [small]",
        "settings: cascade.accept.checks [] → [{max_chars: 80}]",
        "settings: sessions.enabled false → true",
        "prompts: router.md rewritten",
        "prompts: verifier.md  → Judge.",
    ]


def test_a_change_keeps_its_values() -> None:
    """Readers other than people get the values, not their text."""
    (change,) = changes(BASE, replace(BASE, quality=0.75))
    assert change == Change("changed", "settings", "quality", 0.5, 0.75)
