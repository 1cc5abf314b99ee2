"""GET /metrics: Prometheus text. No prompt text, no key material; open, as scrapers expect.

Names of API keys and addresses are for the admin key, unless `LLMROUTER_PUBLIC_DETAILS` says
otherwise. Where tenants are kept apart all of it needs the admin key: it adds all of them up.
"""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.dependencies import SERVICES, sees_details
from llmrouter.domain.patterns import compile_pattern

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_OF_KEYS = tuple(f'{before}{label}="' for before in "{," for label in ("key", "server"))
"""How a series begins the labels that hold the name of a key or the address of a router LLM."""
_ADDRESSES = compile_pattern(r'server_(?:address|port)="[^"]*",?')


async def metrics(request: web.Request) -> web.Response:
    """All metrics the caller may see, of every worker of this service."""
    services = request.app[SERVICES]
    read = services.metrics or services.telemetry.metrics_text
    given = read()
    text = given if isinstance(given, str) else given.decode()
    if not sees_details(request, services):
        text = without_details(text)
    return web.Response(body=text.encode(), headers={"Content-Type": PROMETHEUS})


def without_details(text: str) -> str:
    """The metrics without names of keys and addresses.

    Series of keys and of router LLMs' servers are left out. Series of targets lose the address of
    the upstream; those that are equal without it are added up.
    """
    values: dict[str, float | None] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            values[line] = None
        elif not any(name in line for name in _OF_KEYS):
            series, _, value = line.rpartition(" ")
            if "server_" in series:
                series = _ADDRESSES.sub("", series).replace(",}", "}")
            values[series] = (values.get(series) or 0.0) + float(value)
    return "".join(
        f"{series}\n" if value is None else f"{series} {value:.17g}\n"
        for series, value in values.items()
    )
