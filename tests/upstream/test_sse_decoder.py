"""Events survive any chunking, byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.sse_decoder import Splitter, data_of

EOL = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINE = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b": ping", b"event: m", b"id: 1", b"data: \xff", b"retry:3"]
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Events, each with its own kind of line end."""
    events = []
    for _ in range(draw(st.integers(0, 6))):
        eol = draw(EOL)
        lines = draw(st.lists(LINE, min_size=1, max_size=4))
        events.append(eol.join(lines) + eol + eol)
    return events


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_gives_the_same_data(events: list[bytes], cuts: list[int]) -> None:
    """What comes out is what went in, and each event's data is whole."""
    splitter = Splitter()
    out: list[bytes] = []
    for chunk in chunked(b"".join(events), cuts):
        out += splitter.feed(chunk)
    rest = splitter.rest()
    assert b"".join(out) + rest == b"".join(events)
    got = [data_of(event) for event in (*out, rest)]
    wanted = [data_of(event) for event in events]
    assert [data for data in got if data is not None] == [d for d in wanted if d is not None]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_come_out_as_they_went_in(chunks: list[bytes]) -> None:
    """Nonsense is split somewhere and never lost."""
    splitter = Splitter()
    out = b"".join(event for chunk in chunks for event in splitter.feed(chunk))
    assert out + splitter.rest() == b"".join(chunks)


def test_an_event_is_out_as_soon_as_it_is_complete() -> None:
    """LF and CRLF events do not wait for the next chunk."""
    splitter = Splitter()
    assert splitter.feed(b"data: 1\n\n") == [b"data: 1\n\n"]
    assert splitter.feed(b"data: 2\r\n\r\n") == [b"data: 2\r\n\r\n"]
    assert splitter.feed(b"data: 3\n\ndata: 4\n\nda") == [b"data: 3\n\n", b"data: 4\n\n"]
    assert splitter.feed(b"ta: 5\n") == []
    assert splitter.feed(b"\n") == [b"data: 5\n\n"]


def test_an_event_that_never_ends_is_refused() -> None:
    """Memory is bounded, in one piece or in many."""
    with pytest.raises(UpstreamFailure, match="too_large"):
        Splitter(10).feed(b"data: 12345678901")
    splitter = Splitter(10)
    assert splitter.feed(b"x" * 10) == []
    with pytest.raises(UpstreamFailure, match="too_large"):
        splitter.feed(b"x")
    with pytest.raises(UpstreamFailure, match="too_large"):
        Splitter(10).feed(b"data: 123456789\n\nx")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data: {}\r\n\r\n", b"{}"),
        (b"event: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b": ping\n\n", None),
        (b"\xef\xbb\xbfdata: a\n\n", b"a"),
        (b"data\n\n", b""),
        (b"data: [DONE]\n\n", b"[DONE]"),
        (b"dataset: x\n\n", None),
        (b"", None),
    ],
)
def test_data_is_read_by_the_standard(event: bytes, data: bytes | None) -> None:
    """Fields, comments, several data lines, a byte order mark."""
    assert data_of(event) == data
