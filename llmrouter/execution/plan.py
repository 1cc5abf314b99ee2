"""From a decision to ordered attempts, bounded before the first one starts. Pure.

A plan never names a target twice and never one that was not eligible. What a target would take
at worst (its price for the requested output, its expected time) is computed beforehand: a target
that cannot finish in what the deadline leaves, or would pass the caller's `max_cost_usd` together
with what may have been spent before it, is left out with its reason. The chosen target itself
always stays: the caller asked, and a refusal would be worse than a try.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest
from llmrouter.domain.completion import WorstCase
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.decision import Decision, Estimate, Exclusion
from llmrouter.domain.features import answers_of
from llmrouter.domain.quick import quick
from llmrouter.domain.target import Target
from llmrouter.execution.cascade.judge import judge_bound_usd, judge_of
from llmrouter.execution.pricing import CHARS_PER_TOKEN, bound_usd


@quick
@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """What is to be executed. `escalate` starts a cascade so many steps above its cheapest.

    `session` is the key under which its session is followed, `signed_by` the target that wrote the
    signed reasoning in its history; None where there is none, or it is not known.

    The catalog is the one that decided; the decision's target and fallbacks are what was eligible.
    """

    request: ChatRequest
    decision: Decision
    catalog: Catalog
    deadline: Deadline = NEVER
    caller: Caller = ANONYMOUS
    escalate: int = 0
    signed_by: str | None = None
    session: str | None = None

    def bound_usd(self, target: Target) -> float:
        """The most that one attempt at a target may cost."""
        estimate = self.decision.estimate
        size = estimate.input_tokens, estimate.output_tokens
        return bound_usd(target, *size, answers_of(self.request.document))


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets in the order they are tried, `max_attempts` of them at most.

    `samples` is how often a cascade asks each one, `judge_usd` and `judge_ms` the most a judgement
    takes. `left_out` says which targets are not tried, and
    why. `spares` serve a cascade whose own targets gave no answer at all.
    """

    targets: tuple[Target, ...]
    cascade: bool
    max_attempts: int
    estimate: Estimate
    samples: int = 1
    left_out: tuple[Exclusion, ...] = ()
    spares: tuple[Target, ...] = ()
    judge_usd: float = 0.0
    judge_ms: float = 0.0
    answers: int = 1

    @property
    def bounds(self) -> WorstCase:
        """The most the plan may take: every attempt made, verified and billed in full.

        The last answer is not asked about further. Times are the expected ones, and a judge's own
        limit.
        """
        sent, written = self.estimate.input_tokens, self.estimate.output_tokens
        tried = self.targets[: self.max_attempts]
        each = [bound_usd(target, sent, written, self.answers) for target in tried]
        cost_usd = self.samples * sum(each)
        times = [target.latency.total_ms(written) for target in tried]
        verified = times[:-1]
        sampled_ms = sum(verified) if self.samples > 1 else 0.0
        return WorstCase(
            cost_usd + len(verified) * self.judge_usd,
            sum(times) + sampled_ms + len(verified) * self.judge_ms,
            tuple((exclusion.target, exclusion.reason) for exclusion in self.left_out),
        )


def plan(order: ExecutionRequest, remaining_s: float = math.inf) -> Plan:
    """The attempts for an order; `remaining_s` is what its deadline leaves now."""
    decision, catalog = order.decision, order.catalog
    named = (decision.target, *decision.fallbacks)
    eligible = tuple(name for name in named if name in catalog.targets)
    if not decision.cascade:
        return _direct(order, _known(catalog, eligible), remaining_s)
    return _cascade(order, _known(catalog, _ladder(order, eligible)), remaining_s)


def _ladder(order: ExecutionRequest, eligible: tuple[str, ...]) -> list[str]:
    """The eligible steps of the cascade's order from the decision's target upwards."""
    catalog, first = order.catalog, order.decision.target
    steps = [name for name in catalog.cascade.order if name in eligible]
    if not steps:
        steps = sorted(dict.fromkeys(eligible), key=lambda name: _price(catalog, name))
    if first in steps:
        steps = steps[steps.index(first) :]
    elif first in eligible:
        steps = [first, *steps]
    return steps[min(order.escalate, max(0, len(steps) - 1)) :]


def _direct(order: ExecutionRequest, targets: tuple[Target, ...], remaining_s: float) -> Plan:
    """One attempt alone is billed as a rule, so each target is bounded by itself."""
    most = max(1, order.catalog.fallback.max_attempts)
    if order.request.limit_usd is None and math.isinf(remaining_s):
        return Plan(targets, False, most, order.decision.estimate)
    kept: list[Target] = []
    out: list[Exclusion] = []
    for target in targets:
        reason = _why_not(order, target, remaining_s, 0.0) if kept else None
        if reason is None:
            kept.append(target)
        else:
            out.append(Exclusion(target.id, reason))
    return Plan(tuple(kept), False, most, order.decision.estimate, left_out=tuple(out))


def _cascade(order: ExecutionRequest, targets: tuple[Target, ...], remaining_s: float) -> Plan:
    """Each step may follow a rejected one, so time and money add up."""
    estimate, catalog = order.decision.estimate, order.catalog
    samples = max(1, catalog.cascade.accept.samples)
    judge_usd = judge_ms = 0.0
    if catalog.cascade.accept.judge and (llm := judge_of(catalog)) is not None:
        answer_chars = CHARS_PER_TOKEN * estimate.output_tokens
        judge_usd = judge_bound_usd(catalog, order.request, answer_chars)
        judge_ms = llm.timeout_ms
    kept: list[Target] = []
    out: list[Exclusion] = []
    spent = waited_s = 0.0
    for target in targets:
        reason = _why_not(order, target, remaining_s - waited_s, spent) if kept else None
        if reason is not None:
            out.append(Exclusion(target.id, reason))
            continue
        kept.append(target)
        bound = order.bound_usd(target)
        spent += samples * bound + judge_usd
        waited_s += expected_latency_ms(target, order) / 1000.0
    names = {target.id for target in targets}
    spares = _known(catalog, (n for n in order.decision.fallbacks if n not in names))
    most = max(1, catalog.fallback.max_attempts)
    verifying = samples, tuple(out), spares, judge_usd, judge_ms
    answers = answers_of(order.request.document)
    return Plan(tuple(kept), True, most, estimate, *verifying, answers)


def _why_not(
    order: ExecutionRequest, target: Target, remaining_s: float, spent_usd: float
) -> str | None:
    limit = order.request.limit_usd
    if limit is not None:
        cost = order.bound_usd(target)
        if spent_usd + cost > limit:
            asked = order.request.options.max_cost_usd
            bound = "max_cost_usd" if asked == limit else "what is left of the key's budget"
            return f"could cost ${spent_usd + cost:.6f}, over {bound}"
    expected_ms = expected_latency_ms(target, order)
    if expected_ms / 1000.0 > remaining_s:
        return f"needs about {expected_ms:.0f} ms of {remaining_s * 1000:.0f} ms"
    return None


def expected_latency_ms(target: Target, order: ExecutionRequest) -> float:
    """Milliseconds until a target can be of use: its first token when streaming, else its last."""
    if order.request.stream and not order.decision.cascade:
        return target.latency.ttft_ms
    return target.latency.total_ms(order.decision.estimate.output_tokens)


def own_patience_s(order: ExecutionRequest, target: Target) -> float:
    """How long a target may take to commit where no deadline is nearer.

    A stream that says nothing is given up earlier (`ttft_timeout_s`); one that sends keep-alives
    may take this long.
    """
    if order.request.stream and not order.decision.cascade:
        return max(target.timeout_s, target.first_token_s)
    return target.timeout_s


def attempt_timeout_s(
    order: ExecutionRequest, target: Target, following: Target | None, remaining_s: float
) -> float:
    """How long one attempt may take to commit.

    With a deadline and a target to fall back to, time is kept for that one (twice what it should
    need, a fifth of what is left at least), as long as this attempt still gets twice its own
    expected time; without, everything that is left.
    """
    patience = min(own_patience_s(order, target), remaining_s)
    if following is None or math.isinf(remaining_s):
        return patience
    reserve = max(2.0 * expected_latency_ms(following, order) / 1000.0, 0.2 * remaining_s)
    if order.decision.cascade:
        reserve = max(reserve, order.catalog.cascade.reserve_ms / 1000.0)
    own = 2.0 * expected_latency_ms(target, order) / 1000.0
    return min(patience, remaining_s - reserve) if remaining_s - reserve >= own else patience


def _known(catalog: Catalog, names: Iterable[str]) -> tuple[Target, ...]:
    """The targets themselves, each once; one that has left the catalog since is passed over."""
    targets = catalog.targets
    return tuple(targets[name] for name in dict.fromkeys(names) if name in targets)


def _price(catalog: Catalog, name: str) -> float:
    price = catalog.targets[name].price
    return 3 * price.input + price.output
