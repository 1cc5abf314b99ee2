"""Per-key limits: requests, tokens and money, each in a sliding window, all off unless set.

A request is counted when it arrives. Tokens and money are known only afterwards, so an estimate
is reserved first and replaced by the truth when the reply is out: a burst cannot pass a budget
together. When less than the estimate is left, the rest is reserved and becomes the request's
`max_cost_usd`, so that the end of a budget still buys what it can. A store that fails lets
requests pass and is counted: limits protect a budget, they must not become the outage.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from llmrouter.api.keys import ApiKey
from llmrouter.api.window import Grant, Quota, Refusal, SlidingWindow
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.ports import Store
from llmrouter.domain.reply import Completion
from llmrouter.errors import RateLimited, StoreFailed

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
ASSUMED_OUTPUT_TOKENS = 512
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUOTA = re.compile(r"(\d+(?:\.\d+)?)/(\d*)([smhd])")


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What one key may use. Each quota is off when None; `allow` limits its targets."""

    requests: Quota | None = None
    tokens: Quota | None = None
    spend_usd: Quota | None = None
    allow: frozenset[str] | None = None


UNLIMITED = KeyPolicy()


class PoliciesInvalid(ValueError):
    """The configured limits cannot be read."""


def parse_policies(text: str) -> dict[str, KeyPolicy]:
    """Read `name requests=60/m tokens=100000/h; * spend_usd=5/d allow=a|b`. Raises PoliciesInvalid.

    Entries are separated by `;`. A quota is a number, a slash and a span (`30/10s`, `60/m`,
    `5/d`). The name `*` is the policy of every key that has none of its own.
    """
    policies: dict[str, KeyPolicy] = {}
    for entry in filter(None, (part.split() for part in text.split(";"))):
        name, *settings = entry
        if name in policies or not settings:
            raise PoliciesInvalid(f"limits of {name}: write each key once, with its limits")
        read: dict[str, Quota | frozenset[str]] = {}
        for setting in settings:
            what, _, value = setting.partition("=")
            if what == "allow" and value:
                read[what] = frozenset(value.split("|"))
                continue
            found = _QUOTA.fullmatch(value)
            if what not in ("requests", "tokens", "spend_usd") or found is None:
                raise PoliciesInvalid(
                    f"limits of {name}: {setting} is not requests=, tokens= or spend_usd= with a "
                    "quota such as 60/m, or allow=id|id"
                )
            limit, count, unit = found.groups()
            quota = Quota(float(limit), float(count or 1) * _UNITS[unit])
            if quota.limit <= 0 or quota.window_s <= 0:
                raise PoliciesInvalid(f"limits of {name}: {setting} must be above zero")
            read[what] = quota
        policies[name] = KeyPolicy(**read)  # type: ignore[arg-type]  # one dict, checked above
    return policies


def restricted(keys: tuple[ApiKey, ...], policies: Mapping[str, KeyPolicy]) -> tuple[ApiKey, ...]:
    """The keys with the targets their policies allow them."""
    star = policies.get("*", UNLIMITED)
    return tuple(replace(key, allow=policies.get(key.name, star).allow) for key in keys)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one request holds until its cost is known."""

    tokens: Grant | None
    spend: Grant | None


@dataclass(frozen=True, slots=True)
class _Windows:
    requests: SlidingWindow | None
    tokens: SlidingWindow | None
    spend: SlidingWindow | None


class Limits:
    """All keys' windows. Policies are by key name; `*` serves names without one."""

    def __init__(
        self,
        policies: Mapping[str, KeyPolicy],
        store: Store,
        count: Callable[[str, float, Mapping[str, str]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policies = policies
        self._store = store
        self._count = count
        self._clock = clock
        self._windows: dict[str, _Windows] = {}

    def policy(self, name: str) -> KeyPolicy:
        """The policy a key name falls under."""
        return self._policies.get(name) or self._policies.get("*", UNLIMITED)

    async def admit(self, caller: Caller) -> None:
        """Count one request. Raises RateLimited."""
        window = self._of(caller).requests
        if window is not None and (refused := await self._take(window, 1.0)):
            raise _limited(caller, "requests", window.quota, refused)

    async def reserve(
        self, caller: Caller, request: ChatRequest, catalog: Catalog
    ) -> tuple[Reservation | None, ChatRequest]:
        """Hold what the request may use; the request comes back with what its budget allows.

        Raises RateLimited when a quota is used up.
        """
        windows = self._of(caller)
        if windows.tokens is None and windows.spend is None:
            return None, request
        read, written = _estimate_tokens(request)
        tokens: Grant | None = None
        if windows.tokens is not None:
            got = await self._take_partly(windows.tokens, float(read + written))
            if isinstance(got, Refusal):
                raise _limited(caller, "tokens", windows.tokens.quota, got)
            tokens = got
        spend: Grant | None = None
        if windows.spend is not None:
            dearest = max((t.price.cost(read, written) for t in catalog.enabled), default=0.0)
            if request.options.max_cost_usd is not None:
                dearest = min(dearest, request.options.max_cost_usd)
            got = await self._take_partly(windows.spend, dearest)
            if isinstance(got, Refusal):
                await self.settle(caller, Reservation(tokens, None), None)
                raise _limited(caller, "spend_usd", windows.spend.quota, got)
            spend = got
            if spend is not None and spend.amount < dearest:
                options = replace(request.options, max_cost_usd=spend.amount)
                request = replace(request, options=options)
        return Reservation(tokens, spend), request

    async def settle(
        self,
        caller: Caller,
        held: Reservation,
        completion: Completion | None,
        router_usd: float = 0.0,
    ) -> None:
        """Replace a reservation by what was used; None when nothing was executed."""
        windows = self._of(caller)
        tokens, cost = 0.0, router_usd
        if completion is not None:
            cost += completion.cost_usd
            tokens = float(
                sum(a.usage.input_tokens + a.usage.output_tokens for a in completion.attempts)
            )
        try:
            if windows.tokens is not None and held.tokens is not None:
                await windows.tokens.settle(held.tokens, tokens)
            if windows.spend is not None and held.spend is not None:
                await windows.spend.settle(held.spend, cost)
        except StoreFailed as error:
            self._store_failed(error)

    async def charge(self, caller: Caller, cost_usd: float) -> None:
        """Count money that was spent without a reservation, such as the router LLM's."""
        window = self._of(caller).spend
        if window is None or cost_usd <= 0.0:
            return
        try:
            await window.settle(Grant(0, 0.0), cost_usd)
        except StoreFailed as error:
            self._store_failed(error)

    async def _take(self, window: SlidingWindow, amount: float) -> Refusal | None:
        try:
            got = await window.take(amount)
        except StoreFailed as error:
            self._store_failed(error)
            return None
        return got if isinstance(got, Refusal) else None

    async def _take_partly(self, window: SlidingWindow, amount: float) -> Grant | Refusal | None:
        """None when the store failed, which lets the request pass."""
        try:
            return await window.take(amount, partly=True)
        except StoreFailed as error:
            self._store_failed(error)
            return None

    def _of(self, caller: Caller) -> _Windows:
        windows = self._windows.get(caller.name)
        if windows is None:
            policy = self.policy(caller.name)
            windows = _Windows(
                self._window(caller.name, "requests", policy.requests),
                self._window(caller.name, "tokens", policy.tokens),
                self._window(caller.name, "spend", policy.spend_usd),
            )
            self._windows[caller.name] = windows  # as many as there are keys
        return windows

    def _window(self, name: str, what: str, quota: Quota | None) -> SlidingWindow | None:
        if quota is None:
            return None
        return SlidingWindow(self._store, f"limit:{name}:{what}", quota, self._clock)

    def _store_failed(self, error: StoreFailed) -> None:
        log.warning("limits could not be counted, requests pass: %s", error)
        if self._count is not None:
            self._count("llmrouter.limits.store_errors", 1.0, {})


def _estimate_tokens(request: ChatRequest) -> tuple[int, int]:
    """Input and output tokens a request may use, by its size and what it asks for."""
    asked = request.document.get("max_completion_tokens") or request.document.get("max_tokens")
    written = int(asked) if isinstance(asked, (int, float)) else ASSUMED_OUTPUT_TOKENS
    return len(request.body) // BYTES_PER_TOKEN + 1, written


def _limited(caller: Caller, what: str, quota: Quota, refused: Refusal) -> RateLimited:
    unit = {"requests": "requests", "tokens": "tokens", "spend_usd": "USD"}[what]
    code = "insufficient_quota" if what == "spend_usd" else "rate_limit_exceeded"
    return RateLimited(
        f"{caller.name} has used its {quota.limit:g} {unit} per {quota.window_s:g} s",
        code=code,
        retry_after_s=refused.retry_after_s,
    )
