"""Token counts out of a reply, in every spelling that providers use.

Three things differ beyond names. Whether cached tokens are part of the input (OpenAI, DeepSeek,
Gemini: yes; Anthropic's and Bedrock's own `input_tokens`: no). Whether thought is part of the
output (xAI and Gemini count it in the total alone). And where the object stands: at the top, in a
vendor's field (`x_groq`), or in a field of another name. Pure, and trusts no shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrouter.domain.completion import Usage

_NOTHING: Mapping[str, Any] = {}
_INPUT = ("prompt_tokens", "input_tokens", "inputTokens", "promptTokenCount", "inputTokenCount")
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "outputTokens",
    "candidatesTokenCount",
    "outputTokenCount",
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount")
_CACHE_HIT = ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount")
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount")
_CACHE_WRITE = (
    "cache_creation_input_tokens",
    "cacheWriteInputTokens",
    "cacheWriteInputTokenCount",
    "cache_write_tokens",
)
_BESIDE_CACHE = frozenset({"input_tokens", "inputTokens", "inputTokenCount"})
"""Names of an input that does not hold what was read from or written to a cache."""
VENDOR_FIELDS = ("x_groq", "usageMetadata", "timings", "amazon-bedrock-invocationMetrics", "meta")
"""Top-level fields in which a provider may count instead of in `usage`."""


def usage_in(document: Mapping[str, Any]) -> Usage | None:
    """The counts in a body or chunk, or None where it has none."""
    usage = document.get("usage")
    if isinstance(usage, dict) and (found := usage_of(usage)) is not None:
        return found
    for name in VENDOR_FIELDS:
        field = document.get(name)
        if not isinstance(field, dict):
            continue
        if name == "timings":
            found = _timings(field)
        else:
            inner = field.get("usage") or field.get("tokens") or field.get("billed_units")
            found = usage_of(inner if isinstance(inner, dict) else field)
        if found is not None:
            return found
    if "eval_count" in document:  # Ollama's own form
        return _pair(document.get("prompt_eval_count"), document.get("eval_count"))
    return None


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Token counts in any of the common spellings; None when there is no count at all.

    Input includes what a cache held, output what was thought, whatever the provider counts where.
    """
    given_name = next((name for name in _INPUT if _count(usage.get(name)) is not None), None)
    given = _first(usage, _INPUT)
    written = _first(usage, _OUTPUT)
    if given is None and written is None:
        return None
    given, written = given or 0, written or 0
    total = _first(usage, _TOTAL)
    taken = _mapping(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    made = _mapping(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    read, stored = _first(usage, _CACHE_READ) or 0, _first(usage, _CACHE_WRITE) or 0
    beside = read + stored
    if beside and (
        given_name in _BESIDE_CACHE or beside > given or total == given + written + beside
    ):
        given += beside
    cached = max(read, _first(usage, _CACHE_HIT) or 0, _count(taken.get("cached_tokens")) or 0)
    stored = max(
        stored,
        _count(taken.get("cache_write_tokens")) or 0,
        _count(taken.get("cache_creation_tokens")) or 0,
    )
    thought = max(
        _first(made, ("reasoning_tokens", "thinking_tokens")) or 0,
        _first(usage, ("reasoning_tokens", "thoughtsTokenCount")) or 0,
    )
    if total is not None and total > given + written:
        thought = max(thought, total - given - written)
        written = total - given
    elif thought > written:
        written += thought
    cached = min(cached, given)
    return Usage(
        given,
        written,
        cached,
        min(thought, written),
        cache_write_tokens=min(stored, given - cached),
    )


def _timings(timings: Mapping[str, Any]) -> Usage | None:
    """llama.cpp's counters: `prompt_n` is what was read anew, `cache_n` what was known."""
    fresh, written = _count(timings.get("prompt_n")), _count(timings.get("predicted_n"))
    if fresh is None or written is None:
        return None
    cached = _count(timings.get("cache_n")) or 0
    return Usage(fresh + cached, written, cached)


def _pair(given: object, written: object) -> Usage:
    return Usage(_count(given) or 0, _count(written) or 0)


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in usage and (count := _count(usage[name])) is not None:
            return count
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value)
