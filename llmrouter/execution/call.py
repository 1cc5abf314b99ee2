"""The caller's request as one target's request: only the routed members change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.target import Target
from llmrouter.execution.splice import splice


def prepare(
    request: ChatRequest, target: Target, *, ask_usage: bool = True, logprobs: bool = False
) -> tuple[bytes, bool]:
    """The body to send, and whether the usage chunk was asked for on the service's own account.

    Sets `model`, removes `router`, writes a bare `prompt` as messages. A stream asks for its
    usage unless `ask_usage` is False; `logprobs` asks for log-probabilities where the caller does
    not say. Raises ValueError when the body is not a JSON object.
    """
    document = request.document
    replace: dict[str, bytes | None] = {"model": orjson.dumps(target.model), "router": None}
    if request.bare_prompt:
        messages = [{"role": message.role, "content": message.text} for message in request.messages]
        replace["prompt"] = None
        replace["messages"] = orjson.dumps(messages)
    if logprobs and "logprobs" not in document:
        replace["logprobs"] = b"true"
    added = False
    if request.stream and ask_usage:
        given = document.get("stream_options")
        options: Mapping[str, Any] = given if isinstance(given, dict) else {}
        if options.get("include_usage") is not True:
            replace["stream_options"] = orjson.dumps({**options, "include_usage": True})
            added = True
    return splice(request.body, replace), added


def sample(body: bytes) -> bytes:
    """The same request as one more sample: not streamed, and free to differ from the first."""
    temperature = orjson.loads(body).get("temperature")
    replace: dict[str, bytes | None] = {"stream": None, "stream_options": None}
    if temperature == 0:
        replace["temperature"] = b"0.7"
    return splice(body, replace)
