"""Rules from routing.yaml: transparent, first match wins, always on top.

A rule is data, never code. Conditions are checked from cheap to dear, so the readable traits of a
request are measured only when some rule asks for them.
"""

from __future__ import annotations

from llmrouter.domain.catalog import Conditions, Rule
from llmrouter.domain.decision import RoutingContext, Source, StageResult

MATCHED_CHARACTERS = 20_000  # how much of the last turn a rule's regex may read


def matches(when: Conditions, context: RoutingContext) -> bool:
    """Whether every condition that is set holds for the request."""
    return (
        _matches_facts(when, context)
        and _matches_text(when, context)
        and _matches_traits(when, context)
    )


def _matches_facts(when: Conditions, context: RoutingContext) -> bool:
    features = context.features
    if when.tools is not None and when.tools != features.tools:
        return False
    if when.min_turns is not None and features.turns < when.min_turns:
        return False
    if when.max_turns is not None and features.turns > when.max_turns:
        return False
    if when.tier is not None:
        tier = context.caller.tier or context.request.options.tier
        return tier in when.tier
    return True


def _matches_text(when: Conditions, context: RoutingContext) -> bool:
    if when.matches is None:
        return True
    return when.matches.search(context.features.text[:MATCHED_CHARACTERS]) is not None


def _matches_traits(when: Conditions, context: RoutingContext) -> bool:
    asked = when.task, when.language, when.code, when.min_words, when.max_words, when.side_task
    if asked != (None,) * 6:
        traits = context.features.traits
        if when.task is not None and traits.task not in when.task:
            return False
        if when.side_task is not None and traits.side_task not in when.side_task:
            return False
        if when.language is not None and traits.language not in when.language:
            return False
        if when.code is not None and when.code != traits.code:
            return False
        if when.min_words is not None and traits.words < when.min_words:
            return False
        if when.max_words is not None and traits.words > when.max_words:
            return False
    return True


def first_match(rules: tuple[Rule, ...], context: RoutingContext) -> Rule | None:
    """The rule that applies, or None."""
    for rule in rules:
        if matches(rule.when, context):
            return rule
    return None


class Rules:
    """The stage that applies the catalog's rules."""

    name = "rules"

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The first matching rule's target, sure of itself; None when no rule matches."""
        catalog = context.catalog
        if not catalog.rules:
            return None
        rule = first_match(catalog.rules, context)
        if rule is None:
            return None
        cascade = rule.strategy == "cascade"
        target = rule.route or first_of_cascade(context)
        if target is None:
            return None
        return StageResult(
            target=target,
            source=Source.RULES,
            reason=f"rule {rule.name!r} matched" + (", starting a cascade" if cascade else ""),
            confidence=1.0,
            task=context.features.traits.task if rule.when.task else None,
            cascade=cascade,
        )


def first_of_cascade(context: RoutingContext) -> str | None:
    """Where a cascade starts: the first target of its order that is eligible."""
    order = context.catalog.cascade.order
    return next((name for name in order if name in context.eligible), None)


class StartCascade:
    """The stage behind `strategy: cascade`: begin at the cheapest acceptable target."""

    name = "cascade"

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """The first eligible target of the cascade's order; None when there is none."""
        target = first_of_cascade(context)
        if target is None:
            return None
        return StageResult(
            target=target,
            source=Source.RULES,
            reason="cascade: starting at the first target of its order",
            confidence=1.0,
            cascade=True,
        )
