"""What the settings say of the start: keys, hosts, edits, the store. Raises Misconfigured."""

from __future__ import annotations

import json
import os

from llmrouter.api.body_limits import DEFAULT_TIMEOUTS, Timeouts
from llmrouter.api.middleware.hosts import HostPolicy, host_policy
from llmrouter.auth.api_keys import Authenticator, parse_keys
from llmrouter.auth.managed_keys import ManagedKeys
from llmrouter.catalog.edit_policy import EditPolicy, key_patterns
from llmrouter.catalog.loader import Overrides
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.domain.interfaces import Store
from llmrouter.errors import LLMRouterError, StoreFailed
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import parse_policies, policies_of, restricted
from llmrouter.settings import Settings, listed
from llmrouter.store.factory import open_store
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.util.addresses import address_policy, is_loopback


class Misconfigured(LLMRouterError):
    """The service cannot start with these settings; the message says what to change."""


def overrides() -> Overrides | None:
    """What `llmrouter demo` and `llmrouter run` tell their workers, or None.

    `LLMROUTER_DEMO_UPSTREAM` is where the demo points every target;
    `LLMROUTER_EMBEDDED_UPSTREAMS` is a JSON object of the embedded models' base URLs.
    """
    if url := os.environ.get("LLMROUTER_DEMO_UPSTREAM"):
        return Overrides(base_url=url, api_key_env=None)
    if embedded := os.environ.get("LLMROUTER_EMBEDDED_UPSTREAMS"):
        return Overrides(embedded=json.loads(embedded))
    return None


def check_exposure(settings: Settings) -> None:
    """Refuse to be reachable from elsewhere without keys. Raises Misconfigured."""
    if not settings.api_keys.get_secret_value() and not is_loopback(settings.host):
        raise Misconfigured(
            f"refusing to listen on {settings.host} without API keys: set LLMROUTER_API_KEYS "
            "(name:key:tier,…), or bind to 127.0.0.1"
        )


def store_of(settings: Settings) -> Store:
    """The store that LLMROUTER_STORE names. Raises Misconfigured."""
    try:
        return open_store(settings.store, shared=settings.workers > 1)
    except StoreFailed as failure:
        raise Misconfigured(f"LLMROUTER_STORE: {failure}") from None


def timeouts_of(settings: Settings) -> Timeouts:
    """How long a client may take to send a request."""
    return Timeouts(
        header_s=settings.header_timeout_s,
        idle_s=settings.idle_timeout_s,
        body_silence_s=min(DEFAULT_TIMEOUTS.body_silence_s, settings.body_timeout_s),
        body_s=settings.body_timeout_s,
    )


def edits_of(settings: Settings) -> EditPolicy:
    """What edits over HTTP may have the service read and reach. Raises Misconfigured."""
    try:
        keys = key_patterns(listed(settings.catalog_keys))
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_CATALOG_KEYS: {error}") from None
    return EditPolicy(keys, address_policy(listed(settings.catalog_hosts)), settings.catalog_files)


def hosts_of(settings: Settings) -> HostPolicy:
    """Which Host and Origin headers are served. Raises Misconfigured for all without keys."""
    open_to_all = not settings.api_keys.get_secret_value()
    policy = host_policy(settings.hosts, settings.cors_origins, settings.host)
    if open_to_all and "*" in policy.names | policy.origins:
        raise Misconfigured(
            "without API keys every web page could call this service: name the hosts and origins "
            "in LLMROUTER_HOSTS and LLMROUTER_CORS_ORIGINS in place of *, or set LLMROUTER_API_KEYS"
        )
    return policy


def keys_of(
    settings: Settings, store: Store, telemetry: Telemetry
) -> tuple[Authenticator, RateLimiter, ManagedKeys]:
    """The keys, their limits, and those made while it runs. Raises Misconfigured."""
    try:
        keys = parse_keys(settings.api_keys.get_secret_value())
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_API_KEYS: {error}") from None
    try:
        policies = parse_policies(settings.key_limits)
        keys = restricted(keys, policies)
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_KEY_LIMITS: {error}") from None
    admin = settings.admin_key.get_secret_value() or None
    names = {key.name for key in keys} or {ANONYMOUS.name}
    if strangers := sorted(policies.keys() - names - {"*", "admin"}):
        raise Misconfigured(
            f"LLMROUTER_KEY_LIMITS: there is no key called {', '.join(strangers)}; "
            f"there are {', '.join(sorted(names))}, and * for the rest"
        )
    keyring = Authenticator(keys, admin, isolate=settings.isolate_tenants)
    limits = RateLimiter(policies, store, telemetry.count)
    managed = ManagedKeys(
        store,
        keyring,
        lambda wanted: limits.manage(policies_of(wanted)),
        lambda made: restricted(made, policies),
    )
    return keyring, limits, managed
