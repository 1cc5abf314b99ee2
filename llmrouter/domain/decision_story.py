"""What a decision says of its request and of itself beyond what callers see."""

from __future__ import annotations

from typing import Any

from llmrouter.domain.decision import Decision, RoutingContext


def about(context: RoutingContext) -> dict[str, Any]:
    """What a request asked for, as far as it is not text: for the story of its decision."""
    features, options = context.features, context.request.options
    asked = {
        "model": context.request.model,
        "tier": context.caller.tier or options.tier,
        "allow": options.allow,
        "deny": options.deny or None,
        "latency_budget_ms": options.latency_budget_ms,
        "max_cost_usd": options.max_cost_usd,
        "quality": context.quality,
        "strategy": options.strategy,
    }
    found: dict[str, Any] = {
        "key": context.caller.name,
        "needs": sorted(features.needs),
        "input_tokens": features.input_tokens,
        "output_tokens": features.output_tokens,
        "turns": features.turns,
        "words": features.traits.words,
        "language": features.traits.language,
        "asked": {name: value for name, value in asked.items() if value is not None},
    }
    if context.arm:
        found["arm"] = context.arm
    return found


def explained(decision: Decision) -> dict[str, Any]:
    """A decision's public shape with what each stage said, for `/decisions` and the console."""
    shown = decision.public()
    shown["created_at"] = decision.created_at
    shown["cascade"] = decision.cascade
    shown["router_cost_usd"] = decision.router_cost_usd
    shown["propensity"] = decision.propensity
    shown["about"] = dict(decision.about)
    shown["trace_id"] = decision.trace_id or None
    shown["stages"] = [
        {"stage": n.stage, "outcome": n.outcome, "detail": n.detail, "ms": n.ms}
        for n in decision.stages
    ]
    return shown
