"""The drop-in for OpenAI clients: bodies are the upstream's own, the decision is in headers."""

from __future__ import annotations

from aiohttp import web

from llmrouter.api.body_reader import read_request
from llmrouter.api.completion_response import execute
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.request_parser import Endpoint
from llmrouter.domain.chat import Caller


async def chat_completions(
    request: web.Request, services: Dependencies, caller: Caller
) -> web.StreamResponse:
    """POST /v1/chat/completions: `auto` routes, a target's id pins it."""
    chat = await read_request(request, services, Endpoint.OPENAI)
    return await execute(request, services, caller, chat, explain=False)
