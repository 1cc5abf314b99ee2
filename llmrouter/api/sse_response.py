"""Server-sent events to a caller: as they come, no faster than the caller reads.

`await write` is the back-pressure: a slow reader slows the upstream, nothing piles up here. After
the first byte the status is out, so a failure is one well-formed error event, the execution's own
or the one made here of what it raised; the stream then ends without `[DONE]`: it is not done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from llmrouter.api.answer_model import renamed_event
from llmrouter.api.dependencies import Dependencies, Routed
from llmrouter.api.error_response import InternalError
from llmrouter.api.formats import CHAT
from llmrouter.api.load_shedding import Phase
from llmrouter.api.middleware.hosts import CORS
from llmrouter.domain.completion import ResponseEvent
from llmrouter.errors import LLMRouterError, UpstreamFailed, UpstreamFailure
from llmrouter.upstream.protocols.interface import WireFormat

log = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"
Last = Callable[[Routed, ResponseEvent | None], bytes]


@dataclass(frozen=True, slots=True)
class Wording:
    """How a stream is told: its wire format, and what is put into it.

    `last` makes one more event that goes out before `[DONE]`. It is given the first event that
    named its response, to speak with the same id; where the reply breaks off, it goes out before
    the error. `model` is the name to show instead of the upstream's own.
    """

    spoken: WireFormat = CHAT
    last: Last | None = None
    model: str | None = None


PLAIN = Wording()


async def stream(
    request: web.Request,
    services: Dependencies,
    routed: Routed,
    headers: Mapping[str, str],
    wording: Wording = PLAIN,
) -> web.StreamResponse:
    """Relay a reply. It is closed however this ends, at once when the caller leaves."""
    spoken, last = wording.spoken, wording.last
    admission = services.admission
    response = web.StreamResponse(
        status=routed.status, headers={**headers, **request.get(CORS, {})}
    )
    if admission.phase is not Phase.SERVING:
        response.force_close()
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    first: ResponseEvent | None = None
    done: bytes | None = None
    try:
        await response.prepare(request)
        async for event in routed:
            if event.usage_only:
                continue
            if first is None and event.response_id is not None:
                first = event
            if last is None:
                failed = routed.error if spoken is not CHAT else None
                told = event.data if failed is None else _told(spoken, failed, routed)
                if wording.model is not None:
                    told = renamed_event(told, wording.model)
                await response.write(told)
            elif event.done:
                done = event.data
            elif routed.error is None:
                name = wording.model
                await response.write(
                    event.data if name is None else renamed_event(event.data, name)
                )
            else:  # the event that tells of it stays the last
                await response.write(last(routed, first) + event.data)
        if last is not None and routed.error is None:
            await response.write(last(routed, first) + (done or DONE))
    except ConnectionError:
        log.debug("the caller left in the middle of a reply")
    except asyncio.CancelledError:
        if not (response.prepared and admission.gave_up()):
            raise
        await _fail(response, routed, admission.draining(), spoken)
    except Exception as error:
        await _fail(response, routed, error, spoken)
    finally:
        await routed.aclose()
    return response


def _told(spoken: WireFormat, error: LLMRouterError, routed: Routed) -> bytes:
    return spoken.error_event(error, routed.decision.decision_id)


async def _fail(
    response: web.StreamResponse, routed: Routed, error: Exception, spoken: WireFormat
) -> None:
    """The error as the stream's last event."""
    if isinstance(error, UpstreamFailure):
        known: LLMRouterError = UpstreamFailed(f"the reply broke off: {error.kind}")
    elif isinstance(error, LLMRouterError):
        known = error
    else:
        log.error("a reply failed unexpectedly", exc_info=error)
        known = InternalError()
    try:
        await response.write(_told(spoken, known, routed))
    except ConnectionError:
        log.debug("the caller left before it could be told of an error")
