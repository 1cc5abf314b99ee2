"""Versions change with what decides and with nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from llmrouter.catalog.revision import policy_revision, prompt_revision, target_revision
from llmrouter.catalog.routing_config import Policy
from llmrouter.domain.catalog import (
    Cascade,
    Conditions,
    Fallback,
    Learned,
    RouterLLM,
    Rule,
    Sessions,
)
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import Latency, Price
from tests.fakes import a_target

SMALL, LARGE = a_target("small"), a_target("large")
POLICY = Policy(
    default="small",
    router=RouterLLM("tiny", "http://a/v1"),
    quality=0.5,
    rules=(Rule("a", Conditions(matches=compile_pattern("x")), route="small"),),
    cascade=Cascade(("small", "large")),
    learned=Learned(),
    sessions=Sessions(),
    fallback=Fallback(),
    lines={"router": 2},
)


@pytest.mark.parametrize(
    "over",
    [
        {"model": "other"},
        {"provider": "other"},
        {"price": Price(1.0, 2.5)},
        {"context_window": 9000},
        {"max_output": 100},
        {"capabilities": frozenset({"tools"})},
        {"tiers": frozenset({"pro"})},
        {"latency": Latency(5, 5)},
        {"description": "Another one."},
        {"enabled": False},
    ],
    ids=lambda over: next(iter(over)),
)
def test_what_a_choice_weighs_changes_the_version(over: dict[str, Any]) -> None:
    """A cached choice made before such an edit may be wrong after it."""
    assert target_revision([replace(SMALL, **over), LARGE]) != target_revision([SMALL, LARGE])


@pytest.mark.parametrize(
    "over",
    [
        {"base_url": "http://elsewhere/v1"},
        {"api_key_env": "KEY"},
        {"timeout_s": 1.0},
        {"ttft_timeout_s": 1.0},
        {"stall_timeout_s": 1.0},
        {"description": "The  small\n\none. "},
    ],
    ids=lambda over: next(iter(over)),
)
def test_where_a_model_is_reached_changes_none(over: dict[str, Any]) -> None:
    """Moving a model, or wrapping its description anew, keeps every cached choice."""
    assert target_revision([replace(SMALL, **over), LARGE]) == target_revision([SMALL, LARGE])


def test_the_order_of_targets_and_disabled_ones_do_not_count() -> None:
    """Only the set of targets that may serve does."""
    off = a_target("off", enabled=False)
    assert target_revision([LARGE, off, SMALL]) == target_revision([SMALL, LARGE])
    assert target_revision([SMALL]) != target_revision([SMALL, LARGE])


@pytest.mark.parametrize(
    "over",
    [
        {"default": "large"},
        {"quality": 0.6},
        {"router": None},
        {"router": RouterLLM("other", "http://a/v1")},
        {"rules": ()},
        {"rules": (Rule("a", Conditions(matches=compile_pattern("y")), route="small"),)},
        {"rules": (Rule("a", Conditions(matches=compile_pattern("x")), route="large"),)},
        {"cascade": Cascade(("large", "small"))},
        {"learned": Learned(enabled=False)},
        {"sessions": Sessions(enabled=True)},
        {"fallback": Fallback(hedge=True)},
    ],
    ids=str,
)
def test_every_setting_of_the_policy_counts(over: dict[str, Any]) -> None:
    """Order counts where it means something, as in rules and cascades."""
    assert policy_revision(replace(POLICY, **over)) != policy_revision(POLICY)


def test_where_the_router_is_and_on_which_line_do_not_count() -> None:
    """The same router LLM at another address decides the same."""
    router = RouterLLM("tiny", "http://b/v1", api_key_env="KEY", timeout_ms=3000)
    moved = replace(POLICY, router=router, lines={"router": 9})
    assert policy_revision(moved) == policy_revision(POLICY)


def test_a_prompt_is_its_text_without_comments() -> None:
    """A note to oneself in router.md is never sent and costs no cached choice."""
    assert prompt_revision("{# a note\n#}Choose. {# another #}\n") == prompt_revision("Choose.")
    assert prompt_revision("Choose well.") != prompt_revision("Choose.")


def test_versions_are_short_hex() -> None:
    """They are read by people and stand in every cache key."""
    for version in (target_revision([SMALL]), policy_revision(POLICY), prompt_revision("x")):
        assert re.fullmatch(r"[0-9a-f]{12}", version)
