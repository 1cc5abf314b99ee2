"""Which wire format each path speaks: whose bodies, errors and events its callers know."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import istr

from llmrouter.errors import LLMRouterError
from llmrouter.upstream.protocols.interface import WireFormat
from llmrouter.upstream.protocols.registry import BY_NAME

CHAT: Final = BY_NAME["openai-chat"]
MESSAGES: Final = BY_NAME["anthropic-messages"]
FORMAT_OF: Final[Mapping[str, WireFormat]] = {
    "/route": CHAT,
    "/complete": CHAT,
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
    "/v1/responses": BY_NAME["openai-responses"],
    "/v1/embeddings": BY_NAME["openai-embeddings"],
    "/v1/completions": BY_NAME["openai-completions"],
    "/v1/decisions": BY_NAME["openai-decisions"],
    "/v1/systemone": BY_NAME["systemone"],
}
FORWARDED: Final[Mapping[str, tuple[str, ...]]] = {
    MESSAGES.name: ("anthropic-version", "anthropic-beta"),
}
"""The caller's headers that belong to a format; they go to targets that speak it."""


SESSION_HEADERS: Final = tuple(
    istr(name)
    for name in (
        "x-llmrouter-session",
        "x-claude-code-session-id",
        "session-id",
        "session_id",
        "x-session-id",
        "x-session-affinity",
    )
)
"""Headers by which agents name their session, ours first."""
MAX_SESSION: Final = 256


def session_of(headers: Mapping[str, str]) -> str | None:
    """The session that a request's headers name."""
    for name in SESSION_HEADERS:
        if name in headers:
            return headers[name][:MAX_SESSION] or None
    return None


def format_of(path: str) -> WireFormat:
    """The format that callers of a path know; chat completions for everything else.

    A base path may stand before it.
    """
    found = FORMAT_OF.get(path)
    while found is None and (at := path.find("/", 1)) > 0:
        path = path[at:]
        found = FORMAT_OF.get(path)
    return found or CHAT


def spoken_by(request: web.Request) -> WireFormat:
    """The format that a caller knows: its path's, and on `/v1/models` what its headers say."""
    path = request.path
    if path.startswith("/v1/models") and "anthropic-version" in request.headers:
        return MESSAGES
    return format_of(path)


def new_request_id() -> str:
    """An id for an answer that no decision led to."""
    return f"req_{uuid.uuid4().hex}"


def request_id(error: LLMRouterError) -> str:
    """An id for an error's envelope: its decision's, where there was one."""
    return error.headers.get("x-llmrouter-decision-id") or new_request_id()


def own_headers(spoken: WireFormat, given: Mapping[str, str], name: str) -> dict[str, str]:
    """Headers that callers of a format expect: `name` as the request's id, their version again."""
    if spoken is not MESSAGES:
        return {}
    version = given.get("anthropic-version")
    return {"request-id": name, **({"anthropic-version": version} if version else {})}
