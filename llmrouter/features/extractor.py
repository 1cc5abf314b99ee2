"""Reads one request into Features: bytes → ChatRequest → **Features** → RoutingContext.

Runs once a request, before anything is known about its decision, so it does no more than every
request needs: sizes, needed capabilities, the two names. Traits are read later, if at all. It
judges nothing: a feature is a measurement or a field of the body.

Token counts are estimates. Text counts a quarter of a token per character and 0.375 more for every
UTF-8 byte beyond the first of each character, which is close for English, Cyrillic (about 0.6 a
character) and CJK (1 a character); each turn adds 4. Tool schemas and tool calls count a quarter
of a token per byte of JSON. What is not text counts as `domain.parts` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from llmrouter.domain.chat import Caller, ChatRequest, Message
from llmrouter.domain.features import Features, Traits, answers_of, output_limit
from llmrouter.domain.parts import NOTHING, media_of, output_needs
from llmrouter.features.fingerprint import (
    SHAPING,
    Fingerprinter,
    Subject,
    canonical_shape,
    encoded_slices,
    turn_extras,
)
from llmrouter.features.harness_envelopes import strip_envelopes
from llmrouter.features.task_classifier import measure

DEFAULT_OUTPUT_TOKENS: Final = 512
"""What is assumed when the caller sets no limit: a long answer of a page."""

TRAITS_KEPT: Final = 2048
_SAMPLE: Final = "Fix this:\n```\nx = 1\n```\nWhat is 2 + 2? Summarise. é"

TURN_TOKENS: Final = 4
NO_NEEDS: Final[frozenset[str]] = frozenset()
_NO_REASONING: Final = frozenset({"none", "minimal"})
_NO_EXTRAS: Final[Mapping[int, bytes]] = {}


class Extractor:
    """Measures requests; `fingerprinter` holds the key that names them."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        self._fingerprinter = fingerprinter
        self._measured: dict[str, Traits] = {}

    async def warm(self) -> None:
        """Compile the patterns that traits are read with, in a thread: it takes some 50 ms."""
        await asyncio.to_thread(measure, _SAMPLE, "system", None)

    def _traits(self, fingerprint: str, text: str, system: str, task: str | None) -> Traits:
        """The traits, measured once a fingerprint: rules ask for them on every request."""
        traits = self._measured.get(fingerprint)
        if traits is None:
            traits = measure(text, system, task)
            if len(self._measured) >= TRAITS_KEPT:
                del self._measured[next(iter(self._measured))]
            self._measured[fingerprint] = traits
        return traits

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The features of `request`. Pure but for the key; never raises on a parsed request."""
        document, messages = request.document, request.messages
        shape = canonical_shape(document)
        tokens, turns, rich, mixed = 0.0, 0, False, False
        last_user: Message | None = None
        system = ""
        for message in messages:
            text, role = message.text, message.role
            tokens += estimate_tokens(text) + TURN_TOKENS
            if role == "user":
                turns += 1
                last_user = message
            elif role in ("system", "developer"):
                system = f"{system}\n{text}" if system else text
            if message.parts or message.calls_tools:
                rich = True
            if message.parts or not text:
                mixed = True
        extras: Mapping[int, bytes] = turn_extras(request) if rich else _NO_EXTRAS
        media = media_of(request) if mixed else NOTHING
        tokens += media.tokens
        if rich:
            tokens += _call_tokens(messages, extras)
        text = "" if last_user is None else strip_envelopes(last_user.text)
        output_tokens, asked = requested_output(document)
        prints = self._fingerprinter.prints(Subject(request, caller, output_tokens, shape, extras))
        task = request.options.task
        needs = needs_of(document, media.needs) if shape or media.needs else NO_NEEDS
        return Features(
            fingerprint=prints.fingerprint,
            conversation=prints.conversation,
            text=text,
            system=system,
            input_tokens=int(tokens + len(shape) / 4) + 1,
            output_tokens=output_tokens,
            needs=needs | request.wire.needs if request.wire.needs else needs,
            turns=turns,
            tools=bool(shape) and bool(document.get("tools") or document.get("functions")),
            continuation=_continues(messages[-1], text),
            asked_output=asked,
            answers=answers_of(document),
            read_traits=lambda: self._traits(prints.fingerprint, text, system, task),
            content=prints.content,
        )


def estimate_tokens(text: str) -> float:
    """About how many tokens `text` is; see the module's first lines."""
    if text.isascii():
        return len(text) * 0.25
    characters = len(text)
    size = sum(map(len, encoded_slices(text)))
    return characters * 0.25 + (size - characters) * 0.375


def requested_output(document: Mapping[str, Any]) -> tuple[int, bool]:
    """Output tokens over all `n` choices, and whether the caller set the limit."""
    limit, answers = output_limit(document), answers_of(document)
    if limit is None:
        return DEFAULT_OUTPUT_TOKENS * answers, False
    return limit * answers, True


def needs_of(document: Mapping[str, Any], media: frozenset[str]) -> frozenset[str]:
    """The capabilities that a target must have: for what the messages carry, and what is asked."""
    if SHAPING.isdisjoint(document):
        return media
    return media | _needs_of_fields(document)


def _needs_of_fields(document: Mapping[str, Any]) -> set[str]:
    needs = set()
    if document.get("tools") or document.get("functions") or _chooses_tool(document):
        needs.add("tools")
    shape = document.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type") == "json_schema":
        needs.add("json_schema")
    if _reasons(document):
        needs.add("reasoning")
    needs |= output_needs(document.get("modalities"))
    if document.get("logprobs") is True:
        needs.add("logprobs")
    return needs


def _chooses_tool(document: Mapping[str, Any]) -> bool:
    choice = document.get("tool_choice") or document.get("function_call")
    return choice is not None and choice not in ("none", "auto", "")


def _reasons(document: Mapping[str, Any]) -> bool:
    effort = document.get("reasoning_effort")
    if isinstance(effort, str):
        return effort.lower() not in _NO_REASONING
    reasoning = document.get("reasoning")
    if not isinstance(reasoning, Mapping) or reasoning.get("enabled") is False:
        return False
    return reasoning.get("effort") not in _NO_REASONING


def _call_tokens(messages: tuple[Message, ...], extras: Mapping[int, bytes]) -> float:
    return sum(
        len(extras.get(index, b"")) / 4
        for index, message in enumerate(messages)
        if message.calls_tools and not message.parts
    )


def _continues(last: Message, text: str) -> bool:
    if last.role in ("tool", "function"):
        return True
    return last.role == "user" and text.lstrip()[:12].lower() == "observation:"
