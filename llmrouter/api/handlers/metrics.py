"""GET /metrics: Prometheus text. No prompt text, no key material; open, as scrapers expect.

Where tenants are kept apart it needs the admin key: it adds all of them up.
"""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.dependencies import SERVICES

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: web.Request) -> web.Response:
    """All metrics, of every worker of this service."""
    services = request.app[SERVICES]
    read = services.metrics or services.telemetry.metrics_text
    text = read()
    body = text.encode() if isinstance(text, str) else text
    return web.Response(body=body, headers={"Content-Type": PROMETHEUS})
