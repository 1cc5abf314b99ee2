"""Liveness and readiness. A broken catalog edit is shown, and does not take the service down."""

from __future__ import annotations

import time

import orjson
from aiohttp import web

from llmrouter.api.dependencies import SERVICES, sees_details
from llmrouter.api.error_response import JSON
from llmrouter.api.load_shedding import Phase

NO_STORE = {"Content-Type": JSON, "Cache-Control": "no-store"}


async def healthz(request: web.Request) -> web.Response:
    """200 while the process answers at all."""
    services = request.app[SERVICES]
    body = {
        "status": "ok",
        "version": services.version,
        "uptime_s": round(max(0.0, time.time() - services.started_at), 3),
    }
    return web.Response(body=orjson.dumps(body), headers=NO_STORE)


async def readyz(request: web.Request) -> web.Response:
    """200 when a target can serve, else 503; catalog problems are in the body either way."""
    services = request.app[SERVICES]
    details = sees_details(request, services)
    problems = [
        {"file": problem.file, "line": problem.line, "message": problem.message}
        if details
        else {"message": "a catalog file is not valid; the admin key sees which"}
        for problem in services.catalog.problems
    ]
    version: str | None = None
    targets = usable = 0
    unusable: list[dict[str, str | None]] = []
    try:
        catalog = services.catalog.current
        version, targets = catalog.version, len(catalog.enabled)
    except Exception:
        status = "no catalog"
    else:
        usable = len(catalog.usable)
        unusable = [
            {"target": target.id, "reason": target.unusable}
            for target in catalog.enabled
            if target.unusable is not None
        ]
        phase = services.admission.phase
        status = "ready" if phase is Phase.SERVING else phase.value
        if status == "ready" and not usable:
            status = "no target can serve"
    body = {
        "status": status,
        "running": services.admission.running,
        "store": _store(services.store_problem(), details=details),
        "catalog": {
            "version": version,
            "targets": targets,
            "usable": usable,
            "unusable": unusable,
            "problems": problems,
        },
    }
    return web.Response(
        status=200 if status == "ready" else 503, body=orjson.dumps(body), headers=NO_STORE
    )


def _store(problem: str | None, *, details: bool) -> dict[str, str]:
    """Whether the store keeps what it is given; requests are served either way."""
    if problem is None:
        return {"status": "ok"}
    return {"status": "unavailable", **({"message": problem} if details else {})}
