"""What stands before every handler: errors, the span, and the gate; `app` lists it in order.

What a path needs is in one table from handler to `Access`, so a new path cannot forget to say who
may call it. The gate is one function for its three steps because a frame costs as much as what
each of them does, and every request pays for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmrouter.api.admission import Phase
from llmrouter.api.envelope import InternalError, refusal, translated
from llmrouter.api.services import CALLER, Services
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.errors import LLMRouterError

log = logging.getLogger(__name__)


class Access(Enum):
    """Who may call a path: everyone, any key, or the admin key. ROUTED also counts as load."""

    PUBLIC = "public"
    KEY = "key"
    ROUTED = "routed"
    ADMIN = "admin"


def guards(services: Services, access: Mapping[object, Access]) -> list[Middleware]:
    """The middlewares, outermost first."""
    return [_errors(), _observed(services), _gate(services, access)]


def _errors() -> Middleware:
    """1. Every exception becomes an envelope with the status it knows."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except LLMRouterError as error:
            return refusal(error)
        except web.HTTPMethodNotAllowed as error:
            allow = {"Allow": ", ".join(sorted(error.allowed_methods))}
            if request.method == "OPTIONS":
                return web.Response(status=204, headers=allow)
            return refusal(translated(error, request.method, request.path), allow)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return refusal(translated(error, request.method, request.path))
        except ConnectionError:
            raise
        except Exception:
            log.exception("a request failed unexpectedly: %s %s", request.method, request.path)
            return refusal(InternalError("the service failed; its log says why"))

    return errors


def _observed(services: Services) -> Middleware:
    """2. One SERVER span and one duration a request, with the status it was answered with."""
    start = services.telemetry.request

    @web.middleware
    async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = "unmatched" if resource is None else resource.canonical
        with start(request.method, route, request.headers) as span:
            try:
                response = await handler(request)
            except LLMRouterError as error:
                span.set("http.response.status_code", error.status)
                if error.status >= 500:
                    span.fail(error.label, error.message)
                raise
            except web.HTTPException as error:
                span.set("http.response.status_code", error.status)
                raise
            span.set("http.response.status_code", response.status)
            return response

    return observed


def _gate(services: Services, access: Mapping[object, Access]) -> Middleware:
    """3. Routed calls are bounded: over the bound, or while draining, 503 at once.

    4. An API key becomes a Caller; admin calls need the admin key.
    5. Routed calls count against their key's request quota.
    """
    admission, keyring, limits = services.admission, services.keyring, services.limits

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        needed = access.get(request.match_info.handler)
        if needed is Access.ROUTED:
            admission.enter()
            try:
                caller = request[CALLER] = keyring.caller(request.headers)
                if limits is not None:
                    await limits.admit(caller)
                response = await handler(request)
                if admission.phase is not Phase.SERVING and not response.prepared:
                    response.force_close()  # so that the caller's next one finds another worker
                return response
            finally:
                admission.leave()
        if needed is Access.KEY:
            request[CALLER] = keyring.caller(request.headers)
        elif needed is Access.ADMIN:
            caller = request[CALLER] = keyring.caller(request.headers)
            keyring.may_administer(caller)
        else:
            request[CALLER] = ANONYMOUS
        return await handler(request)

    return gate
