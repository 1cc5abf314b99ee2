"""Turns routing.yaml into rules and settings, held against the targets that exist.

Rules are data: a condition that is not known is an error, never ignored, because a rule that lost
its condition would match everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from llmrouter.catalog.access_fields import read_base_url, read_key_name
from llmrouter.catalog.target_file import read_price
from llmrouter.catalog.yaml_reader import Block, Sheet, hint, shown
from llmrouter.domain.catalog import (
    CHECKS,
    Acceptance,
    Cascade,
    Conditions,
    Fallback,
    Learned,
    RouterLLM,
    Rule,
    Sessions,
)
from llmrouter.domain.embedding_space import WANTED, encoder_spec
from llmrouter.domain.features import SIDE_TASKS
from llmrouter.domain.patterns import Pattern, PatternRefused, compile_pattern

POLICY_KEYS: Final = (
    "default",
    "router",
    "quality",
    "rules",
    "cascade",
    "learned",
    "sessions",
    "fallback",
)
LLM_KEYS: Final = (
    "model",
    "provider",
    "base_url",
    "api_key_env",
    "timeout_ms",
    "retries",
    "price",
)
ROUTER_KEYS: Final = (*LLM_KEYS, "protocol", "max_spend_share")
PROTOCOLS: Final = ("auto", "decisions", "systemone", "chat")
CONDITION_KEYS: Final = (
    "task",
    "min_words",
    "max_words",
    "code",
    "language",
    "tools",
    "min_turns",
    "max_turns",
    "tier",
    "matches",
    "side_task",
)
SHADOWS: Final = ("rules", "learned", "llm", "cascade")
_ENTRY = compile_pattern(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LANGUAGE = compile_pattern(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything in routing.yaml, as domain values.

    `lines` says where `router`, `cascade` and each rule (`rule <name>`) stand in the file.
    """

    default: str
    router: RouterLLM | None
    quality: float
    rules: tuple[Rule, ...]
    cascade: Cascade
    learned: Learned
    sessions: Sessions
    fallback: Fallback
    lines: Mapping[str, int]


def read_policy(sheet: Sheet, text: str, targets: Mapping[str, bool]) -> Policy | None:
    """The policy in routing.yaml; None after at least one report.

    `targets` says of each target whether it is enabled; those whose own file is broken count.
    """
    before = len(sheet.problems)
    node = sheet.compose(text)
    if node is None:
        return None
    fields = Block(sheet, node, POLICY_KEYS)
    default = _target(fields, "default", targets, required=True)
    if default is not None and not targets[default]:
        fields.fail("default", f"names {default}, which is disabled: enable it or choose another")
    router = _llm(fields, "router", ROUTER_KEYS)
    quality = fields.number("quality", 0, 1)
    cascade = _cascade(fields, targets, router is not None)
    lines = {name: sheet.line_of(fields.at(name)) for name in POLICY_KEYS if name in fields}
    rules = tuple(_rules(fields, targets, bool(cascade.order), lines))
    learned = _learned(fields)
    sessions = _sessions(fields)
    fallback = _fallback(fields)
    if len(sheet.problems) > before:
        return None
    assert default is not None  # noqa: S101 - reported when absent
    return Policy(
        default=default,
        router=router,
        quality=0.5 if quality is None else quality,
        rules=rules,
        cascade=cascade,
        learned=learned,
        sessions=sessions,
        fallback=fallback,
        lines=lines,
    )


def _target(
    fields: Block, name: str, targets: Mapping[str, bool], *, required: bool = False
) -> str | None:
    target = fields.text(name, required=required)
    if target is not None and target not in targets:
        fields.fail(name, f"names {shown(target)}, which is no target{hint(target, targets)}")
        return None
    return target


def _llm(fields: Block, name: str, keys: tuple[str, ...] = LLM_KEYS) -> RouterLLM | None:
    llm = fields.block(name, keys)
    if llm is None:
        return None
    model = llm.text("model", required=True)
    base_url = read_base_url(llm)
    price = read_price(llm)
    if price is not None and price.cache_write is not None:
        llm.fail("price", "cannot hold `cache_write` here: give input, cached_input and output")
    key = read_key_name(llm)
    changes = _given(
        provider=llm.text("provider"),
        timeout_ms=llm.number("timeout_ms", 0, 120_000, above=True),
        retries=llm.whole("retries", 0, 1),
        price_input=None if price is None else price.input,
        price_output=None if price is None else price.output,
        price_cached=None if price is None else price.cached_input,
        protocol=llm.choice("protocol", PROTOCOLS) if "protocol" in keys else None,
        max_spend_share=llm.number("max_spend_share", 0, 10) if "protocol" in keys else None,
    )
    if model is None or base_url is None:
        return None
    return replace(RouterLLM(model, base_url, key), **changes)


def _rules(
    fields: Block, targets: Mapping[str, bool], cascades: bool, lines: dict[str, int]
) -> list[Rule]:
    found: list[Rule] = []
    for number, rule in enumerate(fields.blocks("rules", ("name", "when", "route", "strategy"))):
        name = rule.text("name", required=True)
        if name is not None:
            first = lines.setdefault(f"rule {name}", fields.sheet.line_of(rule.at("name")))
            if first != fields.sheet.line_of(rule.at("name")):
                rule.fail("name", f"is {shown(name)!r} again (first on line {first})")
        when = rule.block("when", CONDITION_KEYS)
        if when is None and "when" not in rule:
            rule.missing("when", ": write `when: {}` if the rule is to match every request")
        route = _target(rule, "route", targets)
        strategy = rule.choice("strategy", ("cascade",))
        if ("route" in rule) == ("strategy" in rule):
            rule.fail("route", "or `strategy: cascade`: give exactly one of them")
        if strategy is not None and not cascades:
            rule.fail("strategy", "needs targets to go through: list them in `cascade.order`")
        conditions = Conditions() if when is None else _conditions(when)
        found.append(Rule(name or f"rule {number + 1}", conditions, route, strategy))
    return found


def _conditions(when: Block) -> Conditions:
    for low, high in (("min_words", "max_words"), ("min_turns", "max_turns")):
        least, most = when.whole(low), when.whole(high, 1)
        if least is not None and most is not None and least > most:
            when.fail(low, f"is {least}, more than {high}: nothing can match")
    for language, node in when.texts("language", single=True) or ():
        if not _LANGUAGE.fullmatch(language):
            when.sheet.report(node, f"{shown(language)!r} is no language code, such as en or de")
    return Conditions(
        task=_names(when, "task"),
        min_words=when.whole("min_words"),
        max_words=when.whole("max_words", 1),
        code=when.flag("code"),
        language=_names(when, "language"),
        tools=when.flag("tools"),
        min_turns=when.whole("min_turns"),
        max_turns=when.whole("max_turns", 1),
        tier=_names(when, "tier"),
        matches=_pattern(when, "matches"),
        side_task=_side_tasks(when),
    )


def _names(when: Block, name: str) -> frozenset[str] | None:
    found = when.texts(name, single=True)
    if found is None:
        return None
    if not found:
        when.fail(name, "is an empty list: nothing can match")
    return frozenset(text for text, _ in found)


def _side_tasks(when: Block) -> frozenset[str] | None:
    for name, node in when.texts("side_task", single=True) or ():
        if name not in SIDE_TASKS:
            said = f"{shown(name)!r} is no side task{hint(name, SIDE_TASKS)}"
            when.sheet.report(node, said)
    return _names(when, "side_task")


def _pattern(fields: Block, name: str, *, multiline: bool = False) -> Pattern | None:
    pattern = fields.text(name)
    if pattern is None:
        return None
    try:
        return compile_pattern(pattern, multiline=multiline)
    except PatternRefused as refused:
        fields.fail(name, str(refused))
        return None


def _cascade(fields: Block, targets: Mapping[str, bool], has_router: bool) -> Cascade:
    known = ("order", "accept", "judge", "reserve_ms", "escalate_on_retry")
    cascade = fields.block("cascade", known)
    if cascade is None:
        return Cascade()
    order: list[str] = []
    for name, node in cascade.texts("order") or ():
        if name not in targets:
            cascade.sheet.report(
                node, f"`cascade.order` names {shown(name)}, no target{hint(name, targets)}"
            )
        elif name in order:
            cascade.sheet.report(node, f"`cascade.order` names {name} twice: remove one")
        order.append(name)
    judge = _llm(cascade, "judge")
    accept = _acceptance(cascade)
    if accept.judge and judge is None and not has_router:
        cascade.fail("accept", "asks for a judge, and there is none: add `cascade.judge`")
    changes = _given(
        reserve_ms=cascade.number("reserve_ms"),
        escalate_on_retry=cascade.flag("escalate_on_retry"),
    )
    return replace(Cascade(tuple(order), accept, judge=judge), **changes)


def _acceptance(cascade: Block) -> Acceptance:
    known = (
        "min_confidence",
        "min_margin",
        "schema",
        "checks",
        "samples",
        "judge",
        "judge_min_score",
    )
    accept = cascade.block("accept", known)
    if accept is None:
        return Acceptance()
    checks = [
        {name: _check(block, name) for name in CHECKS if name in block}
        for block in accept.blocks("checks", CHECKS)
    ]
    changes = _given(
        min_confidence=accept.number("min_confidence", 0, 1),
        min_margin=accept.number("min_margin", 0, 1),
        schema=accept.flag("schema"),
        samples=accept.whole("samples", 0, 9),
        judge=accept.flag("judge"),
        judge_min_score=accept.number("judge_min_score", 0, 1),
    )
    return replace(Acceptance(checks=tuple(checks)), **changes)


def _check(block: Block, name: str) -> object:
    """The value of one check, of the type that check takes."""
    if name in ("min_chars", "max_chars"):
        return block.whole(name, 1)
    if name == "regex":
        pattern = _pattern(block, name, multiline=True)
        return None if pattern is None else pattern.pattern
    if name == "python":
        entry = block.text(name)
        if entry is not None and not _ENTRY.fullmatch(entry):
            block.fail(name, "must be an entry point, such as my_package.checks:is_polite")
        return entry
    if name == "language":
        return block.text(name)
    if name == "json":
        return block.flag(name)
    value = block.value(name)
    if value is None:
        block.fail(name, "must be a value or a list of values")
    return value


def _learned(fields: Block) -> Learned:
    known = (
        "enabled",
        "target_agreement",
        "audit_rate",
        "explore_rate",
        "explore_budget_usd_per_day",
        "shadow",
        "encoder",
        "api_key_env",
        "timeout_ms",
        "encoder_price",
    )
    learned = fields.block("learned", known)
    if learned is None:
        return Learned()
    changes = _given(
        enabled=learned.flag("enabled"),
        target_agreement=learned.number("target_agreement", 0.5, 1),
        audit_rate=learned.number("audit_rate", 0, 1),
        explore_rate=learned.number("explore_rate", 0, 1),
        explore_budget_usd_per_day=learned.number("explore_budget_usd_per_day"),
        shadow=learned.choice("shadow", SHADOWS),
        encoder=_encoder(learned),
        api_key_env=read_key_name(learned),
        timeout_ms=learned.number("timeout_ms", 1, 10_000),
        encoder_price=learned.number("encoder_price", 0),
    )
    return replace(Learned(), **changes)


def _encoder(learned: Block) -> str | None:
    name = learned.text("encoder")
    try:
        return None if name is None else str(encoder_spec(name))
    except ValueError:
        learned.fail("encoder", f"must be {WANTED}")
        return None


def _sessions(fields: Block) -> Sessions:
    sessions = fields.block("sessions", ("enabled", "ttl_s", "min_gain", "tool_loops"))
    if sessions is None:
        return Sessions()
    changes = _given(
        enabled=sessions.flag("enabled"),
        ttl_s=sessions.number("ttl_s", above=True),
        min_gain=sessions.number("min_gain", 0, 1),
        tool_loops=sessions.flag("tool_loops"),
    )
    return replace(Sessions(), **changes)


def _fallback(fields: Block) -> Fallback:
    known = ("retries", "backoff_ms", "max_backoff_ms", "hedge", "on_refusal", "max_attempts")
    fallback = fields.block("fallback", known)
    if fallback is None:
        return Fallback()
    changes = _given(
        retries=fallback.whole("retries", 0, 10),
        backoff_ms=fallback.number("backoff_ms", 0, 60_000),
        max_backoff_ms=fallback.number("max_backoff_ms", 0, 60_000),
        hedge=fallback.flag("hedge"),
        on_refusal=fallback.flag("on_refusal"),
        max_attempts=fallback.whole("max_attempts", 1, 20),
    )
    return replace(Fallback(), **changes)


def _given(**values: Any) -> dict[str, Any]:
    """The settings that stand in the file; the rest keep their defaults."""
    return {name: value for name, value in values.items() if value is not None}
