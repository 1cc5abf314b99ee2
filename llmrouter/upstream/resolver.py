"""Looks names up for connections to models, and leaves out the addresses they may not go to.

A name can be given another address after the catalog was checked, so the address counts that the
connection is made to. An address that a catalog file itself names is not looked up: the operator
wrote it, or the edit was checked (`catalog.edit_policy`).
"""

from __future__ import annotations

import socket
import ssl

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from llmrouter.util.addresses import NO_METADATA, AddressPolicy


class CheckedResolver(AbstractResolver):
    """The system's own look-up, held to a policy."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be reached. Raises OSError where there are none."""
        found = await self._inner.resolve(host, port, family)
        if self._policy.lists(host):
            return found
        reachable = [one for one in found if self._policy.permits(one["host"])]
        if found and not reachable:
            raise OSError(
                f"{host} resolves to a link-local or metadata address, which is refused: "
                "list the host in LLMROUTER_CATALOG_HOSTS"
            )
        return reachable

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


def connector(
    policy: AddressPolicy = NO_METADATA, trust: ssl.SSLContext | None = None
) -> TCPConnector:
    """A connector without limits of its own, whose look-ups are held to the policy.

    `trust` replaces the system's certificates.
    """
    return TCPConnector(
        limit=0,
        limit_per_host=0,
        ttl_dns_cache=60,
        resolver=CheckedResolver(policy),
        ssl=True if trust is None else trust,
    )
