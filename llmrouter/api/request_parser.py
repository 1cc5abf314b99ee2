"""Bytes to ChatRequest and Decision to bytes: one parse, checked by hand.

Only what routing reads is checked; everything else in an OpenAI body passes through untouched,
because the target knows its own extensions better. Every refusal is a BadRequest that names the
parameter. Nothing here copies the body or writes into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import orjson

from llmrouter.api.body_limits import (
    DEFAULT_LIMITS,
    BodyLimits,
    check_counts,
    check_structure,
)
from llmrouter.api.formats import FORMAT_OF
from llmrouter.api.router_options import (
    kind,
    parse_options,
    shown,
    suggestion,
    wrong_type,
    wrong_value,
)
from llmrouter.domain.chat import CHAT_WIRE, NO_OPTIONS, ChatRequest, Message, WireFacts
from llmrouter.domain.decision import Decision
from llmrouter.errors import BadRequest
from llmrouter.upstream.protocols.exact_json import with_exact_inputs

ROLES: tuple[str, ...] = (
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
)
_ROLES = frozenset(ROLES)
MAX_COUNT = 2**31 - 1


class Endpoint(StrEnum):
    """Which call a body came in on; `formats` says which wire format each one speaks."""

    __hash__ = str.__hash__  # an Enum's own is a call of Python's

    ROUTE = "/route"
    COMPLETE = "/complete"
    OPENAI = "/v1/chat/completions"
    MESSAGES = "/v1/messages"
    COUNT = "/v1/messages/count_tokens"
    RESPONSES = "/v1/responses"
    EMBEDDINGS = "/v1/embeddings"
    COMPLETIONS = "/v1/completions"
    DECISIONS = "/v1/decisions"
    SYSTEMONE = "/v1/systemone"


def parse(
    body: bytes, endpoint: Endpoint, *, kept: bool = False, limits: BodyLimits = DEFAULT_LIMITS
) -> ChatRequest:
    """Check a chat-completions body. Raises BadRequest with `param` and `code` set.

    `kept` says that the caller will keep the request for when the same bytes come again.
    """
    document = parse_object(body, limits)
    get = document.get
    stream = get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise wrong_type("stream", "a boolean", stream)
    options = get("router")
    turns = get("messages")
    bare = False
    if turns is None and endpoint is not Endpoint.OPENAI and "prompt" in document:
        messages: tuple[Message, ...] = (Message("user", _prompt(document["prompt"])),)
        bare = True
    else:
        if turns is not None and endpoint is not Endpoint.OPENAI and "prompt" in document:
            raise wrong_value("prompt", "cannot stand beside messages; send one of them")
        messages = _messages(turns)
    key = get("prompt_cache_key")
    for name, value in document.items():
        check = _CHECKS.get(name)
        if check is not None and value is not None:
            check(name, value)
    return ChatRequest(
        body,
        document,
        messages,
        NO_OPTIONS if options is None else parse_options(options),
        _model(get("model"), endpoint),
        stream is True,
        bare,
        kept,
        WireFacts(session=key) if isinstance(key, str) and key else CHAT_WIRE,
    )


def parse_as(
    body: bytes,
    endpoint: Endpoint,
    headers: Mapping[str, str],
    *,
    kept: bool = False,
    limits: BodyLimits = DEFAULT_LIMITS,
) -> ChatRequest:
    """Check a body of another wire format than chat completions. Raises BadRequest.

    `headers` are the caller's own that belong to the format.
    """
    spoken, document = FORMAT_OF[endpoint], parse_object(body, limits)
    stream = document.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise wrong_type("stream", "a boolean", stream)
    for name in ("max_tokens", "max_output_tokens", "n", "best_of"):
        if document.get(name) is not None:
            _positive(name, document[name])
    model = _model(document.get("model"), endpoint)
    read = spoken.parse(with_exact_inputs(document, body))
    return ChatRequest(
        body,
        read.document,
        _messages(read.document["messages"]),
        parse_options(document.get("router")),
        model,
        stream is True,
        False,
        kept,
        WireFacts(
            spoken.name,
            read.needs,
            read.losses,
            read.session,
            read.signed,
            read.foreign,
            headers,
            _repeated(document) if endpoint is Endpoint.RESPONSES else {},
        ),
    )


def _repeated(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "input"}


def in_session(request: ChatRequest, session: str | None) -> ChatRequest:
    """The request in the session that its headers name; that outranks what its body says."""
    if session is None:
        return request
    return replace(request, wire=replace(request.wire, session=session))


def parse_object(body: bytes, limits: BodyLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """One JSON object from a body, within the limits. Raises BadRequest."""
    if not body:
        raise BadRequest("the body is empty; send a JSON object", code="invalid_json")
    check_structure(body, limits)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"the body is not JSON: {_spoilt(body) or error}", code="invalid_json"
        ) from None
    if not isinstance(document, dict):
        raise BadRequest(
            f"the body must be a JSON object, not {kind(document)}", code="invalid_type"
        )
    check_counts(document, limits)
    return document


def _spoilt(body: bytes) -> str | None:
    """Where a body stops being UTF-8; the parser does not say."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} (0x{body[error.start]:02x}) is not UTF-8"
    return None


def encode_decision(decision: Decision) -> bytes:
    """A decision in its public shape; what it shares with others is encoded once."""
    middle = decision.common.get("public")
    if middle is None:
        shown = decision.public()
        del shown["decision_id"], shown["timing_ms"]
        middle = orjson.dumps(shown)[1:-1]
        decision.share("public", middle)
    decision_id, timing_ms = orjson.dumps(decision.decision_id), orjson.dumps(decision.timing_ms)
    return b'{"decision_id":%b,%b,"timing_ms":%b}' % (decision_id, middle, timing_ms)


def _prompt(value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type("prompt", "a string", value)
    if not value:
        raise wrong_value("prompt", "is empty")
    return value


_MAY_LACK_MODEL = frozenset(
    {Endpoint.ROUTE, Endpoint.COMPLETE, Endpoint.DECISIONS, Endpoint.SYSTEMONE}
)


def _model(value: object, endpoint: Endpoint) -> str | None:
    if value is None:
        if endpoint not in _MAY_LACK_MODEL:
            raise BadRequest(
                'model is missing: "auto" routes, a target\'s id pins it',
                param="model",
                code="missing_required_parameter",
            )
        return None
    if not isinstance(value, str):
        raise wrong_type("model", "a string", value)
    if not value:
        raise wrong_value("model", "is empty")
    return value


def _messages(turns: object) -> tuple[Message, ...]:
    if turns is None:
        raise BadRequest(
            "messages is missing: send a list of {role, content}",
            param="messages",
            code="missing_required_parameter",
        )
    if not isinstance(turns, list):
        raise wrong_type("messages", "a list", turns)
    if not turns:
        raise wrong_value("messages", "is empty; send at least one message")
    messages = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise wrong_type(f"messages[{index}]", "an object", turn)
        role = turn.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise _wrong_role(index, role)
        content = turn.get("content")
        calls = "tool_calls" in turn or "function_call" in turn
        if calls:
            calls = _calls_tools(index, turn)
        if isinstance(content, str):
            messages.append(Message(role, content, {}, calls))
        elif isinstance(content, list):
            text, parts = _parts(index, content)
            messages.append(Message(role, text, parts, calls))
        elif content is None and role == "assistant" and (calls or _speaks_otherwise(turn)):
            messages.append(Message(role, "", {}, calls))
        elif content is None:
            raise BadRequest(
                f"messages[{index}].content is missing; only an assistant that calls tools may "
                "leave it out",
                param=f"messages[{index}].content",
                code="missing_required_parameter",
            )
        else:
            raise wrong_type(f"messages[{index}].content", "a string or a list of parts", content)
    return tuple(messages)


def _calls_tools(index: int, turn: dict[str, Any]) -> bool:
    calls, legacy = turn.get("tool_calls"), turn.get("function_call")
    if calls is not None:
        _objects(f"messages[{index}].tool_calls", calls)
    if legacy is not None:
        _object(f"messages[{index}].function_call", legacy)
    return bool(calls or legacy)


def _speaks_otherwise(turn: dict[str, Any]) -> bool:
    """Whether an assistant turn without content says something in another field."""
    return any(turn.get(name) for name in ("refusal", "audio", "reasoning_content", "reasoning"))


def _wrong_role(index: int, role: object) -> BadRequest:
    param = f"messages[{index}].role"
    if role is None:
        return BadRequest(f"{param} is missing", param=param, code="missing_required_parameter")
    if not isinstance(role, str):
        return wrong_type(param, "a string", role)
    return wrong_value(param, f"cannot be {shown(role)}{suggestion(role, ROLES)}")


def _parts(index: int, content: list[Any]) -> tuple[str, dict[str, int]]:
    """The text of a list of parts, and how many parts of each other type it has."""
    where = f"messages[{index}].content"
    if not content:
        raise wrong_value(where, "is an empty list")
    texts: list[str] = []
    others: dict[str, int] = {}
    for number, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong_type(f"{where}[{number}]", "an object", part)
        name = part.get("type")
        if not isinstance(name, str):
            if name is None:
                raise BadRequest(
                    f"{where}[{number}].type is missing",
                    param=f"{where}[{number}].type",
                    code="missing_required_parameter",
                )
            raise wrong_type(f"{where}[{number}].type", "a string", name)
        if name == "text":
            text = part.get("text")
            if not isinstance(text, str):
                raise wrong_type(f"{where}[{number}].text", "a string", text)
            texts.append(text)
        else:
            others[name] = others.get(name, 0) + 1
    return "\n".join(texts), others


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, "a whole number", value)
    if value % 1:  # 16.0 is a whole number, in JSON as in JSON Schema
        raise wrong_value(name, f"must be a whole number, not {value:g}")
    if not 1 <= value <= MAX_COUNT:
        raise wrong_value(name, f"must be from 1 to {MAX_COUNT}, not {value:g}")


def _object(name: str, value: object) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)


def _string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)


def _objects(name: str, value: object) -> None:
    if not isinstance(value, list):
        raise wrong_type(name, "a list", value)
    for index, item in enumerate(value):
        _object(f"{name}[{index}]", item)


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "tools": _objects,
    "functions": _objects,
    "response_format": _object,
    "stream_options": _object,
    "max_tokens": _positive,
    "max_completion_tokens": _positive,
    "n": _positive,
    "reasoning_effort": _string,
}
