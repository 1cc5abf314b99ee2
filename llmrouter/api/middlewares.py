"""The five guards around every handler; `app` lists them in order.

Each does one thing and costs next to nothing when it has nothing to do. What a path needs is in
one table from handler to `Access`, so a new path cannot forget to say who may call it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

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
    return [
        _errors(services),
        _observed(services),
        _admission(services, access),
        _keys(services, access),
        _limits(services, access),
    ]


def _errors(services: Services) -> Middleware:
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


def _admission(services: Services, access: Mapping[object, Access]) -> Middleware:
    """3. Routed calls are bounded; over the bound, or while draining, 503 at once."""
    admission = services.admission

    @web.middleware
    async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
        if access.get(request.match_info.handler) is not Access.ROUTED:
            return await handler(request)
        admission.enter()
        try:
            return await handler(request)
        finally:
            admission.leave()

    return admitted


def _keys(services: Services, access: Mapping[object, Access]) -> Middleware:
    """4. An API key becomes a Caller; admin calls need the admin key."""
    keyring = services.keyring

    @web.middleware
    async def known(request: web.Request, handler: Handler) -> web.StreamResponse:
        needed = access.get(request.match_info.handler, Access.PUBLIC)
        if needed is Access.PUBLIC:
            request[CALLER] = ANONYMOUS
            return await handler(request)
        caller = keyring.caller(request.headers)
        if needed is Access.ADMIN:
            keyring.may_administer(caller)
        request[CALLER] = caller
        return await handler(request)

    return known


def _limits(services: Services, access: Mapping[object, Access]) -> Middleware:
    """5. Routed calls count against their key's request quota."""
    limits = services.limits

    @web.middleware
    async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
        if limits is not None and access.get(request.match_info.handler) is Access.ROUTED:
            await limits.admit(request[CALLER])
        return await handler(request)

    return limited
