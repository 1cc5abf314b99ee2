"""Whether a cascade may keep an answer: every signal that needs no further call.

Each signal is switched on alone (`Acceptance`) and says in one line what it found wrong. An
answer is data: nothing in it is executed, rendered or followed. A check that is broken itself (an
unknown name, an operator's function that raises) counts as a finding, so that it is seen.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from llmrouter.domain.catalog import Acceptance
from llmrouter.domain.ports import ChatModel
from llmrouter.domain.reply import ReplyEvent
from llmrouter.domain.target import Target
from llmrouter.execution.checks import CHECKS, language_of

log = logging.getLogger(__name__)

_CALLS_TOOLS = frozenset({"tool_calls", "function_call"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply, held back. `text` joins its pieces; `events` are replayed as received."""

    target: Target
    events: tuple[ReplyEvent, ...]
    text: str
    finish_reason: str | None
    logprobs: tuple[float, ...] = ()
    refusal: bool = False

    @property
    def calls_tools(self) -> bool:
        """Whether it calls tools instead of saying something; text checks do not apply then."""
        return self.finish_reason in _CALLS_TOOLS


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the signal (`confidence`, `schema`, `check`, …) and what it saw."""

    signal: str
    detail: str

    def __str__(self) -> str:
        return f"{self.signal}: {self.detail}"


def exponential(target: str, logprob: float) -> float:
    """The plain reading of a mean token log-probability, for targets nobody has calibrated."""
    return math.exp(min(0.0, logprob))


@dataclass(frozen=True, slots=True)
class Verifier:
    """What verification works with. `judge` None means no judge is connected."""

    judge: ChatModel | None = None
    calibrate: Callable[[str, float], float] = exponential
    language: Callable[[str], str | None] = language_of
    max_answer_bytes: int = field(default=16 * 1024 * 1024)


def confidence(answer: Answer, verifier: Verifier) -> float | None:
    """The answer's own confidence (0..1), or None where the upstream gave no log-probabilities."""
    if not answer.logprobs:
        return None
    mean = math.fsum(answer.logprobs) / len(answer.logprobs)
    return min(1.0, max(0.0, verifier.calibrate(answer.target.id, mean)))


def inspect(
    answer: Answer, accept: Acceptance, document: Mapping[str, Any], verifier: Verifier
) -> list[Finding]:
    """Everything wrong with an answer, by the signals that are on."""
    found: list[Finding] = []
    if accept.min_confidence is not None:
        sure = confidence(answer, verifier)
        if sure is not None and sure < accept.min_confidence:
            found.append(Finding("confidence", f"{sure:.2f} is under {accept.min_confidence:.2f}"))
    if answer.calls_tools:
        return found
    if accept.schema:
        wrong = violates_format(answer.text, document.get("response_format"))
        if wrong is not None:
            found.append(Finding("schema", wrong))
    for check in accept.checks:
        wrong = run_check(check, answer, document, verifier)
        if wrong is not None:
            found.append(Finding("check", wrong))
    return found


def violates_format(text: str, response_format: object) -> str | None:
    """What breaks the `response_format` the caller asked for, or None."""
    if not isinstance(response_format, dict):
        return None
    kind = response_format.get("type")
    if kind not in ("json_object", "json_schema"):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error}"
    if kind == "json_object":
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


@lru_cache(maxsize=128)
def _validator(schema: bytes) -> Any | None:
    """The validator of a schema, or None when it is no valid schema (the caller's own matter)."""
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
