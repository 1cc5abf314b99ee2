"""Names requests: requests with equal fingerprints share one decision.

A fingerprint is a keyed hash: without the key, a stored name does not reveal the prompt, and a
prompt cannot be crafted to take another prompt's cache entry. It covers the tenant, every turn in
normal form, and everything else in the request that can change the decision. Sampling settings,
session names and unknown extensions cannot, so they are left out. Every field is written with its
length, so that moving a border between fields gives another name.

All workers share one key, which survives restarts: another key means an empty cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from llmrouter.domain.chat import NO_OPTIONS, Caller, ChatRequest, Message, RouterOptions
from llmrouter.domain.quick import quick
from llmrouter.features.compatibility import folded_length
from llmrouter.features.harness_envelopes import strip_envelopes
from llmrouter.features.normalization import normalise

DIGEST_BYTES: Final = 16
LONG_TURN: Final = 100_000
"""Characters of a turn from which on it is compared as it stands, to bound the work."""
LONG_REQUEST: Final = 4 * LONG_TURN
"""Characters of a request behind which further turns are compared as they stand."""

SLICE: Final = 256 * 1024
"""Characters that are encoded at once."""

SHAPING: Final = frozenset(
    {
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "response_format",
        "reasoning_effort",
        "reasoning",
        "modalities",
        "web_search_options",
        "logprobs",
    }
)
"""Fields of a body, besides its messages, that may change which target is right."""


@quick
@dataclass(frozen=True, slots=True)
class Subject:
    """What is named: a request, who asks, and what was already read from it.

    `shape` is `canonical_shape` of its document, `extras` `turn_extras` of the request.
    """

    request: ChatRequest
    caller: Caller
    output_tokens: int
    shape: bytes = b""
    extras: Mapping[int, bytes] | None = None


@quick
@dataclass(frozen=True, slots=True)
class Prints:
    """The names of a request, 32 hex characters each.

    `content` covers what a judgement is about: tenant, turns, tools and the declared task, but no
    constraint. `fingerprint` adds the constraints: what a decision is about.
    """

    fingerprint: str
    conversation: str
    content: str = ""


def canonical(value: object) -> bytes:
    """JSON with sorted keys: equal values give equal bytes, whatever order they came in."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (
        TypeError
    ):  # a value that never was JSON, such as a lone surrogate; its repr still names it
        return repr(value).encode("utf-8", "surrogatepass")


def canonical_shape(document: Mapping[str, Any]) -> bytes:
    """The fields in SHAPING that are set, as canonical bytes; empty when there are none."""
    if SHAPING.isdisjoint(document):
        return b""
    fields = {name: document[name] for name in SHAPING if document.get(name)}
    return canonical(fields) if fields else b""


def turn_extras(request: ChatRequest) -> dict[int, bytes]:
    """By turn, canonical bytes of what is not text: images, audio, files and tool calls.

    Ids of tool calls are left out: they differ every time and say nothing.
    """
    turns = request.document.get("messages")
    if request.bare_prompt or not isinstance(turns, list):
        return {}
    extras: dict[int, bytes] = {}
    for index, message in enumerate(request.messages):
        if not message.parts and not message.calls_tools:
            continue
        turn = turns[index] if index < len(turns) else None
        if isinstance(turn, dict):
            extras[index] = canonical([_other_parts(turn), _tool_calls(turn)])
    return extras


def _other_parts(turn: Mapping[str, Any]) -> list[object]:
    content = turn.get("content")
    if not isinstance(content, list):
        return []
    return [p for p in content if not (isinstance(p, dict) and p.get("type") == "text")]


def _tool_calls(turn: Mapping[str, Any]) -> list[object]:
    calls: list[object] = [turn["function_call"]] if turn.get("function_call") else []
    calls.extend(
        {name: value for name, value in call.items() if name != "id"}
        for call in turn.get("tool_calls") or ()
        if isinstance(call, dict)
    )
    return calls


def constraints(options: RouterOptions, tier: str | None) -> bytes:
    """Everything in `options` that can change the decision; `allow` and `deny` are sets."""
    return repr(
        (
            tier,
            _number(options.latency_budget_ms),
            _number(options.max_cost_usd),
            _number(options.quality),
            None if options.allow is None else sorted(set(options.allow)),
            sorted(set(options.deny)),
            None if options.task is None else options.task.strip().lower(),
            options.strategy,
        )
    ).encode("utf-8", "surrogatepass")


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


_NO_CONSTRAINTS: Final = constraints(NO_OPTIONS, None)


class Fingerprinter:
    """Names requests under one secret key (1 to 64 bytes)."""

    def __init__(self, key: bytes) -> None:
        if not 1 <= len(key) <= blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a key has 1 to {blake2b.MAX_KEY_SIZE} bytes, not {len(key)}")
        self._turns = blake2b(b"turns;", digest_size=DIGEST_BYTES, key=key)
        self._entry = blake2b(b"entry;", digest_size=DIGEST_BYTES, key=key)

    def prints(self, subject: Subject) -> Prints:
        """Both names. They share the work up to and with the first user turn."""
        request, extras, tenant = subject.request, subject.extras, subject.caller.tenant
        state, conversation = self._turns.copy(), ""
        pieces = [f"{len(tenant)}:{tenant}"]
        looked_at = 0
        for index, message in enumerate(request.messages):
            role, text = message.role, message.text
            if role == "user" and "<" in text:
                text = strip_envelopes(text)
            if len(text) < LONG_TURN and looked_at < LONG_REQUEST:
                length = folded_length(text)
                looked_at += length
                if length < LONG_TURN:
                    text = normalise(text)
            pieces.append(f"{len(role)}:{role}{len(text)}:{text}")
            if message.parts or message.calls_tools:
                pieces.append(_beside_text(message, None if extras is None else extras.get(index)))
            if role == "user" and not conversation:
                _update(state, pieces)
                conversation, pieces = state.hexdigest(), ["|"]
        if not conversation:
            _update(state, pieces)
            conversation, pieces = state.hexdigest(), ["|"]
        options, tier = request.options, subject.caller.tier
        if options is NO_OPTIONS and tier is None:
            limits = _NO_CONSTRAINTS
        else:
            limits = constraints(options, tier or options.tier)
        _update(state, pieces)
        task = (options.task or "").strip().lower().encode("utf-8", "surrogatepass")
        state.update(b"|%d:%b%b" % (len(task), task, subject.shape))
        content = state.hexdigest()
        state.update(b"|%d;%d:%b" % (subject.output_tokens, len(limits), limits))
        return Prints(state.hexdigest(), conversation, content)

    def cache_key(self, fingerprint: str, revision: str, eligible: Sequence[str]) -> str:
        """The name of a cached verdict (32 hex characters): request, catalog and candidates."""
        state = self._entry.copy()
        for part in (fingerprint, revision, *eligible):
            data = part.encode("utf-8", "surrogatepass")
            state.update(b"%d:%b" % (len(data), data))
        return state.hexdigest()


def encoded_slices(text: str) -> Iterator[bytes]:
    """A text as UTF-8, in slices short enough for other threads to have their turn between."""
    for start in range(0, len(text), SLICE):
        yield text[start : start + SLICE].encode("utf-8", "surrogatepass")


def _update(state: blake2b, pieces: list[str]) -> None:
    """Hash pieces as if they were one; long ones in slices."""
    text = "".join(pieces)
    if len(text) <= SLICE:
        state.update(text.encode("utf-8", "surrogatepass"))
        return
    for data in encoded_slices(text):
        state.update(data)


def _beside_text(message: Message, extra: bytes | None) -> str:
    """What stands for a turn's parts and tool calls: their hash where their bytes are known."""
    if extra is not None:
        return f"+{blake2b(extra, digest_size=DIGEST_BYTES).hexdigest()}"
    if message.parts:
        kinds = repr(sorted(message.parts.items()))
        return f"*{len(kinds)}:{kinds}"
    return "!"
