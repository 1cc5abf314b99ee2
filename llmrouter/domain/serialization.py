"""Frozen values as bytes and back: JSON with a version, never pickle.

What lies in a store may come from an older build, another writer or a disk that failed. Decoding
gives the exact value or raises CodecError, which callers treat as "not there"; it never runs code
and never half-fills a value. The first two items of every record are its kind and its version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, TypeVar

import orjson

from llmrouter.domain.decision import (
    Alternative,
    Decision,
    Estimate,
    Exclusion,
    Source,
    StageTrace,
)
from llmrouter.domain.judgement import Judgement

VERSION: Final = 1
Value = TypeVar("Value")


class CodecError(ValueError):
    """The bytes are not a value of this kind that this build can read; says why."""


@dataclass(frozen=True, slots=True)
class CachedJudgement:
    """A judgement as cached. Times are seconds since the epoch.

    Until `fresh_until` it serves as it is; until `expires_at` it serves while being renewed.
    """

    judgement: Judgement
    created_at: float
    fresh_until: float
    expires_at: float


def encode_judgement(entry: CachedJudgement) -> bytes:
    """Bytes of a cached judgement."""
    judgement = entry.judgement
    return _dump(
        "judgement",
        (
            (entry.created_at, entry.fresh_until, entry.expires_at),
            dict(judgement.probabilities),
            judgement.task,
            judgement.difficulty,
            judgement.levels,
            judgement.valid_mass,
            judgement.protocol,
            judgement.model,
        ),
    )


def decode_judgement(data: bytes) -> CachedJudgement:
    """The cached judgement behind `data`. Raises CodecError."""
    return _load("judgement", data, _judgement)


def encode_decision(decision: Decision) -> bytes:
    """Bytes of a whole decision, stages included."""
    head = decision.common.get("codec.head")
    tail = decision.common.get("codec.tail")
    if head is None or tail is None:
        head, tail = _common(decision)
    own = (
        [decision.decision_id, decision.timing_ms, decision.created_at, decision.trace_id],
        [(n.stage, n.outcome, n.detail, n.ms) for n in decision.stages],
    )
    try:
        name, timing_ms, created_at, trace = map(orjson.dumps, own[0])
        stages = orjson.dumps(own[1])
    except TypeError as error:
        raise CodecError(f"the decision cannot be written: {error}") from error
    return b'["decision",%d,%b,%b,%b,%b,%b,%b,%b]' % (
        VERSION, name, head, timing_ms, tail, stages, created_at, trace,
    )  # fmt: skip


def _common(decision: Decision) -> tuple[bytes, bytes]:
    """The items before and after `timing_ms`, which every decision made `again` has as well."""
    estimate = decision.estimate
    parts = (
        (
            decision.target,
            decision.model,
            decision.provider,
            decision.source.value,
            decision.confidence,
            decision.task,
            decision.reason,
            [
                (a.target, a.score, a.probability, a.judged, a.learned)
                for a in decision.alternatives
            ],
            [(e.target, e.reason) for e in decision.excluded],
            decision.fallbacks,
            (
                estimate.input_tokens,
                estimate.output_tokens,
                estimate.cost_usd,
                estimate.latency_ms,
            ),
            decision.catalog_version,
            decision.fingerprint,
        ),
        (
            decision.tenant,
            decision.cascade,
            decision.router_cost_usd,
            decision.propensity,
            decision.about,
            decision.judge,
        ),
    )
    try:
        head, tail = (orjson.dumps(part)[1:-1] for part in parts)
    except TypeError as error:
        raise CodecError(f"the decision cannot be written: {error}") from error
    decision.share("codec.head", head)
    decision.share("codec.tail", tail)
    return head, tail


def decode_decision(data: bytes) -> Decision:
    """The decision behind `data`. Raises CodecError."""
    return _load("decision", data, _decision)


def _dump(kind: str, fields: tuple[Any, ...]) -> bytes:
    try:
        return orjson.dumps((kind, VERSION, *fields))
    except TypeError as error:  # a lone surrogate, which no JSON text can hold
        raise CodecError(f"the {kind} cannot be written: {error}") from error


def _load(kind: str, data: bytes, build: Callable[[list[Any]], Value]) -> Value:
    try:
        record = orjson.loads(data)
    except ValueError as error:
        raise CodecError(f"not JSON: {error}") from error
    if not isinstance(record, list) or len(record) < 2 or record[0] != kind:
        raise CodecError(f"not a {kind}")
    if record[1] != VERSION:
        raise CodecError(f"{kind} of version {record[1]!r}, this build reads {VERSION}")
    try:
        return build(record[2:])
    except (TypeError, ValueError) as error:
        raise CodecError(f"a malformed {kind}: {error}") from error


def _judgement(fields: list[Any]) -> CachedJudgement:
    times, probabilities, task, difficulty, levels, mass, protocol, model = fields
    created_at, fresh_until, expires_at = times
    if not isinstance(probabilities, dict):
        raise TypeError("probabilities by target expected")
    return CachedJudgement(
        Judgement(
            {intern(_text(key)): _share(value) for key, value in probabilities.items()},
            intern(_text(task)),
            _optional(difficulty, _share),
            tuple(_share(level) for level in levels),
            _share(mass),
            intern(_text(protocol)),
            intern(_text(model)),
        ),
        _number(created_at),
        _number(fresh_until),
        _number(expires_at),
    )


def _decision(fields: list[Any]) -> Decision:
    if len(fields) == _OLD_FIELDS:
        fields = [*fields[:-2], {}, *fields[-2:], ""]
    if len(fields) == _OLD_FIELDS + 2:
        fields = [*fields[:20], "", *fields[20:]]
    (
        decision_id,
        target,
        model,
        provider,
        source,
        confidence,
        task,
        reason,
        scores,
        excluded,
        fallbacks,
        estimate,
        catalog_version,
        fingerprint,
        timing_ms,
        tenant,
        cascade,
        router_cost,
        propensity,
        about,
        judge,
        notes,
        created_at,
        trace_id,
    ) = fields
    tokens_in, tokens_out, cost, latency = estimate
    return Decision(
        decision_id=_text(decision_id),
        target=intern(_text(target)),
        model=_text(model),
        provider=_text(provider),
        source=Source(source),
        confidence=_optional(confidence, _number),
        task=_text(task),
        reason=_text(reason),
        alternatives=_alternatives(scores),
        excluded=tuple(Exclusion(intern(_text(t)), _text(why)) for t, why in excluded),
        fallbacks=tuple(intern(_text(name)) for name in fallbacks),
        estimate=Estimate(_whole(tokens_in), _whole(tokens_out), _number(cost), _number(latency)),
        catalog_version=_text(catalog_version),
        fingerprint=_text(fingerprint),
        timing_ms=_number(timing_ms),
        tenant=_text(tenant),
        cascade=_flag(cascade),
        router_cost_usd=_number(router_cost),
        propensity=_number(propensity),
        stages=tuple(
            StageTrace(_text(stage), _text(outcome), _text(detail), _number(ms))
            for stage, outcome, detail, ms in notes
        ),
        created_at=_number(created_at),
        about=dict(about),
        trace_id=_text(trace_id),
        judge=_text(judge),
    )


_OLD_FIELDS = 21
"""Of a decision written before it said what was asked for and in which trace (two more), and whose
judgement it rests on (one more)."""


def _alternatives(scores: Any) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(
            intern(_text(target)), _number(score), *(_optional(one, _number) for one in beside)
        )
        for target, score, *beside in scores
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"a boolean expected, not {type(value).__name__}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a whole number expected, not {type(value).__name__}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a number expected, not {type(value).__name__}")
    return float(value)


def _share(value: object) -> float:
    share = _number(value)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share of 0..1 expected, not {share}")
    return share


def _optional(value: object, read: Callable[[object], Value]) -> Value | None:
    return None if value is None else read(value)
