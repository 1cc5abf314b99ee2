"""The caller's request as one target's request: only the routed members change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.interfaces import Rewritten
from llmrouter.domain.patterns import compile_bytes
from llmrouter.domain.target import Target
from llmrouter.execution.json_splice import splice

CHAT = "openai-chat"
_STREAMS_USAGE = frozenset({CHAT, "openai-completions"})


def prepare(
    request: ChatRequest,
    target: Target,
    *,
    ask_usage: bool = True,
    candidates: int = 0,
    rewritten: Rewritten | None = None,
) -> tuple[bytes, bool]:
    """The body to send, and whether the usage chunk was asked for on the service's own account.

    Sets `model`, removes `router`, writes a bare `prompt` as messages. A stream asks for its
    usage unless `ask_usage` is False. `candidates` 1 asks for the tokens' log-probabilities where
    the caller does not say, 2 for those of the next likeliest as well; both in formats that have
    them. Of a translated request only the log-probabilities are added. Raises ValueError when the
    body is not a JSON object.
    """
    document = request.document
    if rewritten is not None:
        if rewritten.translation is not None:
            asked = _candidates(document, candidates) if rewritten.protocol == CHAT else {}
            if target.access.params or target.access.overrides:
                asked |= _target_members(target, orjson.loads(rewritten.body))
            return splice(rewritten.body, asked) if asked else rewritten.body, False
        request = replace(request, body=rewritten.body)
    protocol = request.wire.protocol
    ask_usage = ask_usage and protocol in _STREAMS_USAGE
    if protocol != CHAT:
        candidates = 0
    if not (
        request.bare_prompt
        or candidates
        or "router" in document
        or "stream_options" in document
        or target.access.params
        or target.access.overrides
    ):
        quick = _quick(request, target, ask_usage=ask_usage)
        if quick is not None:
            return quick
    members: dict[str, bytes | None] = {"model": orjson.dumps(target.model), "router": None}
    if request.bare_prompt:
        messages = [{"role": message.role, "content": message.text} for message in request.messages]
        members["prompt"] = None
        members["messages"] = orjson.dumps(messages)
    members |= _candidates(document, candidates)
    members |= _target_members(target, document)
    added = False
    if request.stream and ask_usage:
        given = document.get("stream_options")
        options: Mapping[str, Any] = given if isinstance(given, dict) else {}
        if options.get("include_usage") is not True:
            members["stream_options"] = orjson.dumps({**options, "include_usage": True})
            added = True
    return splice(request.body, members), added


def _target_members(target: Target, document: Mapping[str, Any]) -> dict[str, bytes | None]:
    """The members that the target's catalog file sets: defaults, and what holds in any case."""
    defaults = {name: v for name, v in target.access.params.items() if name not in document}
    members = {**defaults, **target.access.overrides}
    return {name: orjson.dumps(value) for name, value in members.items()}


def _candidates(document: Mapping[str, Any], candidates: int) -> dict[str, bytes | None]:
    """The members that ask for log-probabilities where the caller does not say."""
    members: dict[str, bytes | None] = {}
    if candidates and "logprobs" not in document:
        members["logprobs"] = b"true"
    if candidates > 1 and document.get("logprobs", True) and "top_logprobs" not in document:
        members["top_logprobs"] = orjson.dumps(candidates)
    return members


_MODEL = compile_bytes(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')


def _quick(request: ChatRequest, target: Target, *, ask_usage: bool) -> tuple[bytes, bool] | None:
    """The usual request, without walking its members; None where this cannot be sure.

    A name can be spelled with escapes only by `\\u`. So where there is none, and the parse holds a
    top-level `model`, the one place that reads `"model"` is that member.
    """
    body = request.body
    if (
        not isinstance(request.document.get("model"), str)
        or body.count(b'"model"') != 1
        or b"\\u" in body
    ):
        return None
    member = _MODEL.match(body, body.index(b'"model"'))
    if member is None:
        return None
    head, tail = body[: member.start(1)], body[member.end(1) :]
    model = orjson.dumps(target.model)
    if not (request.stream and ask_usage):
        return b"%b%b%b" % (head, model, tail), False
    end = tail.rindex(b"}")
    usage = b',"stream_options":{"include_usage":true}'
    return b"%b%b%b%b%b" % (head, model, tail[:end], usage, tail[end:]), True


def choices_of(request: ChatRequest) -> int:
    """How many answers the request asks for (`n`)."""
    choices = request.document.get("n")
    return int(choices) if isinstance(choices, int | float) and choices > 1 else 1


def sample(body: bytes) -> bytes:
    """The same request as one more sample: not streamed, and free to differ from the first."""
    temperature = orjson.loads(body).get("temperature")
    members: dict[str, bytes | None] = {"stream": None, "stream_options": None}
    if temperature == 0:
        members["temperature"] = b"0.7"
    return splice(body, members)
