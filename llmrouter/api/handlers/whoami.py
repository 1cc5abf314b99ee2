"""GET /whoami: whose key this is and what it may do, so that a client can say when it is wrong."""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.dependencies import CALLER, SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.errors import Forbidden, Unauthorized


async def whoami(request: web.Request) -> web.Response:
    """The caller's name, tier and rights, and which parts this service has."""
    services, caller = request.app[SERVICES], request[CALLER]
    keyring = services.keyring
    try:
        keyring.may_administer(caller)
        admin = True
    except (Unauthorized, Forbidden):
        admin = False
    body = {
        "name": caller.name,
        "tier": caller.tier,
        "admin": admin,
        "open": keyring.open,
        "has_admin_key": keyring.has_admin,
        "version": services.version,
        "records_prompts": services.records_prompts,
        "can": {
            "edit": services.editor is not None,
            "check": services.check is not None,
            "preview": services.preview is not None,
            "canary": services.canary is not None,
            "keys": services.managed_keys is not None,
        },
    }
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(body), headers=headers)
