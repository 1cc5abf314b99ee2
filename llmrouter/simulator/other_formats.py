"""The simulated upstream's other wire formats: Messages, Responses, completions, decisions.

They share the faults, the delays and the failures of chat completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from llmrouter.simulator import completions, judging, messages, responses
from llmrouter.simulator.faults import cut, strike, wish
from llmrouter.simulator.models import profile
from llmrouter.simulator.replies import Reply

HEADERS = {"x-simulated": "true"}
Cached = set[bytes]
"""Prefixes of judging requests that came before."""
Refuse = Callable[[int, str], web.Response]


@dataclass(frozen=True, slots=True)
class Pace:
    """What the simulated upstream's options make of a model: delays, and whether it fails now."""

    first_s: Callable[[str, float | None], float]
    scale: float
    fails: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Simulated:
    """One format: how a body is read and answered."""

    read: Callable[[bytes], dict[str, Any]]
    answered: Callable[[Mapping[str, Any]], Reply]
    whole: Callable[[Mapping[str, Any], Reply], dict[str, Any]]
    events: Callable[[Mapping[str, Any], Reply], Iterator[bytes]]
    refuse: Refuse


def openai_error(status: int, message: str) -> web.Response:
    """OpenAI's envelope."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    inside = {"message": message, "type": kind, "param": None, "code": None}
    return web.json_response({"error": inside}, status=status, headers=HEADERS)


MESSAGES = Simulated(
    messages.read, messages.answered, messages.whole, messages.events, messages.error
)
RESPONSES = Simulated(
    responses.read, responses.answered, responses.whole, responses.events, openai_error
)

COMPLETIONS = Simulated(
    completions.read, completions.answered, completions.whole, completions.events, openai_error
)


async def answer(request: web.Request, spoken: Simulated, pace: Pace) -> web.StreamResponse:
    """One answer."""
    try:
        wanted = wish(request.headers)
        document = spoken.read(await request.read())
    except (ValueError, TypeError, AttributeError) as error:
        return spoken.refuse(400, f"simulated: {error}")
    model = document["model"]
    if wanted.status is not None:
        return spoken.refuse(wanted.status, "simulated: the status that was asked for")
    if wanted.fault is not None and (struck := await strike(request, wanted.fault)) is not None:
        return struck
    if pace.fails(model):
        return spoken.refuse(500, "simulated: a failure of the kind that happens")
    said = spoken.answered(document)
    per_token_s = pace.scale / profile(model).tokens_per_s
    streams = bool(document.get("stream"))
    wait_s = pace.first_s(model, wanted.latency_s)
    if not streams:
        wait_s += len(said.tokens) * per_token_s
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    if not streams:
        return web.json_response(body=orjson.dumps(spoken.whole(document, said)), headers=HEADERS)
    response = web.StreamResponse(headers={**HEADERS, "content-type": "text/event-stream"})
    await response.prepare(request)
    written = list(spoken.events(document, said))
    for number, event in enumerate(written):
        await response.write(event)
        if wanted.fault == "cut" and number >= len(written) // 2:
            cut(request)
            return response
        if per_token_s > 0 and number % 8 == 7:
            await asyncio.sleep(8 * per_token_s)
    await response.write_eof()
    return response


async def count_tokens(request: web.Request) -> web.Response:
    """POST /messages/count_tokens: a quarter of the bytes."""
    body = await request.read()
    return web.json_response({"input_tokens": len(body) // 4}, headers=HEADERS)


async def decision(request: web.Request, cached: Cached) -> web.Response:
    """POST /decisions: typed questions, answered with probabilities."""
    document = orjson.loads(await request.read())
    tokens, again = counted(document, cached)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": again, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }
    answers = judging.decision(document)
    body = {"model": document.get("model"), "answers": answers, "usage": usage}
    return web.json_response(body, headers=HEADERS)


async def systemone(request: web.Request, cached: Cached) -> web.Response:
    """POST /systemone: the same in the open format."""
    document = orjson.loads(await request.read())
    tokens, again = counted(document, cached)
    usage = {
        "input_tokens": tokens,
        "output_tokens": 0,
        "input_tokens_details": {"cached_tokens": again},
    }
    answers = judging.systemone(document)
    body = {"model": document.get("model"), "answers": answers, "usage": usage}
    return web.json_response(body, headers=HEADERS)


def counted(document: Mapping[str, Any], cached: Cached) -> tuple[int, int]:
    """Input tokens, and how many of them a prefix cache would have had from an earlier request."""
    prefix = judging.prefix_of(document)
    tokens, again = len(orjson.dumps(document)) // 4, len(prefix) // 4
    seen = prefix in cached
    cached.add(prefix)
    return tokens, min(again, tokens) if seen else 0
