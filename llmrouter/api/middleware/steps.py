"""The middlewares before every handler, one function each; `pipeline` lists them in order.

Each takes the services and the next step, and returns a step. What one learns of a request and a
later or an earlier one needs is in its `Call`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from llmrouter.api.body_reader import has_arrived, read_early
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.error_response import InternalError, refusal, translated
from llmrouter.api.load_shedding import Phase
from llmrouter.api.middleware.hosts import CORS, preflight
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


@dataclass(slots=True)
class Call:
    """A request on its way to `answer`: its path's template, who may call it, and who does.

    `counted`: it counts against the request quota of its key.
    """

    request: web.Request
    route: str
    needed: Access
    answer: Answer
    caller: Caller = ANONYMOUS
    counted: bool = False


Step = Callable[[Call], Awaitable[web.StreamResponse]]
Middleware = Callable[[Dependencies, Step], Step]


def errors_answered(services: Dependencies, inner: Step) -> Step:
    """Any exception becomes an OpenAI-shaped envelope with the status it knows."""
    admission, limits = services.admission, services.limits

    async def step(call: Call) -> web.StreamResponse:
        try:
            return await inner(call)
        except ConnectionError:
            raise
        except Exception as error:
            refused = _envelope(error, call.request)
            refused.headers.update(call.request.get(CORS, {}))
            if call.counted and limits is not None:
                refused.headers.update(limits.headers(call.caller))
            if admission.phase is not Phase.SERVING:
                refused.force_close()
            return refused

    return step


def observed(services: Dependencies, inner: Step) -> Step:
    """One SERVER span and one duration a request."""
    start = services.telemetry.request

    async def step(call: Call) -> web.StreamResponse:
        request = call.request
        with start(request.method, call.route, request.headers) as span:
            try:
                response = await inner(call)
            except LLMRouterError as error:
                span.set(semconv.HTTP_STATUS_CODE, error.status)
                if error.status >= 500:
                    span.fail(error.label, error.message)
                raise
            except web.HTTPException as error:
                span.set(semconv.HTTP_STATUS_CODE, error.status)
                raise
            span.set(semconv.HTTP_STATUS_CODE, response.status)
            return response

    return step


def authenticated(services: Dependencies, inner: Step) -> Step:
    """The host and the page are allowed, and the API key becomes a Caller.

    Raises Misdirected, CrossOrigin, Unauthorized, Forbidden.
    """
    keyring, hosts = services.keyring, services.hosts

    async def step(call: Call) -> web.StreamResponse:
        request, needed = call.request, call.needed
        public = needed is Access.PUBLIC
        cors = hosts.check(request.headers, keyless=keyring.open and not public)
        if cors is not None:
            request[CORS] = cors
        if not public:
            call.caller = keyring.caller(request.headers)
            if needed is Access.ADMIN:
                keyring.may_administer(call.caller)
        response = await inner(call)
        if cors is not None and not response.prepared:
            response.headers.update(cors)
        return response

    return step


def load_bounded(services: Dependencies, inner: Step) -> Step:
    """Routed calls over the bound, or while draining, get 503 at once. Raises Overloaded.

    A body that is still on its way holds no place in the load.
    """
    admission = services.admission

    async def step(call: Call) -> web.StreamResponse:
        task = None
        try:
            if call.needed is Access.ROUTED:
                if not has_arrived(call.request):
                    with admission.arriving():
                        await read_early(call.request, services)
                task = admission.enter()
            response = await inner(call)
        except asyncio.CancelledError:
            if admission.gave_up():
                raise admission.draining() from None
            raise
        finally:
            if task is not None:
                admission.leave(task)
        if admission.phase is not Phase.SERVING and not response.prepared:
            response.force_close()  # so that the caller's next one finds another worker
        return response

    return step


def quota_counted(services: Dependencies, inner: Step) -> Step:
    """Routed calls count against their key's request quota. Raises RateLimited."""
    limits = services.limits

    async def step(call: Call) -> web.StreamResponse:
        if call.needed is not Access.ROUTED or limits is None or not limits.active:
            return await inner(call)
        call.counted = True
        await limits.admit(call.caller)
        response = await inner(call)
        if not response.prepared:
            response.headers.update(limits.headers(call.caller))
        return response

    return step


def _envelope(error: Exception, request: web.Request) -> web.Response:
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
