"""Rules from routing.yaml: transparent, first match wins, always on top.

A rule is data, never code. Conditions are checked from cheap to dear, so the readable traits of a
request are measured only when some rule asks for them.
"""

from __future__ import annotations

from llmrouter.domain.catalog import Conditions, Rule
from llmrouter.domain.decision import Question, Source, Verdict

MATCHED_CHARACTERS = 20_000  # how much of the last turn a rule's regex may read


def matches(when: Conditions, question: Question) -> bool:
    """Whether every condition that is set holds for the request."""
    return (
        _matches_facts(when, question)
        and _matches_text(when, question)
        and _matches_traits(when, question)
    )


def _matches_facts(when: Conditions, question: Question) -> bool:
    features = question.features
    if when.tools is not None and when.tools != features.tools:
        return False
    if when.min_turns is not None and features.turns < when.min_turns:
        return False
    if when.max_turns is not None and features.turns > when.max_turns:
        return False
    if when.tier is not None:
        tier = question.caller.tier or question.request.options.tier
        return tier in when.tier
    return True


def _matches_text(when: Conditions, question: Question) -> bool:
    if when.matches is None:
        return True
    return when.matches.search(question.features.text[:MATCHED_CHARACTERS]) is not None


def _matches_traits(when: Conditions, question: Question) -> bool:
    asked = when.task, when.language, when.code, when.min_words, when.max_words
    if asked != (None, None, None, None, None):
        traits = question.features.traits
        if when.task is not None and traits.task not in when.task:
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


def first_match(rules: tuple[Rule, ...], question: Question) -> Rule | None:
    """The rule that applies, or None."""
    for rule in rules:
        if matches(rule.when, question):
            return rule
    return None


class Rules:
    """The stage that applies the catalog's rules."""

    name = "rules"

    async def decide(self, question: Question) -> Verdict | None:
        """The first matching rule's target, sure of itself; None when no rule matches."""
        catalog = question.catalog
        if not catalog.rules:
            return None
        rule = first_match(catalog.rules, question)
        if rule is None:
            return None
        cascade = rule.strategy == "cascade"
        target = rule.route or first_of_cascade(question)
        if target is None:
            return None
        return Verdict(
            target=target,
            source=Source.RULES,
            reason=f"rule {rule.name!r} matched" + (", starting a cascade" if cascade else ""),
            confidence=1.0,
            task=question.features.traits.task if rule.when.task else None,
            cascade=cascade,
        )


def first_of_cascade(question: Question) -> str | None:
    """Where a cascade starts: the first target of its order that is eligible."""
    order = question.catalog.cascade.order
    return next((name for name in order if name in question.eligible), None)


class StartCascade:
    """The stage behind `strategy: cascade`: begin at the cheapest acceptable target."""

    name = "cascade"

    async def decide(self, question: Question) -> Verdict | None:
        """The first eligible target of the cascade's order; None when there is none."""
        target = first_of_cascade(question)
        if target is None:
            return None
        return Verdict(
            target=target,
            source=Source.RULES,
            reason="cascade: starting at the first target of its order",
            confidence=1.0,
            cascade=True,
        )
