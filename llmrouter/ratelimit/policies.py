"""What a key may use, as settings and the admin's calls spell it. Pure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from llmrouter.auth.api_keys import ApiKey
from llmrouter.domain.patterns import compile_pattern
from llmrouter.ratelimit.sliding_window import Quota

log = logging.getLogger(__name__)

UNITS: Final = ("requests", "tokens", "spend_usd")
_SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUOTA = compile_pattern(r"(\d+(?:\.\d+)?)/(\d*)([smhd])")


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
        limits: dict[str, str] = {}
        allow: frozenset[str] | None = None
        for setting in settings:
            what, _, value = setting.partition("=")
            if what == "allow" and value:
                allow = frozenset(value.split("|"))
            else:
                limits[what] = value
        try:
            policies[name] = replace(policy_of(limits), allow=allow)
        except PoliciesInvalid as error:
            raise PoliciesInvalid(f"limits of {name}: {error}, or allow=id|id") from None
    return policies


def policy_of(limits: Mapping[str, str]) -> KeyPolicy:
    """Read `{"requests": "60/m", "spend_usd": "5/d"}`. Raises PoliciesInvalid."""
    quotas: dict[str, Quota] = {}
    for what, value in limits.items():
        found = _QUOTA.fullmatch(value)
        if what not in UNITS or found is None:
            raise PoliciesInvalid(
                f"{what}={value} is not requests=, tokens= or spend_usd= with a quota such as 60/m"
            )
        limit, count, unit = found.groups()
        quota = Quota(float(limit), float(count or 1) * _SPANS[unit])
        if quota.limit <= 0 or quota.window_s <= 0:
            raise PoliciesInvalid(f"{what}={value} must be above zero")
        quotas[what] = quota
    return KeyPolicy(quotas.get("requests"), quotas.get("tokens"), quotas.get("spend_usd"))


def policies_of(limits: Mapping[str, Mapping[str, str]]) -> dict[str, KeyPolicy]:
    """The policies of names; those that cannot be read are logged and left out."""
    found = {}
    for name, one in limits.items():
        try:
            found[name] = policy_of(one)
        except PoliciesInvalid as error:
            log.error("the limits of %s cannot be read: %s", name, error)
    return found


def restricted(keys: tuple[ApiKey, ...], policies: Mapping[str, KeyPolicy]) -> tuple[ApiKey, ...]:
    """The keys with the targets that their own entry and their policies allow them."""
    star = policies.get("*", UNLIMITED)
    return tuple(
        replace(key, allow=_both(key.allow, policies.get(key.name, star).allow)) for key in keys
    )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
