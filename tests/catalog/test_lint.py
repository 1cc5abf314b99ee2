"""What is valid and still worth a word, at its own line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmrouter.catalog.lint import Located, Routing, lint, unset
from llmrouter.domain.catalog import Cascade, Catalog, Conditions, RouterLLM, Rule
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import Price, Target
from tests.fakes import a_catalog, a_target

LONG_ENOUGH = "Good at short errands, bad at proofs; choose it for anything simple and quick."


def a_real(name: str = "small", **over: object) -> Target:
    """A target that nothing is said about."""
    values = {"description": LONG_ENOUGH, "base_url": "https://api.example.com/v1"}
    return replace(a_target(name, **values), **over)  # type: ignore[arg-type] # fields by name


def warned(catalog: Catalog, environ: dict[str, str] | None = None) -> list[str]:
    """The warnings as lines; with `environ`, those about its variables.

    The router stands on line 3, the cascade on line 4, and rules from line 10 on.
    """
    located = {name: Located(f"{name}.md", 14) for name in catalog.targets}
    lines = {"router": 3, "cascade": 4}
    lines |= {f"rule {rule.name}": 10 + at for at, rule in enumerate(catalog.rules)}
    routing = Routing("r.yaml", lines)
    found = lint(catalog, located, routing)
    if environ is not None:
        found = unset(catalog, located, routing, environ)
    return [str(problem) for problem in found]


def ruled(*whens: Conditions) -> Catalog:
    """A catalog with a rule for each of these conditions, named a, b, …"""
    rules = tuple(Rule("abc"[at], when, route="small") for at, when in enumerate(whens))
    return a_catalog(a_real(), rules=rules)


def test_an_ordinary_catalog_gets_no_warning() -> None:
    """Nothing is said where nothing is odd."""
    router = RouterLLM("tiny", "https://api.example.com/v1", "KEY")
    catalog = a_catalog(a_real(api_key_env="KEY"), a_real("large"), router=router)
    assert warned(catalog) == []
    assert warned(catalog, {"KEY": "x"}) == []


X = compile_pattern("x")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (a_real(description="Small."), "small.md:14: the description has 6 characters, too few"),
        (a_real(description="x" * 1501), "small.md:14: the description has 1501 characters; every"),
        (a_real(price=Price(0, 0)), "small.md:1: the price is 0, though the model is not local"),
        (a_real(price=Price(1, 2, 3)), "small.md:1: cached_input costs more than input"),
    ],
)
def test_an_odd_target_is_named(target: Target, message: str) -> None:
    """One oddity is one warning."""
    found = warned(a_catalog(target))
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:11434/v1",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://10.0.0.7/v1",
        "http://ollama:11434/v1",
        "http://gpu.local/v1",
    ],
)
def test_a_local_model_may_be_free(base_url: str) -> None:
    """One's own machine, private addresses and container names are local."""
    assert warned(a_catalog(a_real(base_url=base_url, price=Price(0, 0)))) == []


def test_a_disabled_target_is_left_in_peace() -> None:
    """What does not serve is not measured."""
    assert warned(a_catalog(a_real(), a_real("old", description="x", enabled=False))) == []


def test_the_same_model_twice_is_said_once() -> None:
    """Two targets that are one model split what is learned of it."""
    twins = a_catalog(a_real(model="m"), a_real("twin", model="m"))
    assert warned(twins) == [
        "twin.md:1: this is the same model at the same address as small: disable one"
    ]


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}])
def test_keys_that_are_not_there_are_said(environ: dict[str, str]) -> None:
    """Without its key a target, the router LLM or the judge fails on every request."""
    llm = RouterLLM("tiny", "https://api.example.com/v1", "KEY")
    off = a_real("off", api_key_env="KEY", enabled=False)
    target = a_real(api_key_env="KEY")
    catalog = a_catalog(target, off, router=llm, cascade=Cascade(judge=llm))
    assert warned(catalog, environ) == [
        "small.md:1: the variable KEY is not set: calls go out without a key",
        "r.yaml:3: router: the variable KEY is not set",
        "r.yaml:4: cascade.judge: the variable KEY is not set",
    ]


def test_mentions_of_disabled_targets_are_said() -> None:
    """A rule or a cascade through a target that is off does less than it says."""
    off = a_real("off", enabled=False)
    rules = (Rule("a", Conditions(code=True), route="off"),)
    catalog = a_catalog(a_real(), off, rules=rules, cascade=Cascade(("off", "small")))
    assert warned(catalog) == [
        "r.yaml:4: cascade.order: off is disabled and will be passed over",
        "r.yaml:10: rule 'a' routes to off, which is disabled",
    ]


def test_a_misspelt_task_is_said() -> None:
    """A task that nobody recognises is no error, as callers may declare their own."""
    found = warned(ruled(Conditions(task=frozenset({"summarisation"}))))
    assert found == [
        "r.yaml:10: rule 'a': task 'summarisation' only matches where a caller declares it; did "
        "you mean 'summarization'?"
    ]
    assert warned(ruled(Conditions(task=frozenset({"legal-intake"})))) == []


A = frozenset({"a"})
AB = frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Conditions(), Conditions(code=True)),
        (Conditions(), Conditions()),
        (Conditions(max_words=50), Conditions(max_words=50, code=True)),
        (Conditions(max_words=50), Conditions(max_words=20)),
        (Conditions(min_turns=2), Conditions(min_turns=3)),
        (Conditions(min_words=0), Conditions()),
        (Conditions(tier=AB), Conditions(tier=A)),
        (
            Conditions(matches=compile_pattern("x")),
            Conditions(matches=compile_pattern("x"), tools=True),
        ),
    ],
)
def test_a_rule_that_can_never_match_is_said(wide: Conditions, narrow: Conditions) -> None:
    """A rule below one that matches all it matches is dead."""
    said = "can never match: 'a' above it matches first"
    assert warned(ruled(wide, narrow)) == [f"r.yaml:11: rule 'b' {said}"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Conditions(code=True), Conditions()),
        (Conditions(code=True), Conditions(code=False)),
        (Conditions(max_words=20), Conditions(max_words=50)),
        (Conditions(max_words=20), Conditions(code=True)),
        (Conditions(min_turns=3), Conditions(min_turns=2)),
        (Conditions(tier=A), Conditions(tier=AB)),
        (Conditions(tier=A), Conditions(language=A)),
        (Conditions(matches=compile_pattern("x")), Conditions(matches=compile_pattern("xy"))),
        (Conditions(matches=compile_pattern("x")), Conditions()),
    ],
)
def test_a_rule_that_can_match_is_left_in_peace(first: Conditions, second: Conditions) -> None:
    """Rules that only overlap are ordinary."""
    assert warned(ruled(first, second)) == []
