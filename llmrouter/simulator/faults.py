"""Failures on request, for tests against the simulator.

| header | what happens |
| --- | --- |
| `x-sim-latency-ms: N` | the first byte takes N ms, whatever the model's profile says |
| `x-sim-status: N` | an error answer with that status, in OpenAI's shape |
| `x-sim-fault: hang` | no answer at all |
| `x-sim-fault: drop` | the connection is cut before an answer |
| `x-sim-fault: cut` | the connection is cut in the middle of the answer |
| `x-sim-fault: html` | a 200 with a page instead of JSON |
| `x-sim-fault: empty` | a 200 with nothing in it |
| `x-sim-fault: error` | a 200 with an error inside |
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

HANG_S = 3600.0
NAMES = frozenset({"hang", "drop", "cut", "html", "empty", "error"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request's headers ask for."""

    latency_s: float | None = None
    status: int | None = None
    fault: str | None = None


NOTHING = Wish()


def wish(headers: Mapping[str, str]) -> Wish:
    """The request's wish. Raises ValueError where it cannot be read."""
    latency, status = headers.get("x-sim-latency-ms"), headers.get("x-sim-status")
    fault = headers.get("x-sim-fault")
    if latency is None and status is None and fault is None:
        return NOTHING
    if fault is not None and fault not in NAMES:
        raise ValueError(f"x-sim-fault is one of {', '.join(sorted(NAMES))}, not {fault!r}")
    code = None if status is None else int(status)
    if code is not None and not 400 <= code <= 599:
        raise ValueError(f"x-sim-status is an error status, not {code}")
    wait_s = None if latency is None else float(latency) / 1000.0
    if wait_s is not None and not 0 <= wait_s <= HANG_S:
        raise ValueError(f"x-sim-latency-ms is within an hour, not {latency}")
    return Wish(wait_s, code, fault)


async def strike(request: web.Request, fault: str) -> web.Response | None:
    """Do what a fault says instead of an answer; None where the answer begins all the same."""
    headers = {"x-simulated": "true"}
    if fault == "hang":
        await asyncio.sleep(HANG_S)
    if fault == "drop":
        cut(request)
        return web.Response(headers=headers)
    if fault == "html":
        page = "<html><body>simulated</body></html>"
        return web.Response(text=page, content_type="text/html", headers=headers)
    if fault == "empty":
        return web.Response(content_type="application/json", headers=headers)
    if fault == "error":
        body = b'{"error":{"message":"simulated: an error inside a 200","type":"server_error"}}'
        return web.Response(body=body, content_type="application/json", headers=headers)
    return None


def cut(request: web.Request) -> None:
    """Close the connection at once, without the rest of the answer."""
    if request.transport is not None:
        request.transport.abort()
