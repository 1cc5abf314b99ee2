"""GET /metrics: Prometheus text. No prompt text, no key material; open, as scrapers expect.

Series that name API keys or addresses are for the admin key, unless `LLMROUTER_PUBLIC_DETAILS` says
otherwise. Where tenants are kept apart all of it needs the admin key: it adds all of them up.
"""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.dependencies import SERVICES, sees_details

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


_NAMING = tuple(f'{before}{label}="' for before in "{," for label in ("key", "server"))
"""How a series begins the labels that hold a key's name or an address."""


async def metrics(request: web.Request) -> web.Response:
    """All metrics the caller may see, of every worker of this service."""
    services = request.app[SERVICES]
    read = services.metrics or services.telemetry.metrics_text
    given = read()
    text = given if isinstance(given, str) else given.decode()
    if not sees_details(request, services):
        text = "".join(
            line for line in text.splitlines(keepends=True) if not any(n in line for n in _NAMING)
        )
    body = text.encode()
    return web.Response(body=body, headers={"Content-Type": PROMETHEUS})
