"""The simulated upstream over HTTP: OpenAI's chat completions, labelled as simulated throughout.

Any model name is accepted. Requests can ask for faults through `x-sim-*` headers:
`x-sim-latency-ms`, `x-sim-status` (an error status), `x-sim-fault` (`hang`, `drop`, `html`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

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


def create_app(options: SimOptions | None = None) -> web.Application:
    """The application."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[OPTIONS] = options or SimOptions()
    app[COUNT] = [0]
    for prefix in ("", "/v1"):
        app.router.add_post(f"{prefix}/chat/completions", completions)
        app.router.add_get(f"{prefix}/models", models)
    app.router.add_get("/healthz", health)
    return app


async def serve(host: str, port: int, options: SimOptions) -> None:
    """Run until cancelled. Raises OSError when the address is taken."""
    runner = web.AppRunner(create_app(options), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
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
        document = orjson.loads(await request.read())
        check(document)
        model = document["model"]
    except (ValueError, KeyError, TypeError) as error:
        return _error(400, f"simulated: not a chat completions body: {error}")
    options = request.app[OPTIONS]
    if (fault := await _fault(request, model, options)) is not None:
        return fault
    answers = [reply(model, document, n) for n in range(int(document.get("n") or 1))]
    known = profile(model)
    forced = request.headers.get("x-sim-latency-ms")
    first_s = float(forced) / 1000 if forced else known.ttft_ms / 1000 * options.latency_scale
    if document.get("stream"):
        return await _stream(request, document, answers, first_s)
    tokens = max(len(answer.tokens) for answer in answers)
    wait_s = first_s + tokens / known.tokens_per_s * options.latency_scale
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    return _json(
        {
            **_head(model, "chat.completion"),
            "choices": [_choice(n, answer, document) for n, answer in enumerate(answers)],
            "usage": usage(document, answers),
        }
    )


def check(document: Mapping[str, Any]) -> None:
    """Raises ValueError for what a real server refuses too."""
    messages, count = document["messages"], document.get("n") or 1
    if not isinstance(document["model"], str):
        raise ValueError("model must be a string")
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list that is not empty")
    if not all(isinstance(m, dict) and isinstance(m.get("content"), str | list | None)
               for m in messages):  # fmt: skip
        raise ValueError("every message is an object whose content is text or a list of parts")
    if not isinstance(count, int) or not 1 <= count <= 16:
        raise ValueError("n is 1 to 16")
    for key in ("max_tokens", "max_completion_tokens"):
        limit = document.get(key)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise ValueError(f"{key} must be a number")
        if limit is not None and limit < 1:
            raise ValueError(f"{key} must be at least 1")
    tools = document.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise ValueError("tools must be a list of objects")
    for key in ("response_format", "stream_options"):
        if not isinstance(document.get(key) or {}, dict):
            raise ValueError(f"{key} must be an object")


async def _fault(
    request: web.Request, model: str, options: SimOptions
) -> web.StreamResponse | None:
    status = request.headers.get("x-sim-status")
    if status:
        return _error(int(status), "simulated: the status that was asked for")
    fault = request.headers.get("x-sim-fault")
    if fault == "hang":
        await asyncio.sleep(3600)
    if fault == "html":
        return web.Response(text="<html>simulated</html>", content_type="text/html")
    if fault == "drop" and request.transport is not None:
        request.transport.abort()
    request.app[COUNT][0] += 1
    rate = max(options.error_rate, profile(model).error_rate)
    if rate > 0 and share(options.seed, model, str(request.app[COUNT][0])) < rate:
        return _error(500, "simulated: a failure of the kind that happens")
    return None


def usage(document: Mapping[str, Any], answers: list[Reply]) -> dict[str, Any]:
    """Token counts: characters / 4; a long context counts as cached in part."""
    asked = sum(len(text_of(m)) // 4 + 3 for m in document["messages"] if isinstance(m, dict))
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
    logprobs = _logprobs(answer.tokens, answer.logprob) if document.get("logprobs") else None
    return {
        "index": number,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": answer.finish_reason,
    }


def _tool_call(tool: tuple[str, str]) -> dict[str, Any]:
    name, arguments = tool
    return {
        "id": "call_simulated",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _logprobs(tokens: tuple[str, ...], logprob: float) -> dict[str, Any]:
    content: list[dict[str, Any]] = [
        {"token": t, "logprob": logprob, "bytes": None, "top_logprobs": []} for t in tokens
    ]
    return {"content": content, "refusal": None}


async def _stream(
    request: web.Request, document: Mapping[str, Any], answers: list[Reply], first_s: float
) -> web.StreamResponse:
    model = document["model"]
    options, known = request.app[OPTIONS], profile(model)
    response = web.StreamResponse(headers={**HEADERS, "content-type": "text/event-stream"})
    await response.prepare(request)
    head = _head(model, "chat.completion.chunk")
    if first_s > 0:
        await asyncio.sleep(first_s)
    pause_s = 8 / known.tokens_per_s * options.latency_scale
    for number, answer in enumerate(answers):
        opening: dict[str, Any] = {"role": "assistant", "content": ""}
        if answer.tool is not None:
            opening["content"] = None
            opening["tool_calls"] = [{"index": 0, **_tool_call(answer.tool)}]
        await response.write(_chunk(head, number, opening))
        for at, token in enumerate(answer.tokens):
            probs = _logprobs((token,), answer.logprob) if document.get("logprobs") else None
            await response.write(_chunk(head, number, {"content": token}, None, probs))
            if pause_s > 0 and at % 8 == 7:
                await asyncio.sleep(pause_s)
        await response.write(_chunk(head, number, {}, answer.finish_reason))
    if (document.get("stream_options") or {}).get("include_usage"):
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
