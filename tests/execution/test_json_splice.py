"""Members are replaced, removed and added; every other byte stays."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.execution import json_splice
from llmrouter.execution.json_splice import splice, without_logprobs
from llmrouter.util import json_structure

NAMES = st.sampled_from(["model", "router", "messages", "seed", "ключ", 'qu"ote', "a\\b"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
SPACE = st.sampled_from(["", " ", "\n\t", "  \r\n"])


@st.composite
def objects(draw: st.DrawFn) -> tuple[list[tuple[str, object]], bytes]:
    """An object as its pairs (names may repeat) and as bytes with odd spelling and spacing."""
    pairs = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    members = []
    for name, value in pairs:
        key = json.dumps(name, ensure_ascii=draw(st.booleans()))
        if draw(st.booleans()):
            key = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
        text = json.dumps(
            value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
        )
        gaps = [draw(SPACE) for _ in range(4)]
        members.append(f"{gaps[0]}{key}{gaps[1]}:{gaps[2]}{text}{gaps[3]}")
    body = draw(SPACE) + "{" + (",".join(members) or draw(SPACE)) + "}" + draw(SPACE)
    return pairs, body.encode("utf-8", "surrogatepass")


@given(objects(), st.dictionaries(NAMES, st.none() | VALUES, max_size=4))
def test_equals_parsing_changing_and_serialising(
    made: tuple[list[tuple[str, object]], bytes], wanted: dict[str, object]
) -> None:
    """A splice means what a parse, a change and a dump would mean."""
    pairs, body = made
    replace = {k: None if v is None else json.dumps(v).encode() for k, v in wanted.items()}
    expected = [
        (name, wanted.get(name, value))
        for name, value in pairs
        if name not in wanted or wanted[name] is not None
    ]
    present = {name for name, _ in pairs}
    expected += [(k, v) for k, v in wanted.items() if v is not None and k not in present]

    changed = json.loads(splice(body, replace), object_pairs_hook=list)

    assert changed == json.loads(
        "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in expected) + "}",
        object_pairs_hook=list,
    )


@given(objects(), st.dictionaries(NAMES, st.none() | VALUES, max_size=4), st.integers(1, 9))
def test_a_long_body_is_changed_as_a_short_one_is(
    made: tuple[list[tuple[str, object]], bytes], wanted: dict[str, object], step: int
) -> None:
    """Brackets that are found all at once, in slices of any size, are those found one by one."""
    _, body = made
    replace = {k: None if v is None else json.dumps(v).encode() for k, v in wanted.items()}
    one_by_one = splice(body, replace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_splice, "WALKED", 0)
        patch.setattr(json_structure, "SLICE", step)
        assert splice(body, replace) == one_by_one


@given(objects())
def test_nothing_to_change_changes_nothing(made: tuple[list[tuple[str, object]], bytes]) -> None:
    """A name that does not occur and is not added leaves the body byte for byte."""
    _, body = made
    assert splice(body, {"absent": None}) == body


@pytest.mark.parametrize(
    ("body", "replace", "expected"),
    [
        (
            b'{"big":123456789012345678901234567890, "f":1.0,"model" : "auto" , "u":"\\u00e9"}',
            {"model": b'"m"'},
            b'{"big":123456789012345678901234567890, "f":1.0,"model" : "m" , "u":"\\u00e9"}',
        ),
        (b'{"model":"a","x":{"model":"b"},"model":7}', {"model": b'"m"'},
         b'{"model":"m","x":{"model":"b"},"model":"m"}'),
        (b'{"x":"{\\"model\\":1}","\\u006dodel":"a"}', {"model": b'"m"'},
         b'{"x":"{\\"model\\":1}","\\u006dodel":"m"}'),
        (b'{"router":{"tier":"]}"}, "x":1}', {"router": None}, b'{"x":1}'),
        (b'{"x":1 , "router":[[{}]]}', {"router": None}, b'{"x":1}'),
        (b'{"router":1,"router":2}', {"router": None}, b"{}"),
        (b'{"x":1,"x":2,"a":1}', {"a": None, "b": b"3"}, b'{"x":1,"x":2,"b":3}'),
        (b"{ }", {"model": b'"m"'}, b'{ "model":"m"}'),
    ],
)  # fmt: skip
def test_untouched_bytes_survive(
    body: bytes, replace: dict[str, bytes | None], expected: bytes
) -> None:
    """Numbers, escapes, repeated keys and white space outside the change are as they were."""
    assert splice(body, replace) == expected


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"a":1', b'{"a":[1}', b'{"a" 1}', b'{"a":1,}', b"{"]
)
def test_refuses_what_is_not_an_object(body: bytes) -> None:
    """A body that is no object raises rather than being guessed at."""
    with pytest.raises(ValueError, match="not a JSON object"):
        splice(body, {"model": b"1"})


@given(st.binary(max_size=60), st.sampled_from([b'"', b"{", b"[", b"\\", b",", b":"]))
def test_hostile_bytes_end(noise: bytes, glue: bytes) -> None:
    """Anything at all either splices or raises ValueError, and does so at once."""
    with contextlib.suppress(ValueError):
        splice(b'{"a":' + noise + glue * 40 + noise + b"}", {"model": b"1"})


LEAVES = st.none() | st.integers() | st.text(max_size=20) | st.just('"logprobs": {"a": 1}')
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["logprobs", "x", '"logprobs":{']), inner, max_size=3)
    ),
    max_leaves=20,
)


def emptied(value: Any) -> Any:
    """The value with every object named `logprobs` as None."""
    if isinstance(value, list):
        return [emptied(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: None if name == "logprobs" and isinstance(inner, dict) else emptied(inner)
        for name, inner in value.items()
    }


@given(DOCUMENTS, st.sampled_from([None, 2]))
def test_logprobs_are_taken_out_and_nothing_else(value: Any, indent: int | None) -> None:
    """Objects of that name become null, wherever they are; text that looks like one stays."""
    body = json.dumps(value, indent=indent).encode()
    taken = without_logprobs(body)
    assert json.loads(taken) == emptied(value)
    if emptied(value) == value:
        assert taken == body


def test_what_is_broken_stays_as_it_is() -> None:
    """A cut body is somebody else's to refuse."""
    for body in (b'{"logprobs": {"content": [', b'{"logprobs": {', b"", b"data: [DONE]\n\n"):
        assert without_logprobs(body) == body
