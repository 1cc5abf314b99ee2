"""The application: which handler answers which path, who may call it, and what stands before it.

Around every handler stand the five middlewares that `middleware.pipeline` lists, outermost first:

1. errors_answered: any exception becomes an OpenAI-shaped envelope with the status it knows.
2. observed: one SERVER span and one duration a request.
3. authenticated: `Host` and `Origin` are allowed, the API key becomes a Caller; admin calls need
   the admin key.
4. load_bounded: routed calls over the concurrency bound, or while draining, get 503 at once.
5. quota_counted: routed calls count against their key's request quota.

Run it with `handler_cancellation=True`: a caller who leaves
ends its request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from llmrouter.api import console, openapi
from llmrouter.api.body_reader import too_large
from llmrouter.api.dependencies import CALLER, FRONT, SERVICES, Dependencies, Front
from llmrouter.api.drop_ins import RELAYED, count_tokens, drop_in
from llmrouter.api.error_response import refusal
from llmrouter.api.handlers import (
    canary,
    catalog,
    catalog_check,
    complete,
    decisions,
    feedback,
    health,
    keys,
    learning,
    metrics,
    models,
    openai,
    preview,
    prompts,
    route,
    stats,
    trial,
    whoami,
)
from llmrouter.api.middleware.pipeline import RequestPipeline, middleware, request_pipeline
from llmrouter.api.middleware.steps import Access, Answer
from llmrouter.domain.chat import Caller


class Path(NamedTuple):
    """One call: its method, its path, its handler, and who may make it."""

    method: str
    path: str
    handler: Handler
    access: Access


Routed = Callable[[web.Request, Dependencies, Caller], Awaitable[web.StreamResponse]]
ROUTED: dict[str, Routed] = {
    "/route": route.route,
    "/complete": complete.complete,
    "/v1/chat/completions": openai.chat_completions,
    **{endpoint.value: drop_in(endpoint) for endpoint in RELAYED},
    "/v1/messages/count_tokens": count_tokens,
}
"""What answers the calls that route, by their path; each is a POST of `Access.ROUTED`."""

PATHS: tuple[Path, ...] = (
    Path("GET", "/v1/models", models.models, Access.KEY),
    Path("GET", "/v1/models/{id}", models.model, Access.KEY),
    Path("POST", "/feedback", feedback.feedback, Access.KEY),
    Path("GET", "/catalog", catalog.catalog, Access.KEY),
    Path("POST", "/catalog/preview", preview.preview, Access.ADMIN),
    Path("GET", "/catalog/{id}", catalog.file, Access.ADMIN),
    Path("PUT", "/catalog/{id}", catalog.put, Access.ADMIN),
    Path("DELETE", "/catalog/{id}", catalog.delete, Access.ADMIN),
    Path("GET", "/catalog/{id}/history", catalog.history, Access.ADMIN),
    Path("POST", "/catalog/{id}/revert", catalog.revert, Access.ADMIN),
    Path("POST", "/catalog/check", catalog_check.check, Access.ADMIN),
    Path("GET", "/prompts", prompts.files, Access.ADMIN),
    Path("PUT", "/prompts", prompts.edit, Access.ADMIN),
    Path("GET", "/prompts/versions", prompts.versions, Access.ADMIN),
    Path("GET", "/prompts/versions/{version}", prompts.version, Access.ADMIN),
    Path("POST", "/prompts/versions/{version}/revert", prompts.revert, Access.ADMIN),
    Path("GET", "/prompts/diff", prompts.diff, Access.ADMIN),
    Path("GET", "/prompts/{path:.+}", prompts.file, Access.ADMIN),
    Path("PUT", "/prompts/{path:.+}", prompts.put, Access.ADMIN),
    Path("DELETE", "/prompts/{path:.+}", prompts.delete, Access.ADMIN),
    Path("GET", "/keys", keys.keys, Access.ADMIN),
    Path("POST", "/keys", keys.create, Access.ADMIN),
    Path("PATCH", "/keys/{id}", keys.change, Access.ADMIN),
    Path("DELETE", "/keys/{id}", keys.revoke, Access.ADMIN),
    Path("GET", "/canary", canary.status, Access.ADMIN),
    Path("POST", "/canary", canary.start, Access.ADMIN),
    Path("POST", "/canary/promote", canary.promote, Access.ADMIN),
    Path("POST", "/canary/stop", canary.stop, Access.ADMIN),
    Path("GET", "/decisions", decisions.decisions, Access.KEY),
    Path("GET", "/decisions/{id}", decisions.decision, Access.KEY),
    Path("GET", "/stats", stats.stats, Access.KEY),
    Path("GET", "/stats/series", stats.series, Access.KEY),
    Path("GET", "/stats/frontier", stats.frontier, Access.KEY),
    Path("POST", "/catalog/route", trial.route, Access.ADMIN),
    Path("GET", "/learning", learning.learning, Access.KEY),
    Path("POST", "/learning/rollback", learning.roll_back, Access.ADMIN),
    Path("GET", "/whoami", whoami.whoami, Access.KEY),
    Path("GET", "/metrics", metrics.metrics, Access.PUBLIC),
    Path("GET", "/healthz", health.healthz, Access.PUBLIC),
    Path("GET", "/readyz", health.readyz, Access.PUBLIC),
    Path("GET", "/openapi.json", openapi.openapi, Access.PUBLIC),
    Path("GET", "/", console.page, Access.PUBLIC),
    Path("GET", "/console/{file}", console.file, Access.PUBLIC),
)


class ParserErrorFilter(logging.Filter):
    """Keeps what is not HTTP out of the server's log: the parser quotes headers, keys included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop a record about bytes that could not be read; the caller got its 400."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, web.RequestPayloadError))


_QUIET = ParserErrorFilter()


def paths_of(services: Dependencies) -> list[Path]:
    """The paths this service has: edits only where the catalog can be edited."""
    absent: set[Handler] = set()
    if services.editor is None:
        absent |= {catalog.file, catalog.put, catalog.delete, catalog.history, catalog.revert}
        absent |= {prompts.files, prompts.edit, prompts.file, prompts.put, prompts.delete}
        absent |= {prompts.versions, prompts.version, prompts.revert, prompts.diff}
    if services.managed_keys is None:
        absent |= {keys.keys, keys.create, keys.change, keys.revoke}
    if services.check is None:
        absent.add(catalog_check.check)
    if services.canary is None:
        absent |= {canary.status, canary.start, canary.promote, canary.stop}
    if services.series is None:
        absent.add(stats.series)
    if services.trial is None:
        absent.add(trial.route)
    if services.learning is None:
        absent |= {learning.learning, learning.roll_back}
    if services.frontier is None:
        absent.add(stats.frontier)
    if services.preview is None:
        absent.add(preview.preview)
    return [path for path in PATHS if path.handler not in absent]


def names_of(services: Dependencies) -> list[str]:
    """Every path this service has, as the OpenAPI document names it."""
    return [*ROUTED, *(template(path.path) for path in paths_of(services))]


def template(path: str) -> str:
    """A path as OpenAPI writes it: without the patterns of its parameters."""
    return path.replace(":.+}", "}")


def _answer(handler: Routed, services: Dependencies) -> Answer:
    return lambda request, caller: handler(request, services, caller)


def _handler(answer: Answer) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request, request[CALLER])

    return handle


async def _to_console(request: web.Request) -> web.Response:
    """GET on the base path: the console's relative links need the slash."""
    raise web.HTTPPermanentRedirect(request.path + "/")


def _front(guard: RequestPipeline, routed: Mapping[str, Answer], otherwise: Handler) -> Handler:
    """What a connection asks first: routed calls go straight to their guard and handler.

    The application's own dispatch costs them several microseconds; it answers everything else,
    and whatever it answers to a routed call, this does too.
    """

    async def front(request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        answer = routed.get(path)
        if answer is None or request.method != "POST" or "Expect" in request.headers:
            return await otherwise(request)
        return await guard(request, path, Access.ROUTED, answer)

    return front


def create_app(services: Dependencies) -> web.Application:
    """The aiohttp application over `services`."""
    logging.getLogger("aiohttp.server").addFilter(_QUIET)
    base = services.base_path
    routed = {base + path: _answer(handler, services) for path, handler in ROUTED.items()}
    calls = [Path("POST", path, _handler(a), Access.ROUTED) for path, a in routed.items()]
    paths = [*calls, *(one._replace(path=base + one.path) for one in paths_of(services))]
    if base:
        paths.append(Path("GET", base, _to_console, Access.PUBLIC))
    access: dict[object, Access] = {path.handler: path.access for path in paths}
    if services.keyring.isolates:
        access[metrics.metrics] = Access.ADMIN  # they are of all tenants together
    guard = request_pipeline(services)
    app = web.Application(
        middlewares=[middleware(guard, access)], client_max_size=services.max_body_bytes
    )
    app[SERVICES] = services
    front: Front = partial(_front, guard, routed)
    app[FRONT] = front
    app[openapi.DOCUMENT] = openapi.build(services, names_of(services))

    async def expected(request: web.Request) -> web.Response | None:
        """Answer `Expect: 100-continue`, but not for a body that would be refused anyway."""
        length = request.content_length
        if length is not None and length > services.max_body_bytes:
            return refusal(too_large(services), request=request)
        if request.headers["Expect"].lower() == "100-continue" and request.version >= (1, 1):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer proper has not begun
        return None

    for path in paths:
        app.router.add_route(path.method, path.path, path.handler, expect_handler=expected)
        if path.method == "GET":
            app.router.add_route("HEAD", path.path, path.handler)
    return app
