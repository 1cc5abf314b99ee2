"""What stands before every handler: errors, the span, and the gate; `app` lists it in order.

What a path needs is in one table from handler to `Access`, so a new path cannot forget to say who
may call it. All steps are one function because a frame costs as much as what each of them does,
and every request pays for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from llmrouter.api.body_reader import has_arrived, read_early
from llmrouter.api.dependencies import CALLER, Dependencies
from llmrouter.api.error_response import InternalError, refusal, translated
from llmrouter.api.load_shedding import Phase
from llmrouter.api.middleware.hosts import CORS, preflight
from llmrouter.auth.api_keys import Authenticator
from llmrouter.domain import semconv
from llmrouter.domain.chat import ANONYMOUS, Caller
from llmrouter.errors import LLMRouterError

log = logging.getLogger(__name__)


class Access(Enum):
    """Who may call a path: everyone, any key, or the admin key. ROUTED also counts as load."""

    PUBLIC = "public"
    KEY = "key"
    ROUTED = "routed"
    ADMIN = "admin"


Answer = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
RequestPipeline = Callable[[web.Request, str, Access, Answer], Awaitable[web.StreamResponse]]
"""Answers a request: its path's template, who may call it, and what does."""


def middleware(guard: RequestPipeline, access: Mapping[object, Access]) -> Middleware:
    """The guard before whatever handler the router finds."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        match = request.match_info
        resource = match.route.resource
        route = "unmatched" if resource is None else resource.canonical

        def answer(request: web.Request, caller: Caller) -> Awaitable[web.StreamResponse]:
            request[CALLER] = caller
            return handler(request)

        return await guard(request, route, access.get(match.handler, Access.PUBLIC), answer)

    return guarded


def request_pipeline(services: Dependencies) -> RequestPipeline:
    """The steps 1 to 5, outermost first; `app` says what each is for."""
    start, admission, limiter = services.telemetry.request, services.admission, services.limits
    keyring, hosts = services.keyring, services.hosts
    callers = _callers(keyring)

    async def guard(
        request: web.Request, route: str, needed: Access, answer: Answer
    ) -> web.StreamResponse:
        limited: Caller | None = None
        limits = limiter if limiter is not None and limiter.active else None
        try:
            with start(request.method, route, request.headers) as span:
                task = None
                try:
                    keyless = keyring.open and needed is not Access.PUBLIC
                    cors = hosts.check(request.headers, keyless=keyless)
                    if cors is not None:
                        request[CORS] = cors
                    caller = callers(needed, request.headers)
                    if needed is Access.ROUTED:
                        if not has_arrived(request):
                            with admission.arriving():
                                await read_early(request, services)
                        task = admission.enter()
                    if task is not None and limits is not None:
                        limited = caller
                        await limits.admit(caller)
                    response = await answer(request, caller)
                    if limited is not None and limits is not None and not response.prepared:
                        response.headers.update(limits.headers(limited))
                    if cors is not None and not response.prepared:
                        response.headers.update(cors)
                    if admission.phase is not Phase.SERVING and not response.prepared:
                        response.force_close()  # so that the caller's next one finds another worker
                except asyncio.CancelledError:
                    if not admission.gave_up():
                        raise
                    late = admission.draining()
                    span.set(semconv.HTTP_STATUS_CODE, late.status)
                    span.fail(late.label, late.message)
                    raise late from None
                except LLMRouterError as error:
                    span.set(semconv.HTTP_STATUS_CODE, error.status)
                    if error.status >= 500:
                        span.fail(error.label, error.message)
                    raise
                except web.HTTPException as error:
                    span.set(semconv.HTTP_STATUS_CODE, error.status)
                    raise
                finally:
                    if task is not None:
                        admission.leave(task)
                span.set(semconv.HTTP_STATUS_CODE, response.status)
                return response
        except ConnectionError:
            raise
        except Exception as error:
            refused = _answer(error, request)
            refused.headers.update(request.get(CORS, {}))
            if limited is not None and limits is not None:
                refused.headers.update(limits.headers(limited))
            if admission.phase is not Phase.SERVING:
                refused.force_close()
            return refused

    return guard


def _callers(keyring: Authenticator) -> Callable[[Access, Mapping[str, str]], Caller]:
    """Who speaks, checked against what the path needs. Raises Unauthorized, Forbidden."""

    def caller(needed: Access, headers: Mapping[str, str]) -> Caller:
        if needed is Access.PUBLIC:
            return ANONYMOUS
        found = keyring.caller(headers)
        if needed is Access.ADMIN:
            keyring.may_administer(found)
        return found

    return caller


def _answer(error: Exception, request: web.Request) -> web.Response:
    """The envelope for an exception, with the status it knows. Redirects are raised again."""
    if isinstance(error, LLMRouterError) and not isinstance(error, InternalError):
        return refusal(error, request=request)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = {"Allow": ", ".join(sorted(error.allowed_methods))}
        if request.method == "OPTIONS":
            cors = request.get(CORS)
            more = {} if cors is None else preflight(cors, request.headers)
            return web.Response(status=204, headers={**allow, **more})
        return refusal(translated(error, request.method, request.path), allow, request)
    if isinstance(error, web.HTTPException):
        if error.status < 400:
            raise error
        return refusal(translated(error, request.method, request.path), request=request)
    log.error("a request failed unexpectedly: %s %s", request.method, request.path, exc_info=error)
    defect = error if isinstance(error, InternalError) else InternalError()
    return refusal(defect, request=request)
