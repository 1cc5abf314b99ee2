"""Per-key limits: requests, tokens and money, each in a sliding window, all off unless set.

A request is counted when it arrives. Tokens and money are known only afterwards, so an estimate
is reserved first and replaced by the truth when the reply is out: a burst cannot pass a budget
together. What is reserved is the most the request may come to: at the dearest target in reach, at
every step of a cascade, with the router LLM's call. Nothing that a caller says lowers it. When less
than that is left, the rest is reserved and becomes the request's `budget`, so that the end of a
quota still buys from cheap targets; where it buys nothing, the caller hears 429 and when it does
again. A store that fails lets requests pass for a moment, without asking it again, and is counted:
limits protect a budget, they must not become the outage.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Budget, Caller, ChatRequest
from llmrouter.domain.completion import Completion
from llmrouter.domain.features import answers_of, output_limit
from llmrouter.domain.interfaces import Store
from llmrouter.errors import RateLimited, StoreFailed
from llmrouter.ratelimit.policies import UNLIMITED, KeyPolicy
from llmrouter.ratelimit.quota_lease import REST_S, QuotaLease
from llmrouter.ratelimit.sliding_window import Quota, QuotaExceeded, Reservation, SlidingWindow
from llmrouter.ratelimit.worst_case import (
    ASSUMED_OUTPUT_TOKENS,
    WorstCases,
    estimate_tokens,
    routing_usd,
)
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

_FORGET = 0.02
QUIET_S = 1.0  # how long a store that failed is left alone


@dataclass(slots=True)
class RequestReservation:
    """What one request holds until its cost is known, of which allowances.

    `unlimited` is how many answers it asks for without a limit on their length; 0 with one.
    """

    tokens: Reservation | None
    spend: Reservation | None
    held_of: _Allowances | None = None
    unlimited: int = 0


class _Allowances:
    """One key's quotas; `shown` is what `x-ratelimit-*` headers are written from.

    `longest` is about how many tokens its longest answers without a limit have had of late.
    """

    def __init__(
        self, requests: QuotaLease | None, tokens: QuotaLease | None, spend: QuotaLease | None
    ) -> None:
        self.requests = requests
        self.tokens = tokens
        self.spend = spend
        self.longest = float(ASSUMED_OUTPUT_TOKENS)
        self.shown = [
            (
                tuple(f"x-ratelimit-{what}-{name}" for what in ("limit", "remaining", "reset")),
                f"{allowance.quota.limit:.12g}",
                amount,
                allowance,
            )
            for name, allowance, amount in (
                ("requests", requests, _units),
                ("tokens", tokens, _units),
                ("spend-usd", spend, _money),
            )
            if allowance is not None
        ]

    def written(self, tokens: float) -> None:
        """An answer without a limit had so many tokens; a shorter one counts a little."""
        if tokens > self.longest:
            self.longest = tokens
        else:
            least = max(tokens, ASSUMED_OUTPUT_TOKENS)
            self.longest += _FORGET * (least - self.longest)


def _within(request: ChatRequest, budget: Budget, catalog: Catalog) -> ChatRequest:
    """The request with what is left of its key's budget, less what deciding may cost.

    Where that would take it all, the router LLM is not asked.
    """
    routing = routing_usd(request, catalog)
    if routing < budget.left_usd:
        left = replace(budget, left_usd=budget.left_usd - routing)
        return replace(request, budget=left, kept=False)
    options = replace(request.options, strategy="rules")
    return replace(request, budget=budget, options=options, kept=False)


class RateLimiter:
    """All keys' allowances. Policies are by key name; `*` serves names without one.

    `active` is whether any key is limited. What `manage` is given wins over `policies`.
    """

    def __init__(
        self,
        policies: Mapping[str, KeyPolicy],
        store: Store,
        count: Callable[[str, float, Mapping[str, str]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policies = policies
        self._managed: Mapping[str, KeyPolicy] = {}
        self.active = bool(policies)
        self._store = store
        self._count = count
        self._clock = clock
        self._allowances: dict[str, _Allowances] = {}
        self._worst = WorstCases()
        self._quiet_until = 0.0

    def policy(self, name: str) -> KeyPolicy:
        """The policy a key name falls under."""
        own = self._managed.get(name) or self._policies.get(name)
        return own or self._policies.get("*", UNLIMITED)

    async def manage(self, policies: Mapping[str, KeyPolicy]) -> None:
        """Let these policies, and no others, win over those it was made with.

        What a key has used counts on, as long as a quota keeps its span.
        """
        before, self._managed = self._managed, dict(policies)
        self.active = bool(self._policies or policies)
        for name in before.keys() | policies.keys():
            if before.get(name) != policies.get(name):
                await self._give_back(self._allowances.pop(name, None))

    async def usage(self, name: str) -> list[dict[str, Any]]:
        """How a key's quotas stand, over all workers: unit, limit, used, window_s."""
        policy = self.policy(name)
        found = []
        for unit in ("requests", "tokens", "spend_usd"):
            quota: Quota | None = getattr(policy, unit)
            if quota is None:
                continue
            window = self._window(name, unit, quota)
            try:
                used = round(await window.used(), 9)
            except StoreFailed as error:
                log.warning("a quota cannot be read: %s", error)
                continue
            found.append(
                {"unit": unit, "limit": quota.limit, "used": used, "window_s": quota.window_s}
            )
        return found

    async def admit(self, caller: Caller) -> None:
        """Count one request. Raises RateLimited."""
        allowance = self._of(caller).requests
        if allowance is not None and allowance.at_once(1.0) is None:
            await self._hold(caller, "requests", allowance, 1.0, partly=False)

    async def reserve(
        self, caller: Caller, request: ChatRequest, catalog: Catalog
    ) -> tuple[RequestReservation | None, ChatRequest]:
        """Hold what the request may use; the request comes back with what its budget allows.

        Raises RateLimited when a quota is used up.
        """
        allowances = self._of(caller)
        if allowances.tokens is None and allowances.spend is None:
            return None, request
        size = estimate_tokens(request, int(allowances.longest))
        pinned = None if request.model is None else catalog.named(request.model)
        tokens: Reservation | None = None
        spend: Reservation | None = None
        if allowances.tokens is not None:
            used = float(self._worst.most_tokens(caller, request, catalog, size))
            tokens = allowances.tokens.at_once(used)
            if tokens is None:
                tokens = await self._hold(caller, "tokens", allowances.tokens, used)
        if allowances.spend is not None:
            cost = self._worst.most_usd(caller, request, catalog, size)
            whole = pinned is not None  # a pinned target is not changed for a cheaper one
            try:
                spend = allowances.spend.at_once(cost)
                if spend is None:
                    spend = await self._hold(
                        caller, "spend_usd", allowances.spend, cost, partly=not whole
                    )
            except BaseException:  # refused, or the caller left
                await self.settle(caller, RequestReservation(tokens, None, allowances), None)
                raise
            if spend is not None and spend.amount < cost:
                returns_in_s = allowances.spend.returns_in_s(cost - spend.amount)
                request = _within(request, Budget(spend.amount, returns_in_s), catalog)
        document = request.document
        unlimited = answers_of(document) if output_limit(document) is None else 0
        return RequestReservation(tokens, spend, allowances, unlimited), request

    async def extend(self, caller: Caller, held: RequestReservation, cost_usd: float) -> bool:
        """Hold `cost_usd` in all for a request that comes to more than was foreseen.

        False where its key has not so much left.
        """
        allowances, known = held.held_of or self._of(caller), held.spend
        allowance = allowances.spend
        if allowance is None or known is None or cost_usd <= known.amount:
            return True
        try:
            got = await allowance.take(cost_usd - known.amount)
        except StoreFailed as error:
            self._store_failed(error)
            return True
        if isinstance(got, QuotaExceeded):
            return False
        held.spend = Reservation(got.index, known.amount + got.amount)
        return True

    async def settle(
        self,
        caller: Caller,
        held: RequestReservation,
        completion: Completion | None,
        router_usd: float = 0.0,
    ) -> None:
        """Replace a reservation by what was used; None when nothing was executed."""
        allowances = held.held_of or self._of(caller)
        tokens, cost = 0.0, router_usd
        if completion is not None:
            cost += completion.cost_usd
            for attempt in completion.attempts:
                tokens += attempt.usage.input_tokens + attempt.usage.output_tokens
                if held.unlimited:
                    allowances.written(attempt.usage.output_tokens / held.unlimited)
        try:
            if allowances.tokens is not None and held.tokens is not None:
                await allowances.tokens.settle(held.tokens, tokens)
            if allowances.spend is not None and held.spend is not None:
                await allowances.spend.settle(held.spend, cost)
        except StoreFailed as error:
            self._store_failed(error)

    async def reserve_routing(
        self, caller: Caller, request: ChatRequest, catalog: Catalog
    ) -> RequestReservation | None:
        """Hold what deciding alone may cost: a call of the router LLM. Raises RateLimited."""
        allowances = self._of(caller)
        spend = allowances.spend
        cost = 0.0 if spend is None else routing_usd(request, catalog)
        if spend is None or cost <= 0.0:
            return None
        held = spend.at_once(cost)
        if held is None:
            held = await self._hold(caller, "spend_usd", spend, cost, partly=False)
        return RequestReservation(None, held, allowances)

    async def charge(self, caller: Caller, cost_usd: float) -> None:
        """Count money that was spent without a reservation, such as the router LLM's."""
        if cost_usd > 0.0 and self._of(caller).spend is not None:
            await self.settle(caller, RequestReservation(None, Reservation(0, 0.0)), None, cost_usd)

    def headers(self, caller: Caller) -> dict[str, str]:
        """How the caller's quotas stand, under the names OpenAI's clients read."""
        shown: dict[str, str] = {}
        for names, limit, amount, allowance in self._of(caller).shown:
            standing = allowance.standing()
            shown[names[0]] = limit
            shown[names[1]] = amount(standing.remaining)
            shown[names[2]] = duration(standing.reset_s)
        return shown

    async def run(self) -> None:
        """Give back what is held in vain, until cancelled; then everything."""
        try:
            await repeatedly(self._rest, REST_S)
        finally:
            await self._rest(at_end=True)

    async def _rest(self, *, at_end: bool = False) -> None:
        for allowances in list(self._allowances.values()):
            await self._give_back(allowances, at_end=at_end)

    async def _give_back(self, allowances: _Allowances | None, *, at_end: bool = True) -> None:
        for *_, allowance in () if allowances is None else allowances.shown:
            try:
                await allowance.rest(at_end=at_end)
            except StoreFailed as error:
                self._store_failed(error)

    async def _hold(
        self,
        caller: Caller,
        what: str,
        allowance: QuotaLease,
        amount: float,
        *,
        partly: bool = True,
    ) -> Reservation | None:
        """Take from a quota; None when the store failed, which lets the request pass.

        Raises RateLimited.
        """
        if self._clock() < self._quiet_until:
            self._pass()
            return None
        try:
            got = await allowance.take(amount, partly=partly)
        except StoreFailed as error:
            self._store_failed(error)
            return None
        if isinstance(got, QuotaExceeded):
            raise _limited(caller, what, allowance.quota, got, amount)
        return got

    def _of(self, caller: Caller) -> _Allowances:
        allowances = self._allowances.get(caller.name)
        if allowances is None:
            policy = self.policy(caller.name)
            allowances = _Allowances(
                self._allowance(caller.name, "requests", policy.requests),
                self._allowance(caller.name, "tokens", policy.tokens),
                self._allowance(caller.name, "spend_usd", policy.spend_usd),
            )
            self._allowances[caller.name] = allowances  # as many as there are keys
        return allowances

    def _allowance(self, name: str, what: str, quota: Quota | None) -> QuotaLease | None:
        if quota is None:
            return None
        return QuotaLease(self._window(name, what, quota))

    def _window(self, name: str, what: str, quota: Quota) -> SlidingWindow:
        key = f"limit:{name}:{what}:{quota.window_s:g}"
        return SlidingWindow(self._store, key, quota, self._clock)

    def _store_failed(self, error: StoreFailed) -> None:
        log.warning("limits could not be counted, requests pass: %s", error)
        self._quiet_until = self._clock() + QUIET_S
        self._pass()

    def _pass(self) -> None:
        if self._count is not None:
            self._count("llmrouter.limits.store_errors", 1.0, {})


def duration(seconds: float) -> str:
    """A span as OpenAI writes them: `6m0s`, `1.5s`, `20ms`. Rounded up."""
    ms = math.ceil(seconds * 1000.0 - 1e-6)
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{ms / 1000:g}s"


def _units(amount: float) -> str:
    """Whole units, rounded down."""
    return str(int(amount + 1e-6))


def _money(amount: float) -> str:
    """Money to a ten-thousandth of a cent, rounded down."""
    return f"{int(amount * 1e6 + 1e-3) / 1e6:.12g}"


def _limited(
    caller: Caller, what: str, quota: Quota, refused: QuotaExceeded, amount: float
) -> RateLimited:
    unit = {"requests": "requests", "tokens": "tokens", "spend_usd": "USD"}[what]
    code = "insufficient_quota" if what == "spend_usd" else "rate_limit_exceeded"
    allowed = f"{quota.limit:g} {unit} per {quota.window_s:g} s"
    return RateLimited(
        f"this request may take {amount:.6g} {unit}, {caller.name} has {allowed}"
        if amount > quota.limit
        else f"{caller.name} has used its {allowed}",
        code=code,
        retry_after_s=refused.retry_after_s,
    )
