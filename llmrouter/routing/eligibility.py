"""Which targets may serve a request at all, and why the others may not.

Runs before any stage, so that no stage can choose what cannot serve. Pure: it reads frozen values
and the reasons `Health` gives. It never ranks; that is the stages' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import inf

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Budget, Caller, ChatRequest, RouterOptions
from llmrouter.domain.decision import Decision, Estimate, Exclusion
from llmrouter.domain.features import Features
from llmrouter.domain.quick import quick
from llmrouter.domain.target import PASSED, Target
from llmrouter.errors import Forbidden, ModelNotFound, NoEligibleTarget, NotFound, RateLimited

OVER_BUDGET = "more than is left of the key's budget"
Unavailable = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class EligibilityResult:
    """The outcome: `eligible` ids in catalog order, and every other target with its reason.

    `standing` says that no target is out for this moment's health or this request's size.
    `resting` are the targets that are out for this moment's health alone.
    """

    eligible: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    standing: bool = field(default=False, compare=False)
    resting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _RequestIndependent:
    """Who may serve whatever the size; what fits the smallest of them fits all."""

    targets: tuple[Target, ...]
    screening: EligibilityResult
    window: int
    output: float

    def fits(self, demand: RequestConstraints) -> bool:
        """Whether the request is surely within the limits of every one of them."""
        features, options = demand.features, demand.options
        return (
            features.total_tokens <= self.window
            and (features.answer_tokens <= self.output or not features.asked_output)
            and options.latency_budget_ms is None
            and options.max_cost_usd is None
            and demand.budget is None
        )


@quick
@dataclass(frozen=True, slots=True)
class RequestConstraints:
    """Everything about a request that eligibility looks at."""

    options: RouterOptions
    features: Features
    caller: Caller
    budget: Budget | None = None

    @classmethod
    def of(cls, request: ChatRequest, features: Features, caller: Caller) -> RequestConstraints:
        """What a measured request demands."""
        return cls(request.options, features, caller, request.budget)

    @property
    def tier(self) -> str | None:
        """The plan tier in force: the key's own, else what the request says."""
        return self.caller.tier or self.options.tier


def refusal(target: Target, demand: RequestConstraints) -> str | None:
    """Why policy keeps the caller from `target` (tier or key), or None."""
    allowed = demand.caller.allow
    if allowed is not None and target.id not in allowed:
        return f"key {demand.caller.name!r} may not use it"
    if target.tiers is not None and demand.tier not in target.tiers:
        offered = ", ".join(sorted(target.tiers))
        asked = f"tier {demand.tier!r}" if demand.tier else "no tier"
        return f"{asked} is not among its tiers ({offered})"
    return None


def is_pinned(request: ChatRequest) -> bool:
    """Whether the request names its target."""
    return request.model is not None and request.model != "auto"


def pinned_target(
    request: ChatRequest, catalog: Catalog, demand: RequestConstraints
) -> Target | None:
    """The target a request pins, or None. Raises ModelNotFound, or Forbidden where policy says."""
    if request.model is None or request.model == "auto":
        return None
    target = catalog.named(request.model)
    if target is None:
        known = ", ".join(["auto", *(t.id for t in catalog.enabled)])
        raise ModelNotFound(
            f"no model {request.model[:200]!r} in the catalog; there are: {known}", param="model"
        )
    if (refused := refusal(target, demand)) is not None:
        raise Forbidden(f"{target.id}: {refused}", param="model", code="target_not_allowed")
    return target


def check_options(options: RouterOptions, catalog: Catalog, caller: Caller) -> None:
    """Refuse what a request may not ask of any target: Forbidden for another tier than its key's.

    NotFound for an id in `allow` or `deny` that the catalog does not hold: misspelt, it would
    silently allow nothing, or deny nothing.
    """
    if caller.tier and options.tier and options.tier != caller.tier:
        raise Forbidden(
            f"key {caller.name!r} is for tier {caller.tier!r}, not {options.tier!r}",
            param="router.tier",
            code="tier_not_allowed",
        )
    for key, names in (("allow", options.allow or ()), ("deny", options.deny)):
        for index, name in enumerate(names):
            if name not in catalog.targets:
                raise unknown_target(name, catalog, f"router.{key}[{index}]")


def unknown_target(name: str, catalog: Catalog, param: str) -> NotFound:
    """The error for an id that the catalog does not hold, with the one that may be meant."""
    near = get_close_matches(name, catalog.targets, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return NotFound(
        f"no target {name!r} in the catalog{hint}", param=param, code="target_not_found"
    )


def budget_spent(caller: Caller, budget: Budget, detail: str = "") -> RateLimited:
    """The error where no target fits into what is left of a key's budget."""
    return RateLimited(
        f"{caller.name} has ${budget.left_usd:.6f} left of its budget, and this request may cost "
        f"more{detail}",
        code="insufficient_quota",
        retry_after_s=budget.returns_in_s,
    )


def permitted(decision: Decision, catalog: Catalog, caller: Caller) -> Decision:
    """The decision with the fallbacks that this key may use. Raises Forbidden for its target.

    Keys that share a tenant see each other's decisions; an id is no way around tier or allow-list.
    """

    def refused(name: str) -> str | None:
        target = catalog.targets.get(name)
        if target is None:
            return "it is not in the catalog any more"
        if caller.allow is not None and name not in caller.allow:
            return f"key {caller.name!r} may not use it"
        if caller.tier and target.tiers is not None and caller.tier not in target.tiers:
            return f"key {caller.name!r} is for tier {caller.tier!r}"
        return None

    if (reason := refused(decision.target)) is not None:
        raise Forbidden(
            f"{decision.target}: {reason}", param="router.decision_id", code="target_not_allowed"
        )
    kept = tuple(name for name in decision.fallbacks if refused(name) is None)
    return decision if kept == decision.fallbacks else replace(decision, fallbacks=kept)


def check_budget(
    caller: Caller, budget: Budget, screening: EligibilityResult, pinned: Target | None
) -> None:
    """Raise RateLimited where money is what keeps the pinned target, or any, from serving."""
    for out in screening.excluded:
        if OVER_BUDGET in out.reason and (pinned is None or out.target == pinned.id):
            raise budget_spent(caller, budget)


def for_prompt(decision: Decision, target: Target, demand: RequestConstraints) -> Decision:
    """A decision made earlier, with the estimate of the prompt that is sent now.

    Raises NoEligibleTarget where its target cannot read the prompt, RateLimited where that costs
    more than is left of the key's budget.
    """
    features, budget = demand.features, demand.budget
    if missing := features.needs - target.capabilities - {target.protocol}:
        raise NoEligibleTarget(
            f"{target.id}, which decision {decision.decision_id!r} chose, lacks "
            f"{', '.join(sorted(missing))}; ask /route with this prompt"
        )
    size = features.input_tokens, features.output_tokens
    if budget is None and size == (decision.estimate.input_tokens, decision.estimate.output_tokens):
        return decision
    cost = target.price.cost(*size)
    if budget is not None and cost > budget.left_usd:
        raise budget_spent(demand.caller, budget, f": about ${cost:.6f} at {target.id}")
    estimate = Estimate(*size, cost, target.latency.total_ms(size[1]))
    return replace(decision, estimate=estimate)


def standing_reason(target: Target, demand: RequestConstraints) -> str | None:
    """Why `target` is out whatever the size of the request, or None."""
    if not target.enabled:
        return "disabled in the catalog"
    if target.unusable is not None:
        return target.unusable
    if (refused := refusal(target, demand)) is not None:
        return refused
    options = demand.options
    if options.allow is not None and target.id not in options.allow:
        return "not in router.allow"
    if target.id in options.deny:
        return "in router.deny"
    needs = demand.features.needs
    if not target.chats and needs.isdisjoint(PASSED):
        return "answers no conversations, its capabilities name other services alone"
    if missing := needs - target.capabilities - {target.protocol}:
        return f"lacks {', '.join(sorted(missing))}"
    return None


def sizing_reason(target: Target, demand: RequestConstraints) -> str | None:
    """Why this request is too big, too slow or too dear for `target`, or None."""
    features, options = demand.features, demand.options
    if features.total_tokens > target.context_window:
        return (
            f"needs about {features.total_tokens} tokens, its context window is "
            f"{target.context_window}"
        )
    if (
        features.asked_output
        and target.max_output is not None
        and features.answer_tokens > target.max_output
    ):
        return f"{features.answer_tokens} output tokens asked, its limit is {target.max_output}"
    if options.latency_budget_ms is not None:
        first = target.latency.ttft_ms
        if first > options.latency_budget_ms:
            return (
                f"first token after about {first:.0f} ms, the budget is "
                f"{options.latency_budget_ms:.0f} ms"
            )
    if options.max_cost_usd is not None:
        cost = target.price.cost(features.input_tokens, features.output_tokens)
        if cost > options.max_cost_usd:
            return f"about ${cost:.6f}, max_cost_usd is ${options.max_cost_usd:.6f}"
    if demand.budget is not None:
        cost = target.price.cost(features.input_tokens, features.output_tokens)
        if cost > demand.budget.left_usd:
            return f"about ${cost:.6f}, {OVER_BUDGET} (${demand.budget.left_usd:.6f})"
    return None


class Eligibility:
    """Screens targets. What does not depend on a request's size is screened once and kept."""

    def __init__(self, remembered: int = 1024) -> None:
        self._remembered = remembered
        self._standing: dict[object, _RequestIndependent] = {}

    def screen(
        self, catalog: Catalog, demand: RequestConstraints, unavailable: Unavailable | None = None
    ) -> EligibilityResult:
        """Screen every target; `unavailable` gives one's health reason, None says all are well."""
        known = self._screen_standing(catalog, demand)
        fits = known.fits(demand)
        if fits and (unavailable is None or not any(map(unavailable, known.screening.eligible))):
            return known.screening
        eligible: list[str] = []
        resting: list[str] = []
        out: dict[str, str] = {}
        for target in known.targets:
            if (reason := sizing_reason(target, demand)) is not None:
                out[target.id] = reason
            elif unavailable is not None and (reason := unavailable(target.id)) is not None:
                out[target.id] = reason
                resting.append(target.id)
            else:
                eligible.append(target.id)
        if not out:
            return known.screening
        excluded = tuple(_in_order(catalog, known.screening.excluded, out))
        return EligibilityResult(tuple(eligible), excluded, resting=tuple(resting))

    def _screen_standing(self, catalog: Catalog, demand: RequestConstraints) -> _RequestIndependent:
        options = demand.options
        key = (
            catalog.version,
            demand.tier,
            demand.features.needs,
            options.allow,
            options.deny,
            demand.caller.allow,
            demand.caller.name if demand.caller.allow is not None else "",
        )
        known = self._standing.get(key)
        if known is None:
            reasons = {t.id: standing_reason(t, demand) for t in catalog.targets.values()}
            targets = tuple(t for t in catalog.targets.values() if reasons[t.id] is None)
            out = tuple(Exclusion(name, why) for name, why in reasons.items() if why is not None)
            known = _RequestIndependent(
                targets,
                EligibilityResult(tuple(t.id for t in targets), out, standing=True),
                min((t.context_window for t in targets), default=0),
                min((t.max_output for t in targets if t.max_output is not None), default=inf),
            )
            if len(self._standing) >= self._remembered:
                self._standing.clear()
            self._standing[key] = known
        return known


def _in_order(
    catalog: Catalog, excluded: tuple[Exclusion, ...], sized: dict[str, str]
) -> Iterator[Exclusion]:
    standing = {exclusion.target: exclusion for exclusion in excluded}
    for name in catalog.targets:
        if name in standing:
            yield standing[name]
        elif name in sized:
            yield Exclusion(name, sized[name])
