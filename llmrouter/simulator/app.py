"""The simulated upstream over HTTP, labelled throughout: chat completions and embeddings here.

Other wire formats are in `other_formats`.

Any model name is accepted; keys are not looked at. What a request may ask for beyond OpenAI's own
is in `faults`. Everything but ids and the clock follows from the request and the options.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from llmrouter.simulator import judging, other_formats
from llmrouter.simulator.embeddings import embeddings
from llmrouter.simulator.faults import Wish, cut, strike, wish
from llmrouter.simulator.models import KNOWN, profile, share
from llmrouter.simulator.replies import Reply, reply, text_of

HEADERS = {"x-simulated": "true"}


@dataclass(frozen=True, slots=True)
class SimOptions:
    """`latency_scale` multiplies every delay; `error_rate` fails that share of requests."""

    latency_scale: float = 1.0
    error_rate: float = 0.0
    seed: str = "sim"


OPTIONS: web.AppKey[SimOptions] = web.AppKey("options", SimOptions)
COUNT: web.AppKey[list[int]] = web.AppKey("count", list)
PREFIXES: web.AppKey[set[bytes]] = web.AppKey("prefixes", set)
CHOICES = 16
EMBED_S = 0.02


def create_app(options: SimOptions | None = None) -> web.Application:
    """The application."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[OPTIONS] = options or SimOptions()
    app[COUNT] = [0]
    app[PREFIXES] = set()
    for prefix in ("", "/v1"):
        app.router.add_post(f"{prefix}/chat/completions", completions)
        app.router.add_post(f"{prefix}/embeddings", embed)
        app.router.add_post(f"{prefix}/messages", speaking(other_formats.MESSAGES))
        app.router.add_post(f"{prefix}/messages/count_tokens", other_formats.count_tokens)
        app.router.add_post(f"{prefix}/responses", speaking(other_formats.RESPONSES))
        app.router.add_post(f"{prefix}/completions", speaking(other_formats.COMPLETIONS))
        app.router.add_post(f"{prefix}/decisions", decisions)
        app.router.add_post(f"{prefix}/systemone", systemone)
        app.router.add_get(f"{prefix}/models", models)
    app.router.add_get("/healthz", health)
    return app


async def serve(
    host: str, port: int, options: SimOptions, listening: socket.socket | None = None
) -> None:
    """Run until cancelled, on `listening` where it is given. Raises OSError when it cannot."""
    runner = web.AppRunner(create_app(options), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        if listening is None:
            await web.TCPSite(runner, host, port).start()
        else:
            await web.SockSite(runner, listening).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def health(_: web.Request) -> web.Response:
    """It is up."""
    return web.Response(text="ok", headers=HEADERS)


async def models(_: web.Request) -> web.Response:
    """The models with a profile of their own; every other name works too."""
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "simulated"} for name, _ in KNOWN
    ]
    return _json({"object": "list", "data": data})


async def completions(request: web.Request) -> web.StreamResponse:
    """One chat completion."""
    try:
        wanted = wish(request.headers)
        document = read(await request.read())
    except (ValueError, TypeError) as error:
        return _error(400, f"simulated: {error}")
    options, model = request.app[OPTIONS], document["model"]
    if wanted.status is not None:
        return _error(wanted.status, "simulated: the status that was asked for")
    if wanted.fault is not None and (struck := await strike(request, wanted.fault)) is not None:
        return struck
    if _fails(request.app, model):
        return _error(500, "simulated: a failure of the kind that happens")
    labelled = judging.letter(document)
    if labelled is not None:
        return await _letter(request, document, labelled, wanted)
    answers = [reply(model, document, n) for n in range(document.get("n") or 1)]
    if document.get("stream"):
        return await _stream(request, document, answers, wanted)
    known = profile(model)
    tokens = max(len(answer.tokens) for answer in answers)
    wait_s = first_s(model, options, wanted) + tokens / known.tokens_per_s * options.latency_scale
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    whole = _json(
        {
            **_head(model, "chat.completion"),
            "choices": [_choice(n, answer, document) for n, answer in enumerate(answers)],
            "usage": usage(document, answers),
        }
    )
    if wanted.fault == "cut":
        assert isinstance(whole.body, bytes)  # noqa: S101 - what _json was given
        half = web.StreamResponse(headers=HEADERS)
        half.content_length = len(whole.body)
        await half.prepare(request)
        await half.write(whole.body[: len(whole.body) // 2])
        cut(request)
        return half
    return whole


async def _letter(
    request: web.Request,
    document: Mapping[str, Any],
    labelled: tuple[str, list[dict[str, Any]]],
    wanted: Wish,
) -> web.Response:
    """One token of a judging model, with the likeliest others."""
    text, top = labelled
    model = document["model"]
    wait_s = first_s(model, request.app[OPTIONS], wanted)
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    given, again = other_formats.counted(document, request.app[PREFIXES])
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": {"content": [{**top[0], "top_logprobs": top}], "refusal": None},
        "finish_reason": "length",
    }
    counts = {
        "prompt_tokens": given,
        "completion_tokens": 1,
        "total_tokens": given + 1,
        "prompt_tokens_details": {"cached_tokens": again},
    }
    return _json({**_head(model, "chat.completion"), "choices": [choice], "usage": counts})


async def decisions(request: web.Request) -> web.Response:
    """Typed questions in OpenAI's format."""
    return await _typed(request, other_formats.decision)


async def systemone(request: web.Request) -> web.Response:
    """Typed questions in the open format."""
    return await _typed(request, other_formats.systemone)


async def _typed(
    request: web.Request,
    answer: Callable[[web.Request, set[bytes]], Awaitable[web.Response]],
) -> web.Response:
    """An answer to typed questions, and the same faults as elsewhere."""
    try:
        wanted = wish(request.headers)
        document = orjson.loads(await request.read())
        model = str(document["model"])
    except (ValueError, TypeError, KeyError) as error:
        return _error(400, f"simulated: {error}")
    if wanted.status is not None:
        return _error(wanted.status, "simulated: the status that was asked for")
    if wanted.fault is not None and (struck := await strike(request, wanted.fault)) is not None:
        assert isinstance(struck, web.Response)  # noqa: S101 - nothing is streamed here
        return struck
    if _fails(request.app, model):
        return _error(500, "simulated: a failure of the kind that happens")
    wait_s = first_s(model, request.app[OPTIONS], wanted)
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    try:
        return await answer(request, request.app[PREFIXES])
    except (ValueError, TypeError, KeyError) as error:
        return _error(400, f"simulated: {error!r}")


async def embed(request: web.Request) -> web.Response:
    """Vectors of texts, and the same faults as elsewhere."""
    try:
        wanted = wish(request.headers)
        document = orjson.loads(await request.read())
        answer = embeddings(document if isinstance(document, dict) else {})
    except (ValueError, TypeError) as error:
        return _error(400, f"simulated: {error}")
    options = request.app[OPTIONS]
    if wanted.status is not None:
        return _error(wanted.status, "simulated: the status that was asked for")
    if _fails(request.app, answer["model"]):
        return _error(500, "simulated: a failure of the kind that happens")
    wait_s = EMBED_S * options.latency_scale if wanted.latency_s is None else wanted.latency_s
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    return _json(answer)


def speaking(spoken: other_formats.Simulated) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The handler of one format that is whole or streamed."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await other_formats.answer(request, spoken, _pace(request.app))

    return answer


def _pace(app: web.Application) -> other_formats.Pace:
    options = app[OPTIONS]

    def wait_s(model: str, asked_s: float | None) -> float:
        return first_s(model, options, Wish(latency_s=asked_s))

    return other_formats.Pace(wait_s, options.latency_scale, lambda model: _fails(app, model))


def read(body: bytes) -> dict[str, Any]:
    """A chat-completions document. Raises ValueError where it is none."""
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("the body is not an object")
    messages, n = document.get("messages"), document.get("n")
    if not isinstance(document.get("model"), str) or not document["model"]:
        raise ValueError("model must be a name")
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list of at least one message")
    if not all(isinstance(message, dict) for message in messages):
        raise ValueError("every message must be an object")
    if n is not None and (not isinstance(n, int) or not 1 <= n <= CHOICES):
        raise ValueError(f"n must be between 1 and {CHOICES}")
    return document


def first_s(model: str, options: SimOptions, wanted: Wish) -> float:
    """Seconds until the first token."""
    if wanted.latency_s is not None:
        return wanted.latency_s
    return profile(model).ttft_ms / 1000 * options.latency_scale


def _fails(app: web.Application, model: str) -> bool:
    options, count = app[OPTIONS], app[COUNT]
    rate = max(options.error_rate, profile(model).error_rate)
    if rate <= 0:
        return False
    count[0] += 1
    return share(options.seed, model, str(count[0])) < rate


def usage(document: Mapping[str, Any], answers: list[Reply]) -> dict[str, Any]:
    """Token counts: characters / 4; a long context counts as cached in part."""
    asked = sum(len(text_of(m)) // 4 + 3 for m in document["messages"])
    written = sum(len(a.tokens) if a.tool is None else 12 for a in answers)
    return {
        "prompt_tokens": asked,
        "completion_tokens": written,
        "total_tokens": asked + written,
        "prompt_tokens_details": {"cached_tokens": asked // 2 if asked > 1024 else 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _head(model: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim-{uuid.uuid4().hex[:16]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": "simulated",
    }


def _choice(number: int, answer: Reply, document: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool is not None:
        message["content"] = None
        message["tool_calls"] = [_tool_call(answer.tool)]
    logprobs = _logprobs(answer.tokens, answer.logprob, document)
    return {
        "index": number,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": answer.finish_reason,
    }


def _tool_call(tool: tuple[str, str]) -> dict[str, Any]:
    name, arguments = tool
    return {
        "id": f"call_{uuid.uuid4().hex[:16]}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _logprobs(
    tokens: tuple[str, ...], logprob: float, document: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What a request asked to know of its tokens; with `top_logprobs`, one other has the rest."""
    if not document.get("logprobs"):
        return None
    content: list[dict[str, Any]] = []
    for token in tokens:
        entry = {"token": token, "logprob": logprob, "bytes": None}
        rest = {"token": "…", "logprob": math.log(max(1e-9, -math.expm1(logprob))), "bytes": None}
        top = [entry, rest] if document.get("top_logprobs") else []
        content.append({**entry, "top_logprobs": top})
    return {"content": content, "refusal": None}


async def _stream(
    request: web.Request, document: Mapping[str, Any], answers: list[Reply], wanted: Wish
) -> web.StreamResponse:
    model = document["model"]
    options, known = request.app[OPTIONS], profile(model)
    response = web.StreamResponse(headers={**HEADERS, "content-type": "text/event-stream"})
    await response.prepare(request)
    head = _head(model, "chat.completion.chunk")
    wait_s = first_s(model, options, wanted)
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    pause_s = 8 / known.tokens_per_s * options.latency_scale
    for number, answer in enumerate(answers):
        opening: dict[str, Any] = {"role": "assistant", "content": ""}
        if answer.tool is not None:
            opening["content"] = None
            opening["tool_calls"] = [{"index": 0, **_tool_call(answer.tool)}]
        await response.write(_chunk(head, number, opening))
        for at, token in enumerate(answer.tokens):
            probs = _logprobs((token,), answer.logprob, document)
            await response.write(_chunk(head, number, {"content": token}, None, probs))
            if wanted.fault == "cut" and at >= len(answer.tokens) // 2:
                cut(request)
                return response
            if pause_s > 0 and at % 8 == 7:
                await asyncio.sleep(pause_s)
        await response.write(_chunk(head, number, {}, answer.finish_reason))
    asked = document.get("stream_options")
    if isinstance(asked, dict) and asked.get("include_usage"):
        tail = {**head, "choices": [], "usage": usage(document, answers)}
        await response.write(b"data: " + orjson.dumps(tail) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _chunk(
    head: Mapping[str, Any],
    number: int,
    delta: Mapping[str, Any],
    finish: str | None = None,
    logprobs: Mapping[str, Any] | None = None,
) -> bytes:
    choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers=HEADERS,
    )


def _error(status: int, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return _json({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)
