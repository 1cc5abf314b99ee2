"""Whether a cascade may keep an answer: every signal that needs no further call.

Each signal is switched on alone (`Acceptance`) and says in one line what it found wrong. An
answer is data: nothing in it is executed, rendered or followed. A check that is broken itself (an
unknown name, an operator's function that raises) counts as a finding, so that it is seen.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson

from llmrouter.domain.catalog import Acceptance
from llmrouter.domain.completion import ChoicePart, ResponseEvent
from llmrouter.domain.interfaces import ChatModel
from llmrouter.domain.target import Target
from llmrouter.execution.cascade.checks import CHECKS, language_of
from llmrouter.execution.cascade.confidence_store import NoRecord, Record

log = logging.getLogger(__name__)

CONFIDENCE, MARGIN = "confidence", "margin"
_CALLS_TOOLS = frozenset({"tool_calls", "function_call"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply, held back. `text` joins its pieces; `events` are replayed as received.

    Where the request asked for several choices, this is the first and `others` are the rest; an
    answer is accepted where each of them would be.
    """

    target: Target
    events: tuple[ResponseEvent, ...]
    text: str
    finish_reason: str | None
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    refusal: bool = False
    called: bool = False
    others: tuple[Answer, ...] = ()

    @property
    def choices(self) -> tuple[Answer, ...]:
        """Every choice, in order."""
        return (self, *self.others)

    @property
    def readings(self) -> dict[str, float]:
        """How sure the answer was of itself (0..1), by measure, where the upstream tells.

        Of several choices the least sure one counts. `confidence` is the geometric mean of the
        tokens' probabilities. `margin` is the mean lead of each token over the next likeliest, in
        the quarter of the tokens where it was closest: of a label that is the deciding token, in
        prose what is sure anyway does not drown the doubt.
        """
        read: dict[str, float] = {}
        if self.logprobs:
            read[CONFIDENCE] = math.exp(math.fsum(self.logprobs) / len(self.logprobs))
        if self.margins:
            closest = sorted(self.margins)[: -(-len(self.margins) // 4)]
            read[MARGIN] = math.fsum(closest) / len(closest)
        for other in self.others:
            for measure, value in other.readings.items():
                read[measure] = min(value, read.get(measure, value))
        return read

    @property
    def calls_tools(self) -> bool:
        """Whether this choice calls tools; text checks do not apply then.

        Many servers end a tool call with `stop`, so the call itself decides.
        """
        return self.called or self.finish_reason in _CALLS_TOOLS

    @property
    def said(self) -> tuple[Answer, ...]:
        """The choices that say something instead of calling tools."""
        return tuple(choice for choice in self.choices if not choice.calls_tools)


def assembled(
    target: Target, events: Sequence[ResponseEvent], finish_reason: str | None = None
) -> Answer:
    """The answer in a whole reply's events, each choice by itself. It replays these events."""
    by_choice: dict[int, list[ResponseEvent | ChoicePart]] = {}
    for event in events:
        for part in event.parts:
            by_choice.setdefault(part.index, []).append(part)
        if not event.parts:
            by_choice.setdefault(0, []).append(event)
    made = [_assembled(target, by_choice[index], finish_reason) for index in sorted(by_choice)]
    if not made:
        return Answer(target, tuple(events), "", finish_reason)
    return replace(made[0], events=tuple(events), others=tuple(made[1:]))


def _assembled(
    target: Target, pieces: Sequence[ResponseEvent | ChoicePart], finish_reason: str | None
) -> Answer:
    reasons = [piece.finish_reason for piece in pieces if piece.finish_reason is not None]
    return Answer(
        target=target,
        events=(),
        text="".join(piece.text for piece in pieces),
        finish_reason=reasons[-1] if reasons else finish_reason,
        logprobs=tuple(p for piece in pieces for p in piece.logprobs),
        margins=tuple(p for piece in pieces for p in piece.margins),
        refusal=any(piece.refusal for piece in pieces),
        called=any(piece.calls_tools for piece in pieces),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the signal (`confidence`, `schema`, `check`, …) and what it saw."""

    signal: str
    detail: str

    def __str__(self) -> str:
        return f"{self.signal}: {self.detail}"


NO_RECORD = NoRecord()


@dataclass(frozen=True, slots=True)
class Verifier:
    """What verification works with. `judge` None means no judge is connected; `record` knows what
    each target's own confidence has been worth."""

    judge: ChatModel | None = None
    record: Record = NO_RECORD
    language: Callable[[str], str | None] = language_of
    max_answer_bytes: int = field(default=16 * 1024 * 1024)


def bounds(accept: Acceptance) -> dict[str, float]:
    """The least of each measure of an answer's own confidence that is accepted, where it is on."""
    asked = {CONFIDENCE: accept.min_confidence, MARGIN: accept.min_margin}
    return {measure: least for measure, least in asked.items() if least is not None}


def calibrated(answer: Answer, verifier: Verifier) -> dict[str, float]:
    """What the answer's readings are worth at its target: probabilities that it is good."""
    record = verifier.record
    return {
        measure: record.probability(answer.target, measure, reading)
        for measure, reading in answer.readings.items()
    }


def confidence(answer: Answer, accept: Acceptance, verifier: Verifier) -> float | None:
    """The one figure (0..1) to show: of the mean, or of the margin where that alone is on."""
    worth = calibrated(answer, verifier)
    wanted = (*bounds(accept), CONFIDENCE, MARGIN)
    return next((worth[measure] for measure in wanted if measure in worth), None)


def inspect(
    answer: Answer, accept: Acceptance, document: Mapping[str, Any], verifier: Verifier
) -> list[Finding]:
    """Everything wrong with an answer, by the signals that are on."""
    found: list[Finding] = []
    if least := bounds(accept):
        worth = calibrated(answer, verifier)
        for measure, bound in least.items():
            if measure in worth and worth[measure] < bound:
                found.append(Finding(measure, f"{worth[measure]:.2f} is under {bound:.2f}"))
    for place, choice in enumerate(answer.choices):
        if choice.calls_tools:
            continue
        which = f"choice {place}: " if answer.others else ""
        if accept.schema:
            wrong = violates_format(choice.text, document.get("response_format"))
            if wrong is not None:
                found.append(Finding("schema", which + wrong))
        for check in accept.checks:
            wrong = run_check(check, choice, document, verifier)
            if wrong is not None:
                found.append(Finding("check", which + wrong))
    return found


def found_good(
    findings: Sequence[Finding], accept: Acceptance, answer: Answer, *, asked: bool, formatted: bool
) -> bool | None:
    """Whether the signals other than the answer's own confidence found it good: its outcome.

    None where they cannot tell: a tool call, no other signal on, or one that costs a call and was
    not asked or had no answer (`asked` False). `formatted`: the caller asked for a format.
    """
    if any(finding.signal not in (CONFIDENCE, MARGIN) for finding in findings):
        return False
    if not answer.said:
        return None
    if accept.judge or accept.samples > 1:
        return True if asked else None
    return True if accept.checks or (accept.schema and formatted) else None


def passed(accept: Acceptance, *, asked: bool, formatted: bool) -> tuple[str, ...]:
    """The signals that an accepted answer stood up to; its own confidence is not one of them.

    `asked`: those that cost a call were asked and answered; `formatted` as in `found_good`.
    """
    on = {
        "check": bool(accept.checks),
        "judge": accept.judge and asked,
        "samples": accept.samples > 1 and asked,
        "schema": accept.schema and formatted,
    }
    return tuple(signal for signal, judged in on.items() if judged)


def violates_format(text: str, response_format: object) -> str | None:
    """What breaks the `response_format` the caller asked for, or None."""
    if not isinstance(response_format, dict) or not asks_format(response_format):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error}"
    if response_format["type"] == "json_object":
        return None if isinstance(value, dict) else "not a JSON object"
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        return None
    validator = _validator(orjson.dumps(schema))
    if validator is None:
        return None
    wrong = next(iter(validator.iter_errors(value)), None)
    if wrong is None:
        return None
    at = "/".join(map(str, wrong.instance_path))
    return f"violates the schema{' at ' + at if at else ''}: {str(wrong.message)[:200]}"


def asks_format(response_format: object) -> bool:
    """Whether a `response_format` asks for anything that can be checked."""
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    return kind in ("json_object", "json_schema")


@lru_cache(maxsize=128)
def _validator(schema: bytes) -> Any | None:
    """The validator of a schema, or None when it is no valid schema (the caller's own matter)."""
    import jsonschema_rs  # 3 MB that a service whose answers are not checked should not pay for

    try:
        return jsonschema_rs.validator_for(orjson.loads(schema), retriever=_no_retrieval)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        log.info("a caller's response_format holds no usable schema: %s", str(error)[:200])
        return None


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"schemas are not fetched: {uri}")


def run_check(
    check: Mapping[str, object], answer: Answer, document: Mapping[str, Any], verifier: Verifier
) -> str | None:
    """What one configured check finds wrong. A check is one `name: value` pair, or several."""
    for name, value in check.items():
        if name == "python":
            wrong = _ask_operator(str(value), answer.text, document)
        elif name == "language":
            spoken = verifier.language(answer.text)
            known = spoken is not None and spoken != value
            wrong = f"written in {spoken}, not in {value}" if known else None
        elif name in CHECKS:
            wrong = CHECKS[name](answer.text, value)
        else:
            wrong = f"there is no check named {name!r}"
        if wrong is not None:
            return wrong
    return None


def _ask_operator(entry: str, text: str, document: Mapping[str, Any]) -> str | None:
    """An operator's function: True or None accepts, False or a reason rejects."""
    try:
        said = _load(entry)(text, document)
    except Exception as error:
        log.exception("the check %s failed", entry)
        return f"{entry} failed: {type(error).__name__}"
    if said is None or said is True:
        return None
    return said[:200] if isinstance(said, str) and said else f"{entry} rejected it"


@lru_cache(maxsize=64)
def _load(entry: str) -> Callable[[str, Mapping[str, Any]], object]:
    module, _, name = entry.partition(":")
    function = getattr(importlib.import_module(module), name)
    if not callable(function):
        raise TypeError(f"{entry} is not callable")
    return function  # type: ignore[no-any-return] # what an operator's module holds is unknown
