"""What a small LLM's reply comes to: an answer, or which kind of failure it is. Pure.

A truncated answer, a refusal and a body that is no completion are failures of different kinds,
because they call for different remedies; none of them is ever read as half an answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from llmrouter.domain.completion import Usage
from llmrouter.domain.interfaces import ChatAnswer, TokenAnswer
from llmrouter.domain.patterns import Pattern, compile_pattern, quoted
from llmrouter.domain.provider_errors import classify, error_in
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.response_parser import ParsedResponse, error_of, parsed, read
from llmrouter.upstream.thought import answer_in, split

log = logging.getLogger(__name__)

MAX_ANSWER_CHARS = 20_000


def answer_of(body: bytes, model: str, prompt_chars: int, schema: Mapping[str, Any]) -> ChatAnswer:
    """The answer in a reply of status 200. Raises RouterLLMFailed, with the tokens it cost.

    `model` is reported where the server names none. Where it counts no tokens, they are estimated
    at four characters each.
    """
    document = parsed(body)
    if document is None:
        raise RouterLLMFailed("malformed", "the server's answer is no JSON object")
    reading = read(document)
    usage = _billed(reading, prompt_chars, len(body))
    spent = usage.tokens
    check_error(document, None if reading.usage is None else usage)
    if reading.refusal:
        raise RouterLLMFailed("refusal", "the model declined to answer", tokens=spent)
    cut = reading.finish_reason == "length"
    text, thought = split(document, reading.text)
    if not text.strip() and thought:
        heard = None if cut else answer_in(thought, schema)
        if heard is None:
            said = "the token limit was spent on thought" if cut else "there is thought alone"
            raise RouterLLMFailed("thought", said, tokens=spent)
        text = heard
    if cut:
        raise RouterLLMFailed("truncated", "the answer hit its token limit", tokens=spent)
    if not text.strip():
        raise RouterLLMFailed("malformed", "the answer is empty", tokens=spent)
    if len(text) > MAX_ANSWER_CHARS:
        raise RouterLLMFailed("malformed", f"over {MAX_ANSWER_CHARS} characters", tokens=spent)
    return ChatAnswer(
        text=text,
        usage=usage,
        model=reading.model or model,
        finish_reason=reading.finish_reason,
        logprob=mean_logprob(document, text, schema) if text == reading.text else None,
    )


def next_token_of(body: bytes, model: str, prompt_chars: int) -> TokenAnswer:
    """The distribution of the first token in a reply of status 200. Raises RouterLLMFailed.

    Servers tell the likeliest tokens beside the one that was drawn, which may or may not be among
    them; white space alone before the answer is no reason to look further.
    """
    document = parsed(body)
    if document is None:
        raise RouterLLMFailed("malformed", "the server's answer is no JSON object")
    reading = read(document)
    usage = _billed(reading, prompt_chars, len(body))
    spent = usage.tokens
    check_error(document, None if reading.usage is None else usage)
    if reading.refusal:
        raise RouterLLMFailed("refusal", "the model declined to answer", tokens=spent)
    found: dict[str, float] = {}
    try:
        first = document["choices"][0]["logprobs"]["content"][0]
        for entry in (*(first.get("top_logprobs") or ()), first):
            raw, logprob = _token(entry)
            found[raw.decode(errors="replace")] = math.exp(min(0.0, logprob))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        found = {}
    if not found:
        raise RouterLLMFailed("no_logprobs", "the answer has no log-probabilities", tokens=spent)
    return TokenAnswer(found, usage, reading.model or model, reading.finish_reason)


def check_error(document: Mapping[str, Any], usage: Usage | None) -> None:
    """Raise RouterLLMFailed for an error in a reply of status 200, with what it counted."""
    error = error_of(document)
    if error is not None:
        said, status = error
        category = classify(status, error_in(document))
        raise RouterLLMFailed(
            "http",
            f"an error in a 200: {said}",
            status=status,
            category=category,
            tokens=(usage or Usage()).tokens,
        )


def _billed(reading: ParsedResponse, prompt_chars: int, received: int) -> Usage:
    if reading.usage is None:
        return Usage(prompt_chars // 4, max(1, reading.written // 4), estimated=True)
    usage = reading.usage.of_question(prompt_chars, received)
    if usage is not reading.usage:
        log.warning("the router LLM's server counted more than a call can use: %s", reading.usage)
    return usage


def mean_logprob(document: Mapping[str, Any], text: str, schema: Mapping[str, Any]) -> float | None:
    """The mean token log-probability, or None where the reply has none.

    Where the schema has a property with an `enum` (the choice), only the tokens of its value
    count: those of braces and prose say nothing about how sure the choice is.
    """
    tokens = _tokens(document)
    if not tokens:
        return None
    span = _choice_span(text, schema)
    chosen: list[float] = []
    if span is not None and b"".join(raw for raw, _ in tokens) == text.encode():
        at = 0
        for raw, logprob in tokens:
            if at < span[1] and at + len(raw) > span[0]:
                chosen.append(logprob)
            at += len(raw)
    values = chosen or [logprob for _, logprob in tokens]
    return min(0.0, sum(values) / len(values))


def _tokens(document: Mapping[str, Any]) -> list[tuple[bytes, float]]:
    """Each token's bytes and log-probability; empty when anything is not as it should be."""
    try:
        content = document["choices"][0]["logprobs"]["content"]
        return [_token(entry) for entry in content]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        return []


def _token(entry: Mapping[str, Any]) -> tuple[bytes, float]:
    raw = entry.get("bytes")
    logprob = entry["logprob"]
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or logprob != logprob:
        raise ValueError("no number")
    value = max(float(logprob), -100.0)  # some servers write -inf as a very large number
    return (bytes(raw) if isinstance(raw, list) else str(entry["token"]).encode()), value


@lru_cache(maxsize=64)
def _member(label: str) -> Pattern:
    return compile_pattern(quoted(label) + r'\s*:\s*"((?:[^"\\]|\\.)*)"')


def _choice_span(text: str, schema: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where the value of the first property with an enum stands in `text`, in bytes."""
    properties = schema.get("properties", {})
    name = next((key for key, rule in properties.items() if "enum" in rule), None)
    if name is None:
        return None
    found = _member(orjson.dumps(name).decode()).search(text)
    if found is None:
        return None
    start, end = found.span(1)
    return len(text[:start].encode()), len(text[:end].encode())
