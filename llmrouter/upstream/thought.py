"""Answers of models that think aloud: what of a reply is thought, and what is the answer. Pure.

Thought comes in `reasoning_content` (DeepSeek, vLLM, SGLang, llama.cpp), in `reasoning`
(OpenRouter, Ollama, newer vLLM), or in the text before `</think>`. Some servers put the whole
answer there and leave the content empty: a known fault of reasoning parsers with guided decoding,
and of parsers that wait for a `</think>` which never comes. Then the last JSON object in the
thought that has what was asked for is the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from llmrouter.upstream.response_parser import text_of

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_TRIES: Final = 32  # opening brackets looked at, from the end
_MAX_CHARS: Final = 20_000


def split(document: Mapping[str, Any], text: str) -> tuple[str, str]:
    """The answer's text and the thought of a reply's first choice, whose content is `text`."""
    thought = _reasoning(document)
    plain = text.lstrip()
    if _CLOSE in plain and not plain.startswith("{"):
        before, _, answer = plain.rpartition(_CLOSE)
        return answer.strip(), thought + before.removeprefix(_OPEN)
    if plain.startswith(_OPEN):
        return "", thought + plain.removeprefix(_OPEN)
    return text, thought


def answer_in(thought: str, schema: Mapping[str, Any]) -> str | None:
    """The last JSON object in a thought that has every property the schema requires, or None."""
    required = schema.get("required")
    wanted = set(required) if isinstance(required, list) else set()
    text, end = thought[-_MAX_CHARS:], len(thought)
    decoder = json.JSONDecoder()
    for _ in range(_TRIES):
        end = text.rfind("{", 0, end)
        if end < 0:
            return None
        try:
            value, stop = decoder.raw_decode(text, end)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and wanted <= value.keys():
            return text[end:stop]
    return None


def _reasoning(document: Mapping[str, Any]) -> str:
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return ""
    for name in ("reasoning_content", "reasoning"):
        if said := text_of(message.get(name)):
            return said
    return ""
