"""Which middlewares stand before every handler, in order.

What a path needs is in one table from handler to `Access`, so a new path cannot forget to say who
may call it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.typedefs import Middleware as AiohttpMiddleware

from llmrouter.api.dependencies import CALLER, Dependencies
from llmrouter.api.middleware.steps import (
    Access,
    Answer,
    Call,
    Middleware,
    Step,
    authenticated,
    errors_answered,
    load_bounded,
    observed,
    quota_counted,
)
from llmrouter.domain.chat import Caller

MIDDLEWARES: Final[tuple[Middleware, ...]] = (
    errors_answered,
    observed,
    authenticated,
    load_bounded,
    quota_counted,
)
"""Outermost first."""

RequestPipeline = Callable[[web.Request, str, Access, Answer], Awaitable[web.StreamResponse]]
"""Answers a request: its path's template, who may call it, and what does."""


def request_pipeline(services: Dependencies) -> RequestPipeline:
    """The middlewares around a handler."""

    def answered(call: Call) -> Awaitable[web.StreamResponse]:
        return call.answer(call.request, call.caller)

    chain: Step = answered
    for around in reversed(MIDDLEWARES):
        chain = around(services, chain)

    def guard(
        request: web.Request, route: str, needed: Access, answer: Answer
    ) -> Awaitable[web.StreamResponse]:
        return chain(Call(request, route, needed, answer))

    return guard


def middleware(guard: RequestPipeline, access: Mapping[object, Access]) -> AiohttpMiddleware:
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
