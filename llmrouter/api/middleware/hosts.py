"""Which names this service answers to, and which pages of other sites may call it.

A page can point its own name at 127.0.0.1 and then reads a service on the loopback as its own
origin (DNS rebinding). Its requests carry that name in `Host`, so a name that is not this service's
gets 421. Addresses in figures cannot be pointed elsewhere and are always answered: probes use
them. `X-Forwarded-Host` is never read: anyone can send it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from llmrouter.errors import CrossOrigin, Misdirected

LOOPBACK: Final = frozenset({"localhost", "ip6-localhost"})
CORS: web.RequestKey[Mapping[str, str]] = web.RequestKey("cors", dict)
"""The headers with which a page of an allowed origin may read the answer."""
_EXPOSED: Final = "x-llmrouter-decision-id, x-llmrouter-target, x-llmrouter-source, Retry-After"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """`names` are answered besides the loopback's (`*.example.com` for a domain, `*` for all).

    Pages of `origins` (`https://app.example.com`) may call and read answers; `*` is every page.
    """

    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def check(self, headers: Mapping[str, str], *, keyless: bool) -> Mapping[str, str] | None:
        """The CORS headers of the answer, or None. Raises Misdirected, CrossOrigin.

        `keyless` says that a key should tell who calls and none is asked for: then pages of other
        sites are refused. Public paths hold nothing of anyone's.
        """
        host = headers.get("Host")
        if host is not None and not self.answers(host):
            raise Misdirected(
                f"this service does not answer to {_shown(host)}; its operator can add the name "
                "to LLMROUTER_HOSTS"
            )
        origin = headers.get("Origin")
        if origin is None:
            return None
        if origin in self.origins or "*" in self.origins:
            return {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Expose-Headers": _EXPOSED,
                "Vary": "Origin",
            }
        if keyless and origin.rpartition("//")[2] != host:
            raise CrossOrigin("pages of other sites may not call a service without keys")
        return None

    def answers(self, host: str) -> bool:
        """Whether a `Host` header names this service; its port does not count."""
        name = _name(host)
        if name in LOOPBACK or name.endswith(".localhost") or name in self.names:
            return True
        if "*" in self.names or any(
            f"*{name[at:]}" in self.names for at, one in enumerate(name) if one == "."
        ):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


ANY_HOST: Final = HostPolicy(frozenset({"*"}))


def host_policy(names: str, origins: str, bound: str) -> HostPolicy:
    """The policy of settings: lists with commas, and the address that is listened on."""
    return HostPolicy(
        frozenset(_name(name) for name in (*_listed(names), bound)),
        frozenset(origin.rstrip("/") for origin in _listed(origins)),
    )


def preflight(cors: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """What a browser is told before it sends a request of its own making."""
    asked = headers.get("Access-Control-Request-Headers", "authorization, content-type, x-api-key")
    return {**cors, **_PREFLIGHT, "Access-Control-Allow-Headers": asked[:1000]}


def _listed(text: str) -> Iterable[str]:
    return (one.strip() for one in text.split(",") if one.strip())


def _name(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        address, _, rest = host[1:].partition("]")
        return address if not rest or rest.startswith(":") else host
    if host.count(":") > 1:  # an IPv6 address as settings spell it
        return host
    return host.partition(":")[0].rstrip(".")


def _shown(host: str) -> str:
    return repr("".join(one for one in host[:100] if one.isprintable()))
