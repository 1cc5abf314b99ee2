"""OpenAI's legacy completions, simulated: whole and streamed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from llmrouter.simulator.replies import Reply, reply


def read(body: bytes) -> dict[str, Any]:
    """A body of completions. Raises ValueError where it is none."""
    document = orjson.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise ValueError("model must be a name")
    if not document.get("prompt"):
        raise ValueError("prompt must be a text or a list")
    return document


def _prompt(document: Mapping[str, Any]) -> str:
    prompt = document["prompt"]
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def answered(document: Mapping[str, Any]) -> Reply:
    """What the model says."""
    chat = {**document, "messages": [{"role": "user", "content": _prompt(document)}]}
    return reply(document["model"], chat)


def _head(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"cmpl-sim-{uuid.uuid4().hex[:16]}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": document["model"],
    }


def _choice(text: str, finish: str | None) -> list[dict[str, Any]]:
    return [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]


def _usage(document: Mapping[str, Any], answer: Reply) -> dict[str, int]:
    asked, written = len(_prompt(document)) // 4, len(answer.tokens)
    return {
        "prompt_tokens": asked,
        "completion_tokens": written,
        "total_tokens": asked + written,
    }


def whole(document: Mapping[str, Any], answer: Reply) -> dict[str, Any]:
    """A completion."""
    return {
        **_head(document),
        "choices": _choice(answer.text, answer.finish_reason),
        "usage": _usage(document, answer),
    }


def events(document: Mapping[str, Any], answer: Reply) -> Iterator[bytes]:
    """The chunks of a stream; usage comes last, where it was asked for."""
    head = _head(document)

    def chunk(**said: object) -> bytes:
        return b"data: %b\n\n" % orjson.dumps({**head, **said})

    for token in answer.tokens:
        yield chunk(choices=_choice(token, None))
    yield chunk(choices=_choice("", answer.finish_reason))
    if (document.get("stream_options") or {}).get("include_usage"):
        yield chunk(choices=[], usage=_usage(document, answer))
    yield b"data: [DONE]\n\n"
