"""Rewriting chosen top-level members of a JSON object without rebuilding the rest.

What a caller sends is relayed as it came: integers beyond 64 bits, `1.0` beside `1`, repeated
unknown keys, white space and escapes would not survive a parse and a dump. So the top level is
scanned, strings as single tokens and nested values bracket by bracket (of long bodies all at once),
and only the chosen members' bytes change. It trusts that the body has been parsed once: it refuses
what is not an object, and does not validate what it skips.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.patterns import Match, compile_bytes
from llmrouter.util.json_structure import top_level_ends

WALKED: Final = 8 * 1024
"""Bytes up to which brackets are found one by one."""

_STRING = rb'"(?:[^"\\]|\\.)*"'
_OPEN = compile_bytes(rb"\s*\{\s*")
_MEMBER = compile_bytes(
    rb'"((?:[^"\\]|\\.)*)"\s*:\s*'
    rb"(?:([{\[])|(?:" + _STRING + rb'|[^\s,{}\[\]"]+))',
)
_SEPARATOR = compile_bytes(rb"\s*(?:(,)\s*|\})")
_BRACKET = compile_bytes(rb'(?:[^"{}\[\]]|' + _STRING + rb")*([{}\[\]])")
_OPENING = frozenset(b"{[")


def splice(body: bytes, replace: Mapping[str, bytes | None]) -> bytes:
    """The object in `body` with each member of `replace` set to those bytes, or removed by None.

    Every occurrence of a repeated key is replaced; an absent one is added last. All other bytes
    stay as they are. Raises ValueError when `body` is not one JSON object.
    """
    opened = _OPEN.match(body)
    if opened is None:
        raise ValueError("the body is not a JSON object")
    wanted = {name.encode(): (name, value) for name, value in replace.items()}
    edits, cut, kept_end, close = _walk(body, opened.end(), wanted)
    seen = {edit[0] for edit in edits}
    pieces: list[bytes] = []
    at = 0
    for _, start, end, value in edits:
        if cut is not None and start >= cut:
            break
        pieces.append(body[at:start])
        if value is not None:
            pieces.append(value)
        at = end
    if cut is None:
        cut = kept_end
    pieces.append(body[at:cut])
    comma = b"," if kept_end > opened.end() else b""
    for name, value in replace.items():
        if value is not None and name not in seen:
            pieces.append(b"%b%b:%b" % (comma, json.dumps(name).encode(), value))
            comma = b","
    pieces.append(body[close:])
    return b"".join(pieces)


_LOGPROBS = compile_bytes(rb'"logprobs"\s*:\s*\{')


def without_logprobs(data: bytes) -> bytes:
    """A body or an event with every object named `logprobs` as null; all other bytes stay.

    Inside a string the name's quotes are escaped, so text is never taken for a member. What is not
    well-formed stays as it is.
    """
    pieces: list[bytes] = []
    at = 0
    try:
        while (member := _LOGPROBS.search(data, at)) is not None:
            pieces += data[at : member.end() - 1], b"null"
            at = _skip(data, member.end())
    except ValueError:
        return data
    return b"".join((*pieces, data[at:]))


_Edit = tuple[str, int, int, bytes | None]


def _walk(
    body: bytes, at: int, wanted: Mapping[bytes, tuple[str, bytes | None]]
) -> tuple[list[_Edit], int | None, int, int]:
    """Find what to change.

    Returns the edits (name, start, end, new bytes or None to drop), where the trailing run of
    removed members starts (None when the last member stays), where the last member that stays
    ends, and where the white space before the closing brace starts.
    """
    ends = None if len(body) < WALKED else top_level_ends(body)
    edits: list[_Edit] = []
    kept_end = at
    cut: int | None = None
    end = at
    member = _MEMBER.match(body, at)
    while member is not None:
        start = at
        end = member.end()
        raw, nested = member.groups()
        if nested is not None:
            end = _skip(body, end) if ends is None else _end_behind(ends, end)
        if b"\\" in raw:
            raw = str(json.loads(b'"' + raw + b'"')).encode("utf-8", "replace")
        separator = _SEPARATOR.match(body, end)
        if separator is None:
            raise ValueError("the body is not a JSON object")
        following = separator.end()
        if raw not in wanted:
            kept_end, cut = end, None
        else:
            name, value = wanted[raw]
            if value is not None:
                edits.append((name, _value_start(body, member), end, value))
                kept_end, cut = end, None
            else:
                edits.append((name, start, following, None))
                cut = kept_end if cut is None else cut
        if separator[1] is None:
            return edits, cut, kept_end, end
        at = following
        member = _MEMBER.match(body, at)
    if body[at : at + 1] != b"}" or end != at:
        raise ValueError("the body is not a JSON object")
    return edits, None, at, at


_COLON = compile_bytes(rb"\s*:\s*")


def _value_start(body: bytes, member: Match) -> int:
    colon = _COLON.match(body, member.end(1) + 1)
    assert colon is not None  # noqa: S101 - the member matched with its colon
    return colon.end()


def _end_behind(ends: NDArray[np.int64], at: int) -> int:
    """Where the member ends whose opening bracket ends at `at`."""
    place = int(np.searchsorted(ends, at))
    if place == len(ends):
        raise ValueError("the body is not a JSON object")
    return int(ends[place])


def _skip(body: bytes, at: int) -> int:
    """The end of the container whose opening bracket ends at `at`."""
    depth = 1
    while depth:
        bracket = _BRACKET.match(body, at)
        if bracket is None:
            raise ValueError("the body is not a JSON object")
        at = bracket.end()
        depth += 1 if body[at - 1] in _OPENING else -1
    return at
