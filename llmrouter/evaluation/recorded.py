"""Recorded requests, read back from the journal so that they can be decided again.

Where the text was kept (`LLMROUTER_RECORD_PROMPTS`) a request is parsed and measured again. Without
it, the request is put together from what the journal holds of every decision: sizes, needs, traits,
limits; its `text` is None, and stages that read words cannot judge it. Unreadable lines are
skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from llmrouter.domain.chat import STRATEGIES, Caller, ChatRequest, RouterOptions
from llmrouter.domain.features import Features, Traits
from llmrouter.domain.interfaces import Store
from llmrouter.errors import BadRequest
from llmrouter.features.extractor import DEFAULT_OUTPUT_TOKENS, Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.journal.journal import LOG_NAME

Parse = Callable[[bytes], ChatRequest]
"""Checks a chat-completions body (`api.wire.parse`). Raises BadRequest."""

MOST_BYTES: Final = 64 * 1024 * 1024
_DECISION: Final = b'"kind":"decision"'
_FIRST_ASK: Final = 16


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request and what was decided for it then.

    `request.options.decision_id` is the decision's own id, `at` its time (seconds since the
    epoch), `source` the stage it came from. `text` is the last user turn, None where it was not
    recorded.
    """

    at: float
    source: str
    target: str
    task: str
    confidence: float | None
    fingerprint: str
    request: ChatRequest
    features: Features
    caller: Caller
    text: str | None

    @property
    def name(self) -> str:
        """The id of its decision."""
        return self.request.options.decision_id or ""


async def newest(store: Store, last: int) -> list[bytes]:
    """The newest batches of the journal that hold `last` decisions, oldest first.

    Fewer where there are no more, or where more would not fit into MOST_BYTES. Raises StoreFailed.
    """
    asked = _FIRST_ASK
    while True:
        batches = await store.tail(LOG_NAME, asked)
        kept, found, size = 0, 0, 0
        for batch in reversed(batches):
            if found >= last or (kept and size + len(batch) > MOST_BYTES):
                return batches[len(batches) - kept :]
            kept, found, size = kept + 1, found + batch.count(_DECISION), size + len(batch)
        if len(batches) < asked or found >= last:
            return batches
        asked *= 4


def pasts(batches: Sequence[bytes], last: int, parse: Parse) -> list[RecordedRequest]:
    """The newest `last` decisions in journal batches, oldest first."""
    extractor = Extractor(Fingerprinter(bytes(32)))
    found: list[RecordedRequest] = []
    for batch in reversed(batches):
        for line in reversed(batch.split(b"\n")):
            if len(found) >= last:
                return found[::-1]
            if _DECISION in line and (past := _past(line, parse, extractor)) is not None:
                found.append(past)
    return found[::-1]


def _past(line: bytes, parse: Parse, extractor: Extractor) -> RecordedRequest | None:
    try:
        entry = orjson.loads(line)
        asked = entry.get("asked", {})
        caller = _caller(entry, asked)
        request, features = _told(entry, caller, parse, extractor)
        if request is None or features is None:
            request, features = _untold(entry, asked)
        return RecordedRequest(
            at=float(entry["at"]),
            source=str(entry["source"]),
            target=str(entry["target"]),
            task=str(entry["task"]),
            confidence=entry.get("confidence"),
            fingerprint=str(entry["fingerprint"]),
            request=request,
            features=features,
            caller=caller,
            text=features.text if request.body else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged, or not of this build
        return None


def _caller(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> Caller:
    limited = asked.get("key_allow")
    return Caller(
        name=str(entry.get("key", "")),
        tier=asked.get("tier"),
        tenant=str(entry.get("tenant", "")),
        allow=None if limited is None else frozenset(limited),
    )


def _told(
    entry: Mapping[str, Any], caller: Caller, parse: Parse, extractor: Extractor
) -> tuple[ChatRequest, Features] | tuple[None, None]:
    """The request as it arrived and its features, where its text was kept and still parses."""
    body = entry.get("request")
    if not isinstance(body, str):
        return None, None
    try:
        request = parse(body.encode())
    except BadRequest:
        return None, None
    options = replace(request.options, decision_id=str(entry["decision_id"]))
    request = replace(request, options=options)
    return request, extractor.features(request, caller)


def _untold(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[ChatRequest, Features]:
    """A request without words, with the sizes, needs and traits that were measured then."""
    measured = entry["features"]
    tools = bool(measured["tools"])
    traits = Traits(
        task=str(measured.get("task", entry["task"])),
        language=str(measured["language"]),
        words=int(measured["words"]),
        code=bool(measured["code"]),
        math=bool(measured["math"]),
    )
    features = Features(
        fingerprint=str(entry["fingerprint"]),
        conversation="",
        text="",
        system="",
        input_tokens=int(measured["input_tokens"]),
        output_tokens=int(measured.get("output_tokens", DEFAULT_OUTPUT_TOKENS)),
        needs=frozenset(measured.get("needs", {"tools"} if tools else ())),
        turns=int(measured["turns"]),
        tools=tools,
        continuation=False,
        asked_output=bool(measured.get("asked_output")),
        read_traits=lambda: traits,
    )
    allow, strategy = asked.get("allow"), asked.get("strategy")
    options = RouterOptions(
        latency_budget_ms=asked.get("latency_budget_ms"),
        max_cost_usd=asked.get("max_cost_usd"),
        quality=asked.get("quality"),
        allow=None if allow is None else tuple(allow),
        deny=tuple(asked.get("deny", ())),
        strategy=strategy if strategy in STRATEGIES else "auto",
        decision_id=str(entry["decision_id"]),
    )
    return ChatRequest(b"", {}, (), options, asked.get("model")), features
