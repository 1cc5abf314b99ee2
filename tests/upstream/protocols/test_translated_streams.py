"""Translated streams: however they arrive, and wherever they break off."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.simulator.replies import Reply
from llmrouter.upstream.protocols.interface import Piece, folded
from tests.samples import examples
from tests.upstream.protocols.written import (
    FORMAT,
    NAMES,
    PAIRS,
    context,
    documents,
    streamed,
    text_reply,
    tool_reply,
    translated,
)

REPLIES = {"text": text_reply(), "tool": tool_reply(), "empty tool": tool_reply({})}
WORDS = st.text(min_size=1, max_size=12)


def said(pieces: list[Piece]) -> list[tuple[object, ...]]:
    """What pieces say, without ids and counts."""
    return [(p.kind, p.text, p.index, p.name) for p in folded(pieces) if p.kind != "usage"]


def decoded(name: str, stream: bytes) -> list[Piece]:
    """A stream of one format as pieces."""
    decoder = FORMAT[name].decoder()
    return [piece for document in documents(stream) for piece in decoder.feed(document)]


@pytest.mark.parametrize(("source", "spoken"), PAIRS)
@pytest.mark.parametrize("reply", REPLIES)
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_a_stream_in_any_chunks_gives_the_same_events(
    source: str, spoken: str, reply: str, data: st.DataObject
) -> None:
    """Where the bytes are cut on their way changes nothing, not even inside a character."""
    stream = streamed(spoken, REPLIES[reply])
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    bounds = [0, *sorted(places), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    whole, _ = translated(source, spoken, [stream])
    pieces, parsed = translated(source, spoken, chunks)
    assert parsed.failure is None
    assert pieces == whole


@pytest.mark.parametrize(("source", "spoken"), PAIRS)
@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_a_stream_that_breaks_off_gives_the_events_until_there(
    source: str, spoken: str, data: st.DataObject
) -> None:
    """Never an event that the whole stream does not have, and a failure that says so."""
    stream = streamed(spoken, text_reply())
    at = data.draw(st.integers(0, len(stream) - 1))
    whole, _ = translated(source, spoken, [stream])
    broken, parsed = translated(source, spoken, [stream[:at]])
    if parsed.failure is not None:
        assert whole.startswith(broken)
    else:  # only what follows the reply's end was lost: its counts, or its end marker
        assert said(decoded(source, broken)) == said(decoded(source, whole))


@pytest.mark.parametrize(("source", "spoken"), PAIRS)
@pytest.mark.parametrize("reply", REPLIES)
def test_a_translated_stream_says_what_the_original_says(
    source: str, spoken: str, reply: str
) -> None:
    """Decoded again, it has the same words, calls and reason."""
    stream = streamed(spoken, REPLIES[reply])
    told, _ = translated(source, spoken, [stream])
    expected, found = said(decoded(spoken, stream)), said(decoded(source, told))
    assert [one for one in found if one[0] != "start"] == [
        one for one in expected if one[0] != "start"
    ]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(80), deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["text", "reasoning"]), WORDS), min_size=1, max_size=5
    ),
    calls=st.lists(
        st.dictionaries(WORDS, WORDS | st.integers(-(2**53), 2**53), max_size=3), max_size=3
    ),
)
def test_pieces_survive_a_round_trip_whole_and_streamed(
    name: str, parts: list[tuple[str, str]], calls: list[dict[str, object]]
) -> None:
    """Written in a format and read again, a reply is the same."""
    pieces = [Piece("start", id="x", name="m")]
    kinds = dict.fromkeys(kind for kind, _ in parts)
    for kind in sorted(kinds, key=["reasoning", "text"].index):
        pieces += [Piece(kind, text) for k, text in parts if k == kind]  # type: ignore[arg-type]
    for index, arguments in enumerate(calls):
        pieces.append(Piece("tool", index=index, id=f"call_{index}", name="f"))
        pieces.append(Piece("arguments", orjson.dumps(arguments).decode(), index))
    pieces.append(Piece("finish", "tool_calls" if calls else "stop"))
    spoken = FORMAT[name]
    expected = [one for one in said(pieces) if one[0] != "start"]
    whole = orjson.loads(orjson.dumps(spoken.whole(pieces, context())))
    assert [one for one in said(spoken.pieces(whole)) if one[0] != "start"] == expected
    encoder = spoken.encoder(context())
    stream = encoder.feed(pieces) + encoder.end()
    assert [one for one in said(decoded(name, stream)) if one[0] != "start"] == expected
    assert encoder.end() == b""


def test_interleaved_calls_are_told_one_after_the_other() -> None:
    """Messages have one open block at a time: what belongs to a later call waits for its turn."""
    encoder = FORMAT["anthropic-messages"].encoder(context())
    stream = encoder.feed(
        [
            Piece("start", id="x", name="m"),
            Piece("text", "Both: "),
            Piece("tool", index=0, id="a", name="f"),
            Piece("tool", index=1, id="b", name="g"),
            Piece("arguments", '{"n":', 0),
            Piece("arguments", '{"m":', 1),
            Piece("text", "late"),
            Piece("arguments", "1}", 0),
            Piece("arguments", "2}", 1),
            Piece("finish", "tool_calls"),
        ]
    )
    told = said(decoded("anthropic-messages", stream + encoder.end()))
    assert [one for one in told if one[0] == "tool"] == [
        ("tool", '{"n":1}', 0, "f"),
        ("tool", '{"m":2}', 1, "g"),
    ]
    assert "".join(str(one[1]) for one in told if one[0] == "text") == "Both: late"


def test_a_reply_without_counts_has_an_estimate_in_messages() -> None:
    """Clients need a number; it is the length of what was said."""
    encoder = FORMAT["anthropic-messages"].encoder(context())
    stream = encoder.feed([Piece("text", "x" * 40), Piece("finish", "length")]) + encoder.end()
    last = documents(stream)[-2]
    assert last["usage"]["output_tokens"] == 10
    assert last["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("spoken", NAMES)
def test_a_reply_cut_by_its_limit_says_so_in_every_format(spoken: str) -> None:
    """`length` becomes each format's own word."""
    reply = Reply(("cut",), "length", -0.1)
    for source in NAMES:
        if source != spoken:
            told, _ = translated(source, spoken, [streamed(spoken, reply)])
            assert said(decoded(source, told))[-1][1] == "length"
