"""Tests of the codec: exact values back, and nothing but CodecError for anything else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.decision import (
    Alternative,
    Decision,
    Estimate,
    Exclusion,
    Source,
    StageTrace,
)
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.serialization import (
    CachedJudgement,
    CodecError,
    decode_decision,
    decode_judgement,
    encode_decision,
    encode_judgement,
)
from tests.fakes import a_decision

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
SOURCES = st.sampled_from(Source)
ALTERNATIVES = st.lists(
    st.builds(Alternative, TEXT, NUMBER, *[st.none() | NUMBER] * 3), max_size=3
).map(tuple)
SHARE = st.floats(0, 1)
JUDGEMENTS = st.builds(
    Judgement,
    st.dictionaries(TEXT, SHARE, max_size=3),
    TEXT,
    st.none() | SHARE,
    st.lists(SHARE, max_size=5).map(tuple),
    SHARE,
    TEXT,
    TEXT,
)
ENTRY = CachedJudgement(Judgement({"a": 0.5}, "code", 0.3, (0.5, 0.5)), 1.0, 2.0, 3.0)
CACHED = st.builds(CachedJudgement, JUDGEMENTS, NUMBER, NUMBER, NUMBER)
COUNT = st.integers(0, 2**40)
DECISIONS = st.builds(
    Decision,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    SOURCES,
    st.none() | NUMBER,
    TEXT,
    TEXT,
    ALTERNATIVES,
    st.lists(st.builds(Exclusion, TEXT, TEXT), max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.builds(Estimate, COUNT, COUNT, NUMBER, NUMBER),
    TEXT,
    TEXT,
    NUMBER,
    TEXT,
    st.booleans(),
    NUMBER,
    NUMBER,
    st.lists(st.builds(StageTrace, TEXT, TEXT, TEXT, NUMBER), max_size=2).map(tuple),
    NUMBER,
    st.dictionaries(TEXT, TEXT, max_size=2),
    TEXT,
    TEXT,
)
DECODERS: tuple[Callable[[bytes], object], ...] = (decode_judgement, decode_decision)


@given(CACHED)
def test_a_cached_judgement_comes_back_exactly(entry: CachedJudgement) -> None:
    """Every field, None included."""
    assert decode_judgement(encode_judgement(entry)) == entry


@given(DECISIONS)
def test_a_decision_comes_back_exactly(decision: Decision) -> None:
    """Every field, the stages included."""
    assert decode_decision(encode_decision(decision)) == decision


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=10,
)


@given(st.one_of(st.binary(max_size=50), JSON.map(orjson.dumps)))
def test_other_bytes_are_a_codec_error(data: bytes) -> None:
    """Whatever lies in a store, decoding gives a value or the one typed error."""
    for decode in DECODERS:
        with pytest.raises(CodecError):
            decode(data)


@given(DECISIONS, st.integers(0, 22), JSON)
def test_a_damaged_field_is_an_error_or_a_valid_value(
    decision: Decision, place: int, junk: Any
) -> None:
    """A field of the wrong type never gets into a decision."""
    record = orjson.loads(encode_decision(decision))
    record[place] = junk
    try:
        read = decode_decision(orjson.dumps(record))
    except CodecError:
        return
    assert decode_decision(encode_decision(read)) == read


def test_records_of_one_kind_are_not_read_as_another() -> None:
    """The kind stands in the bytes."""
    with pytest.raises(CodecError, match="not a decision"):
        decode_decision(encode_judgement(ENTRY))


def test_another_version_is_refused_by_name() -> None:
    """A newer build's entry is a miss for this one, and says why."""
    record = orjson.loads(encode_judgement(ENTRY))
    record[1] = 2
    with pytest.raises(CodecError, match="version 2"):
        decode_judgement(orjson.dumps(record))


def test_a_pickle_is_just_wrong_bytes() -> None:
    """It is not JSON, and nothing else is tried."""
    with pytest.raises(CodecError, match="not JSON"):
        decode_judgement(pickle.dumps({"a": 1}))


def test_what_json_cannot_hold_is_refused_when_written() -> None:
    """A lone surrogate is an error of the writer, not a broken entry."""
    with pytest.raises(CodecError, match="cannot be written"):
        encode_judgement(replace(ENTRY, judgement=replace(ENTRY.judgement, task="\ud800")))


def test_a_decision_of_the_version_before_judgements_is_read() -> None:
    """A worker that was updated reads what an older one wrote down."""
    decision = a_decision(alternatives=(Alternative("large", 0.25),))
    record = orjson.loads(encode_decision(decision))
    del record[-1], record[2 + 19 : 2 + 21]
    record[2 + 8] = [["large", 0.25]]
    assert decode_decision(orjson.dumps(record)) == decision


def test_a_probability_outside_0_to_1_is_no_judgement() -> None:
    """What a store holds is held to what a judgement may be."""
    record = orjson.loads(encode_judgement(ENTRY))
    record[3] = {"a": 1.5}
    with pytest.raises(CodecError, match="malformed"):
        decode_judgement(orjson.dumps(record))
