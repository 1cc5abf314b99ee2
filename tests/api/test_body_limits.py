"""Tests of the bounds on what is inside a body."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.body_limits import BodyLimits, _structure, check_structure
from llmrouter.errors import BadRequest
from llmrouter.util import json_structure
from tests.api.fakes import FakeGateway, client_of, services

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='a"\\[]{},:é', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=40,
)


def depth_of(value: object) -> int:
    """How many containers are within one another."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def values_of(value: object) -> int:
    """Brackets, commas and colons of a value as JSON."""
    if isinstance(value, dict):
        return 2 * len(value) + (not value) + sum(map(values_of, value.values()))
    if isinstance(value, list):
        return max(1, len(value)) + sum(map(values_of, value))
    return 0


@given(JSON, st.integers(1, 9))
def test_what_is_counted_is_what_is_there(value: object, step: int) -> None:
    """Strings are passed over, escapes included, wherever a slice of the body ends."""
    body = orjson.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_structure, "SLICE", step)
        assert _structure(body) == (values_of(value), depth_of(value))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 600_000,
        b"[" + b"[]," * 300_000 + b"0]",
        b'{"a":[' + b"1," * 300_000 + b"1]}",
        b"{" + b",".join(b'"k%d":0' % n for n in range(300_000)) + b"}",
        b'{"a":' * 101 + b"0" + b"}" * 101,
        b'[["' + b'\\\\"],["' * 250_000 + b'"]]',
    ],
    ids=["open", "lists", "numbers", "keys", "deep", "escapes"],
)
def test_too_much_is_refused_before_it_is_parsed(body: bytes) -> None:
    """A parser runs in one piece, so its work is bounded before it begins."""
    with pytest.raises(BadRequest) as refused:
        check_structure(body, BodyLimits())
    assert "LLMROUTER_MAX_JSON_" in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt":"' + b"[{,:" * 2_000_000 + b'"}',
        b'{"prompt":"' + b"\\\\" * 2_000_000 + b'"}',
        b'{"prompt":"' + b'\\"[{' * 1_000_000 + b'"}',
        b'{"n":' + b"1" * 1_000_000 + b"}",
    ],
    ids=["brackets", "backslashes", "quotes", "digits"],
)
def test_long_texts_are_no_structure(body: bytes) -> None:
    """Brackets inside strings do not count, however many there are."""
    check_structure(body, BodyLimits())


def conversation(**over: object) -> dict[str, object]:
    """A request's document."""
    return {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **over}


def nested(depth: int) -> dict[str, object]:
    """A document of so many objects within one another."""
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"comment": value}
    return value


PART = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    ("path", "document", "told"),
    [
        ("/route", conversation(messages=[{"role": "user", "content": "x"}] * 6), "messages"),
        ("/v1/chat/completions", conversation(tools=[{"type": "function"}] * 6), "tools"),
        ("/complete", conversation(functions=[{"name": "f"}] * 6), "tools"),
        ("/route", conversation(messages=[{"role": "user", "content": [PART] * 8}]), "parts"),
        ("/feedback", nested(101), "levels deep"),
        ("/route", conversation(metadata={str(n): n for n in range(300)}), "JSON values"),
    ],
)
async def test_each_bound_is_a_clear_400_on_every_path(
    path: str, document: dict[str, object], told: str
) -> None:
    """The message says what there is too much of, how much is taken, and which setting says so."""
    bounds = BodyLimits(messages=5, parts=7, tools=5, json_values=300, json_depth=10)
    gateway = FakeGateway()
    async with client_of(replace(services(gateway), body_limits=bounds)) as client:
        answer = await client.post(path, orjson.dumps(document))
    assert answer.status == 400
    assert told in answer.error["message"]
    assert "LLMROUTER_MAX_" in answer.error["message"]
    assert gateway.asked == []
